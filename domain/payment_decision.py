"""What becomes of a payment: one pure function over all that bears on it.

`domain/settlement.py` asks it under the checkout's row lock, and carries out what it says in the same transaction; who
only has to know where a payment stands (a late payment's run, the reconciliation) asks it the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.checkout import CheckoutStatus, is_over
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId
from domain.tenant_settings import LatePayments


class RefundReason(StrEnum):
    """Why a captured payment cannot become this checkout's order."""

    LATE = "late"
    SECOND_PAYMENT = "second_payment"
    WRONG_AMOUNT = "wrong_amount"
    WRONG_CURRENCY = "wrong_currency"
    WRONG_CHECKOUT = "wrong_checkout"
    WRONG_TENANT = "wrong_tenant"
    GIVEN_BACK = "given_back"
    """Before it was decided, the gateway had told of a refund: there is no, or not all the money for an order."""
    UNMATCHED = "unmatched"
    """Its checkout did not appear for as long as it was waited for."""


QUARANTINED = frozenset(
    {
        RefundReason.WRONG_AMOUNT,
        RefundReason.WRONG_CURRENCY,
        RefundReason.WRONG_CHECKOUT,
        RefundReason.WRONG_TENANT,
    }
)
"""Refunds that somebody should look at: the money was not what was asked for."""


class Decision(StrEnum):
    """`confirm`: make the order. `reserve`: hold the same again if it can be had, and make the order; else refund.

    `ignore`: nothing is to be done, now or later, on this news. `wait`: more news will come, or must be asked for.
    """

    CONFIRM = "confirm"
    RESERVE = "reserve"
    REFUND = "refund"
    WAIT = "wait"
    IGNORE = "ignore"


class Others(StrEnum):
    """What was decided before: of this payment, or of another one for the same checkout."""

    NOTHING = "nothing"
    THIS_ONE = "this_one"
    ANOTHER = "another"
    """Another payment has made the order."""


@dataclass(frozen=True, slots=True)
class CheckoutFacts:
    """The checkout as its row says it is. `total` in minor units; `expires_at` None: it never held anything."""

    checkout_id: CheckoutId
    status: CheckoutStatus
    expires_at: datetime | None
    total: int
    currency: str


@dataclass(frozen=True, slots=True)
class PaymentFacts:
    """The payment as the gateway says it is. `amount` in minor units; `received_at`: when we learned of it."""

    state: PaymentStatus
    checkout_id: CheckoutId | None
    amount: int
    currency: str
    received_at: datetime
    known_in_time: bool = False
    """Whether we knew before the hold's end that this payment was on its way: the end waits for such a one."""
    foreign_tenant: bool = False
    """It is in this tenant's account at the gateway, and names another tenant."""
    given_back: bool = False
    """The gateway has told that some of it went back already."""
    waited_out: bool = False
    """It has been waited for long enough that its checkout should appear."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The decision; with a reason when it is a refund."""

    decision: Decision
    reason: RefundReason | None = None

    @property
    def quarantined(self) -> bool:
        """Whether somebody should look at it."""
        return self.reason in QUARANTINED


_IN_FLIGHT = frozenset({PaymentStatus.CREATED, PaymentStatus.PROCESSING})


def judge(
    payment: PaymentFacts,
    checkout: CheckoutFacts | None,
    policy: LatePayments,
    others: Others = Others.NOTHING,
    *,
    to_be_had: bool = True,
) -> Judgement:
    """What becomes of the payment. `checkout` None: it is not known (yet).

    `to_be_had`: False once it was tried to hold the same things again and they could not be had.
    """
    if others is Others.THIS_ONE:
        return Judgement(Decision.IGNORE)  # A repeat: what was decided of this payment stands.
    if payment.state in _IN_FLIGHT:
        return Judgement(Decision.WAIT)
    if payment.state is not PaymentStatus.CAPTURED:
        return Judgement(Decision.IGNORE)  # Nothing was taken, or all of it went back.
    return _of_capture(payment, checkout, policy, others, to_be_had)


def _of_capture(
    payment: PaymentFacts, checkout: CheckoutFacts | None, policy: LatePayments, others: Others, to_be_had: bool
) -> Judgement:
    if payment.foreign_tenant:
        return _refund(RefundReason.WRONG_TENANT)
    if checkout is None:
        return _refund(RefundReason.UNMATCHED) if payment.waited_out else Judgement(Decision.WAIT)
    wrong = _wrong(payment, checkout)
    if wrong is not None:
        return _refund(wrong)
    if payment.given_back:
        return _refund(RefundReason.GIVEN_BACK)
    if others is Others.ANOTHER or checkout.status is CheckoutStatus.CONFIRMED:
        return _refund(RefundReason.SECOND_PAYMENT)
    if checkout.status is CheckoutStatus.HELD:
        return _of_hold(payment, checkout, policy)
    ended = checkout.status in (CheckoutStatus.EXPIRED, CheckoutStatus.CANCELLED)
    if ended and to_be_had and policy is not LatePayments.REFUND:
        return Judgement(Decision.RESERVE)
    return _refund(RefundReason.LATE)


def _wrong(payment: PaymentFacts, checkout: CheckoutFacts) -> RefundReason | None:
    if payment.checkout_id != checkout.checkout_id:
        return RefundReason.WRONG_CHECKOUT
    if payment.currency != checkout.currency:
        return RefundReason.WRONG_CURRENCY
    return RefundReason.WRONG_AMOUNT if payment.amount != checkout.total else None


def _of_hold(payment: PaymentFacts, checkout: CheckoutFacts, policy: LatePayments) -> Judgement:
    """In time is what reached us before the end, however late a worker gets to it. After the end the stock is still
    here: it goes to a payment that the end waits for, and to any other where the tenant would hold the same again."""
    in_time = checkout.expires_at is not None and not is_over(payment.received_at, checkout.expires_at)
    if in_time or payment.known_in_time or policy is not LatePayments.REFUND:
        return Judgement(Decision.CONFIRM)
    return _refund(RefundReason.LATE)


def _refund(reason: RefundReason) -> Judgement:
    return Judgement(Decision.REFUND, reason)
