"""The one decision table: how a checkout leaves `held`, and what becomes of the payment that came with the wish.

Pure: the row, the clock and the evidence come in, a verdict goes out. `db/settle.py` reads the first under the
checkout's row lock and carries out the second in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.checkout import CheckoutStatus, is_over
from domain.ids import CheckoutId, GatewayName, PaymentId
from domain.messages import Capture, Ruling, Wanted


class RefundReason(StrEnum):
    """Why a captured payment cannot become this checkout's order."""

    LATE = "late"
    SECOND_PAYMENT = "second_payment"
    WRONG_AMOUNT = "wrong_amount"
    WRONG_CURRENCY = "wrong_currency"
    WRONG_CHECKOUT = "wrong_checkout"


QUARANTINED = frozenset({RefundReason.WRONG_AMOUNT, RefundReason.WRONG_CURRENCY, RefundReason.WRONG_CHECKOUT})
"""Refunds that somebody should look at: the money was not what was asked for."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the row lock shows: the checkout, the clock, and what is known of the payments."""

    checkout_id: CheckoutId
    status: CheckoutStatus
    expires_at: datetime | None
    now: datetime
    total: int
    currency: str
    order_payment: tuple[GatewayName, PaymentId] | None = None
    """The payment that the order was made with."""
    decided: Ruling = Ruling.NONE
    """What was decided of the evidence's payment before, if anything was."""
    in_hand: Capture | None = None
    """A capture that reached the inbox in time and that nobody has settled yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to write. `becomes` is None when the checkout stays as it is."""

    becomes: CheckoutStatus | None = None
    ruling: Ruling = Ruling.NONE
    reason: RefundReason | None = None
    capture: Capture | None = None
    """The evidence the ruling speaks of."""


def decide(situation: Situation, wanted: Wanted, capture: Capture | None = None) -> Verdict:
    """The verdict on a wish. `confirm` needs a capture."""
    if wanted is Wanted.CONFIRM:
        if capture is None:
            raise ValueError("to confirm, a capture is needed")
        return _on_capture(situation, capture)
    if situation.status is not CheckoutStatus.HELD:
        return Verdict()
    if wanted is Wanted.CANCEL:
        return Verdict(becomes=CheckoutStatus.CANCELLED)
    return _on_end(situation)


def _on_capture(situation: Situation, capture: Capture) -> Verdict:
    if situation.decided is not Ruling.NONE or (capture.gateway, capture.payment_id) == situation.order_payment:
        return Verdict(capture=capture)  # A repeat: what was decided of this payment stands.
    reason = _why_not(situation, capture)
    if reason is not None:
        return Verdict(ruling=Ruling.REFUND, reason=reason, capture=capture)
    return Verdict(becomes=CheckoutStatus.CONFIRMED, ruling=Ruling.ORDER, capture=capture)


def _why_not(situation: Situation, capture: Capture) -> RefundReason | None:
    if capture.checkout_id != situation.checkout_id:
        return RefundReason.WRONG_CHECKOUT
    if capture.currency != situation.currency:
        return RefundReason.WRONG_CURRENCY
    if capture.amount != situation.total:
        return RefundReason.WRONG_AMOUNT
    if situation.status is CheckoutStatus.CONFIRMED:
        return RefundReason.SECOND_PAYMENT
    if situation.status is not CheckoutStatus.HELD or not _in_time(situation, capture):
        return RefundReason.LATE
    return None


def _in_time(situation: Situation, capture: Capture) -> bool:
    """In time is what reached us before the end, however late a worker gets to it: the stock is still held."""
    return situation.expires_at is not None and not is_over(capture.received_at, situation.expires_at)


def _on_end(situation: Situation) -> Verdict:
    if situation.expires_at is None or not is_over(situation.now, situation.expires_at):
        return Verdict()  # Not yet.
    if situation.in_hand is not None and _why_not(situation, situation.in_hand) is None:
        return Verdict(becomes=CheckoutStatus.CONFIRMED, ruling=Ruling.ORDER, capture=situation.in_hand)
    return Verdict(becomes=CheckoutStatus.EXPIRED)
