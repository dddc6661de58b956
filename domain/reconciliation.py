"""Our payments held against the gateway's: one pure table of what disagrees, and what is done about each.

`judge` looks at one payment: as its gateway has it, and as our rows have it. `db/reconciliation.py` reads the rows,
`activities/comparing.py` goes through the gateway's list and carries out what is to be done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from domain.disagreements import ADVICE, Kind, Remedy
from domain.gateway import GatewayPayment, PaymentStatus
from domain.ids import CheckoutId, OrderId, PaymentId, TenantId
from domain.messages import Ruling

GRACE = timedelta(minutes=10)
"""What changed more recently is not judged: webhooks and refunds may be under way."""
LATE_CAPTURES = timedelta(hours=72)
"""How long after its making a payment is still looked at in every run: it may be paid late, or refunded by hand."""
FIRST_LOOK = timedelta(days=30)
"""How far the first run at a gateway looks back."""
REPAIR_PATIENCE = timedelta(minutes=30)
"""A disagreement that is still there so long after its repair was begun is shown to people."""
_TAKEN = frozenset({PaymentStatus.CAPTURED, PaymentStatus.REFUNDED})
_FORWARD = ("created", "failed", "processing", "expired", "captured", "refunded")


@dataclass(frozen=True, slots=True)
class Ours:
    """A payment as our rows have it. Amounts in minor units."""

    payment_id: PaymentId
    checkout_id: CheckoutId | None = None
    status: PaymentStatus | None = None
    """As last heard; None: never heard of."""
    outcome: Ruling = Ruling.NONE
    order_id: OrderId | None = None
    amount: int = 0
    currency: str = ""
    """Of the outcome."""
    refund_made: bool = False
    """With the outcome `refund`: whether we have it as made."""
    refunds_made: int = 0
    refunds_intended: int = 0
    """Of an order: refunds made, and decided but not yet made."""
    in_inbox: bool = False
    """Whether an event of its capture waits undecided."""
    paid_by_another: bool = False
    """Whether its checkout has an order with another payment."""
    quiet_seconds: float | None = None
    """Since any row of ours about it last changed; None: there is none."""

    def changed_within(self, time: timedelta) -> bool:
        """Whether any row of ours about it has changed so recently."""
        return self.quiet_seconds is not None and self.quiet_seconds < time.total_seconds()


@dataclass(frozen=True)
class Counts:
    """What a run looked at. `noted`: the gateway had news of the payment's stand. `repaired`: a repair was begun."""

    compared: int = 0
    agreed: int = 0
    too_young: int = 0
    noted: int = 0
    repaired: int = 0
    flagged: int = 0

    def __add__(self, other: Counts) -> Counts:
        mine, theirs = self.as_dict(), other.as_dict()
        return Counts(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def disagreed(self) -> int:
        """Repaired, flagged or both."""
        return self.compared - self.agreed - self.too_young

    def as_dict(self) -> dict[str, int]:
        """By name."""
        return dict(vars(self))


@dataclass(frozen=True, slots=True)
class Judgement:
    """`kind` None: gateway and we agree, or it is too early to tell."""

    kind: Kind | None = None
    too_young: bool = False


AGREED = Judgement()
TOO_YOUNG = Judgement(too_young=True)


def judge(tenant: TenantId, theirs: GatewayPayment | None, ours: Ours, grace: timedelta = GRACE) -> Judgement:
    """What is to be said of one payment. `theirs` None: the gateway was asked for it, and does not know it."""
    kind = _unknown(ours) if theirs is None else _disagreement(tenant, theirs, ours)
    if kind is None:
        return AGREED
    return TOO_YOUNG if ours.changed_within(grace) else Judgement(kind)


def is_behind(theirs: GatewayPayment, ours: Ours) -> bool:
    """Whether the gateway has news of the payment's stand; a repeat or older news are none."""
    if ours.status is None:
        return True
    if theirs.status is ours.status:
        return False
    declined = (ours.status, theirs.status) == (PaymentStatus.PROCESSING, PaymentStatus.FAILED)
    return declined or _FORWARD.index(theirs.status) > _FORWARD.index(ours.status)


def needs_people(kind: Kind, repair_begun_seconds_ago: float | None) -> bool:
    """Whether somebody should look: nothing repairs it, or a repair was begun long ago and did not help."""
    if ADVICE[kind].remedy is Remedy.PEOPLE:
        return True
    return repair_begun_seconds_ago is not None and repair_begun_seconds_ago >= REPAIR_PATIENCE.total_seconds()


def detail(theirs: GatewayPayment | None, ours: Ours) -> dict[str, Any]:
    """Both sides as plain JSON: states and amounts only. What a person accepts is accepted with exactly this."""
    gateway = theirs and {
        "status": theirs.status.value,
        "amount": theirs.amount,
        "currency": theirs.currency,
        "refunded": theirs.refunded_amount,
    }
    return {"gateway": gateway, "ours": _own_detail(ours)}


def _own_detail(ours: Ours) -> dict[str, Any]:
    if ours.outcome is Ruling.NONE:
        return {"status": ours.status and ours.status.value, "outcome": None}
    mine = {"outcome": ours.outcome.value, "amount": ours.amount, "currency": ours.currency}
    if ours.outcome is Ruling.ORDER:
        return {**mine, "refunded": ours.refunds_made, "to_refund": ours.refunds_intended}
    made = ours.amount if ours.refund_made else 0
    return {**mine, "refunded": made, "to_refund": ours.amount - made}


def _unknown(ours: Ours) -> Kind | None:
    said_to_be_paid = ours.outcome is not Ruling.NONE or ours.status in _TAKEN
    return Kind.PAYMENT_UNKNOWN if said_to_be_paid else None


def _disagreement(tenant: TenantId, theirs: GatewayPayment, ours: Ours) -> Kind | None:
    taken = theirs.status in _TAKEN
    if theirs.tenant not in (None, tenant):
        return Kind.FOREIGN_TENANT if taken or ours.outcome is not Ruling.NONE else None
    if ours.outcome is Ruling.NONE:
        return _undecided(theirs, ours)
    if not taken:
        return Kind.NOT_CAPTURED
    if (theirs.amount, theirs.currency) != (ours.amount, ours.currency):
        return Kind.AMOUNT_DIFFERS
    return _of_order(theirs, ours) if ours.outcome is Ruling.ORDER else _of_refund(theirs, ours)


def _undecided(theirs: GatewayPayment, ours: Ours) -> Kind | None:
    if theirs.status is PaymentStatus.REFUNDED:
        return Kind.REFUNDED_UNSEEN
    if theirs.status is not PaymentStatus.CAPTURED:
        return None
    if ours.in_inbox:
        return Kind.PAID_AND_WAITING
    return Kind.SECOND_CAPTURE if ours.paid_by_another else Kind.PAID_WITHOUT_OUTCOME


def _of_order(theirs: GatewayPayment, ours: Ours) -> Kind | None:
    if theirs.refunded_amount > ours.refunds_made + ours.refunds_intended:
        return Kind.REFUNDED_ELSEWHERE
    if theirs.refunded_amount < ours.refunds_made:
        return Kind.REFUND_MISSING
    return Kind.ORDER_REFUND_UNFINISHED if ours.refunds_intended else None


def _of_refund(theirs: GatewayPayment, ours: Ours) -> Kind | None:
    if not ours.refund_made:
        return Kind.REFUND_UNFINISHED
    return Kind.REFUND_MISSING if theirs.refunded_amount < ours.amount else None
