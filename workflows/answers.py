"""Which answer a request gets, from what the row said. Pure."""

from __future__ import annotations

from domain.checkout import CheckoutStatus
from domain.messages import (
    Answer,
    CancelUpdate,
    Capture,
    Changed,
    ConfirmUpdate,
    ExtendUpdate,
    LinesOutcome,
    LinesUpdate,
    Ruling,
    Settled,
)
from domain.payment_decision import RefundReason


def answer_to_confirm(settled: Settled, capture: Capture) -> Answer:
    """A confirm with evidence: the order is this payment's, or why it is not."""
    if settled.status is CheckoutStatus.CONFIRMED and settled.paid_by == capture.payment_id:
        return Answer.DONE
    if settled.ruling is Ruling.REFUND and settled.reason not in (RefundReason.LATE, RefundReason.SECOND_PAYMENT):
        return Answer.MISMATCH
    return Answer.ALREADY_CONFIRMED if settled.status is CheckoutStatus.CONFIRMED else Answer.LATE


def answer_to_extend(extended: Settled) -> Answer:
    """Only a live hold extends."""
    if extended.status is CheckoutStatus.HELD and extended.remaining_ms > 0:
        return Answer.DONE
    return Answer.ALREADY_CONFIRMED if extended.status is CheckoutStatus.CONFIRMED else Answer.OVER


def answer_to_lines(changed: Changed) -> Answer:
    """Only a live hold changes; taking the last line out of it has cancelled it."""
    if changed.outcome is LinesOutcome.DONE:
        return Answer.DONE
    if changed.outcome is LinesOutcome.REFUSED:
        return Answer.REFUSED
    return Answer.ALREADY_CONFIRMED if changed.row.status is CheckoutStatus.CONFIRMED else Answer.OVER


def answer_when_over(
    status: CheckoutStatus | None, update: ConfirmUpdate | ExtendUpdate | LinesUpdate | CancelUpdate
) -> Answer:
    """A request that finds the checkout ended. Cancelling what is cancelled is done."""
    if status is CheckoutStatus.CONFIRMED:
        return Answer.ALREADY_CONFIRMED
    if status is CheckoutStatus.CANCELLED and isinstance(update, CancelUpdate):
        return Answer.DONE
    return Answer.OVER
