"""The one decision table: how a checkout leaves `held`, and what becomes of the payment that came with the wish.

Pure: the row, the clock and the evidence come in, a verdict goes out. `db/settle.py` reads the first under the
checkout's row lock and carries out the second in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from domain.checkout import CheckoutStatus, is_over
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId, GatewayName, PaymentId
from domain.messages import Capture, Ruling, Wanted
from domain.payment_decision import CheckoutFacts, Decision, Judgement, Others, PaymentFacts, RefundReason, judge
from domain.tenant_settings import LatePayments


@dataclass(frozen=True, slots=True)
class Situation:
    """What the row lock shows: the checkout, the clock, and what is known of the payments."""

    checkout_id: CheckoutId
    status: CheckoutStatus
    expires_at: datetime | None
    now: datetime
    total: int
    currency: str
    policy: LatePayments = LatePayments.RESERVE
    order_payment: tuple[GatewayName, PaymentId] | None = None
    """The payment that the order was made with."""
    decided: Ruling = Ruling.NONE
    """What was decided of the evidence's payment before, if anything was."""
    known_in_time: bool = False
    """Whether we knew of the evidence's payment before the hold's end."""
    given_back: bool = False
    """Whether the gateway has told of a refund of the evidence's payment."""
    in_hand: Capture | None = None
    """A capture in the inbox that nobody has settled yet, and of which nothing went back."""
    in_hand_known_in_time: bool = False
    in_flight: bool = False
    """Whether a payment was started that may yet be captured, and its gateway has not been asked since the end."""
    waits_until: datetime | None = None
    """How long a payment in flight is waited for."""
    to_be_had: bool = True
    """False once it was tried to hold the same things again, and they could not be had."""

    @property
    def facts(self) -> CheckoutFacts:
        """The checkout's own."""
        return CheckoutFacts(self.checkout_id, self.status, self.expires_at, self.total, self.currency)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to write. `becomes` is None when the checkout stays as it is."""

    becomes: CheckoutStatus | None = None
    ruling: Ruling = Ruling.NONE
    reason: RefundReason | None = None
    capture: Capture | None = None
    """The evidence the ruling speaks of."""
    reserves: bool = False
    """The things are not held any more: hold them again first. If that cannot be done, decide anew without."""
    waits: bool = False
    """Past its end, the hold waits for a payment in flight."""


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
    facts = replace(_facts(capture, situation.known_in_time), given_back=situation.given_back)
    judgement = _judge(situation, facts, _others(situation, capture))
    if judgement.decision is Decision.IGNORE:
        return Verdict(capture=capture)
    if judgement.decision is Decision.REFUND:
        return Verdict(ruling=Ruling.REFUND, reason=judgement.reason, capture=capture)
    return _order(capture, reserves=judgement.decision is Decision.RESERVE)


def _facts(capture: Capture, known_in_time: bool) -> PaymentFacts:
    return PaymentFacts(
        PaymentStatus.CAPTURED,
        capture.checkout_id,
        capture.amount,
        capture.currency,
        capture.received_at,
        known_in_time,
    )


def _judge(situation: Situation, payment: PaymentFacts, others: Others) -> Judgement:
    return judge(payment, situation.facts, situation.policy, others, to_be_had=situation.to_be_had)


def _others(situation: Situation, capture: Capture) -> Others:
    this = (capture.gateway, capture.payment_id)
    if situation.decided is not Ruling.NONE or this == situation.order_payment:
        return Others.THIS_ONE
    return Others.NOTHING if situation.order_payment is None else Others.ANOTHER


def _order(capture: Capture, *, reserves: bool = False) -> Verdict:
    return Verdict(becomes=CheckoutStatus.CONFIRMED, ruling=Ruling.ORDER, capture=capture, reserves=reserves)


def _on_end(situation: Situation) -> Verdict:
    if situation.expires_at is None or not is_over(situation.now, situation.expires_at):
        return Verdict()  # Not yet.
    in_hand = situation.in_hand
    if in_hand is not None:
        judgement = _judge(situation, _facts(in_hand, situation.in_hand_known_in_time), Others.NOTHING)
        if judgement.decision is Decision.CONFIRM:
            return _order(in_hand)
    if situation.in_flight and situation.waits_until is not None and situation.now < situation.waits_until:
        return Verdict(waits=True)
    return Verdict(becomes=CheckoutStatus.EXPIRED)
