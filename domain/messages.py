"""What workflows and activities exchange: dataclasses of ids, amounts and states. Never names or metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from domain.checkout import CheckoutStatus
from domain.ids import (
    BuyerKey,
    CheckoutId,
    GatewayName,
    LineId,
    OrderId,
    PaymentId,
    ProductId,
    SeatId,
    TenantId,
    ZoneId,
)


@dataclass(frozen=True)
class Line:
    """`quantity` units of one thing: a product, places in a general-admission zone, or one seat.

    Exactly one of the three ids is given. Metadata never comes here: it waits in the database.
    """

    product_id: ProductId | None
    quantity: int
    zone_id: ZoneId | None = None
    seat_id: SeatId | None = None


@dataclass(frozen=True)
class CheckoutRef:
    """Which checkout, of which tenant."""

    tenant: TenantId
    checkout_id: CheckoutId


@dataclass(frozen=True)
class StartCheckout:
    """Hold these lines, or all that the buyer's cart has at that moment.

    `deadline` is when the caller stops waiting: reached later, nothing is written.
    """

    tenant: TenantId
    checkout_id: CheckoutId
    buyer: BuyerKey
    lines: list[Line]
    fingerprint: str
    """SHA-256 of the canonical request, in base64url."""
    deadline: datetime
    expected_total: int | None = None
    """Refuse if the total, in minor units, is another."""
    from_cart: bool = False
    """`lines` is empty then: the row of the cart decides."""
    address: str | None = None
    """A keyed hash of the buyer's address, where the tenant limits how much one address may hold."""
    fulfils: bool = False
    """Whether the run itself starts the order's fulfilment, as runs of the first release with one do. Now `settle` does
    it beside: nobody says so any more, and the buyer's answer does not wait for it."""

    @property
    def ref(self) -> CheckoutRef:
        return CheckoutRef(self.tenant, self.checkout_id)


class StartStatus(StrEnum):
    """How a start ended. `not_attempted`: the worker came too late and wrote nothing; the same key may try again."""

    STORED = "stored"
    NOT_ATTEMPTED = "not_attempted"


@dataclass(frozen=True)
class Started:
    """What the row says after a start. `remaining_ms` is the hold's time left by the database's clock."""

    start: StartStatus
    deadline: datetime
    status: CheckoutStatus = CheckoutStatus.NEW
    remaining_ms: int = 0
    total: int = 0
    currency: str = ""


@dataclass(frozen=True)
class Capture:
    """Evidence that a gateway took money. `received_at` is when we learned of it, by the database's clock."""

    gateway: GatewayName
    payment_id: PaymentId
    checkout_id: CheckoutId
    amount: int
    currency: str
    received_at: datetime


class PaymentSignalKind(StrEnum):
    """What a payment event tells a waiting checkout."""

    STARTED = "started"
    CAPTURED = "captured"
    DECLINED = "declined"


@dataclass(frozen=True)
class PaymentSignal:
    """A verified payment event. A capture carries its evidence; a decline only shows; a start may extend the hold."""

    kind: PaymentSignalKind
    gateway: GatewayName
    payment_id: PaymentId
    capture: Capture | None = None


class Wanted(StrEnum):
    """What a caller of `settle` would like to become of a checkout."""

    CONFIRM = "confirm"
    CANCEL = "cancel"
    EXPIRE = "expire"


@dataclass(frozen=True)
class SettleRequest:
    """Bring a checkout to its end, if the row agrees."""

    ref: CheckoutRef
    wanted: Wanted
    capture: Capture | None = None


class Ruling(StrEnum):
    """What becomes of the payment that came with a settle."""

    NONE = "none"
    ORDER = "order"
    REFUND = "refund"


@dataclass(frozen=True)
class Settled:
    """What the row says now; the caller obeys it. While `held`, `remaining_ms` says how long yet."""

    status: CheckoutStatus | None
    """None: there is no such checkout."""
    remaining_ms: int = 0
    order_id: OrderId | None = None
    paid_by: PaymentId | None = None
    ruling: Ruling = Ruling.NONE
    reason: str = ""
    in_flight: bool = False
    """`held` past the end: a payment was started that may yet be captured. `remaining_ms`: how long that is awaited."""


@dataclass(frozen=True)
class ExtendRequest:
    """Move the end. `request_id` makes a repeat of the same request find the first one's result."""

    ref: CheckoutRef
    request_id: str
    seconds: int | None = None
    """At most the tenant's step; None asks for the whole step."""


@dataclass(frozen=True)
class LinesRequest:
    """Add these lines to a live hold, or take one out of it. `request_id` makes a repeat find the first one's result.

    `fingerprint`: the request's, by which the lines' metadata is found, and a reused key is seen.
    """

    ref: CheckoutRef
    request_id: str
    fingerprint: str
    add: list[Line] = field(default_factory=list)
    remove: LineId | None = None


class LinesOutcome(StrEnum):
    """What became of a request to change the lines. `refused`: why is in its row of checkout_changes.

    `over`: there is no live hold, so nothing was written.
    """

    DONE = "done"
    REFUSED = "refused"
    OVER = "over"


@dataclass(frozen=True)
class Changed:
    """The outcome of a change of lines, and what the checkout's row says after it."""

    outcome: LinesOutcome
    row: Settled


@dataclass(frozen=True)
class ConfirmUpdate:
    """A storefront says the payment was made; with `amount` and `currency` when the webhook has already told us so."""

    gateway: GatewayName
    payment_id: PaymentId
    received_at: datetime
    """When we learned of it: by the webhook, or by this request."""
    fingerprint: str
    amount: int | None = None
    currency: str = ""

    def evidence(self, checkout: CheckoutId) -> Capture | None:
        """The webhook's capture of this payment for the checkout, if it came before."""
        if self.amount is None:
            return None
        return Capture(self.gateway, self.payment_id, checkout, self.amount, self.currency, self.received_at)


@dataclass(frozen=True)
class ExtendUpdate:
    """A storefront asks for more time."""

    request_id: str
    fingerprint: str
    seconds: int | None = None


@dataclass(frozen=True)
class LinesUpdate:
    """A storefront adds lines to a live hold, or takes one out."""

    request_id: str
    fingerprint: str
    add: list[Line] = field(default_factory=list)
    remove: LineId | None = None


@dataclass(frozen=True)
class CancelUpdate:
    """The buyer gives the stock back."""

    fingerprint: str


class Answer(StrEnum):
    """How a request to a running checkout was answered."""

    DONE = "done"
    ALREADY_CONFIRMED = "already_confirmed"
    OVER = "over"
    NOT_CAPTURED = "not_captured"
    MISMATCH = "mismatch"
    LATE = "late"
    REFUSED = "refused"
    """Of lines: the row of the request in checkout_changes says why."""


@dataclass(frozen=True)
class Answered:
    """The answer to an update, with the fingerprint of the request it answered, so that a reused key is seen."""

    answer: Answer
    fingerprint: str
    status: CheckoutStatus
    payment_status: str = ""
    asked_at: datetime | None = None
    """With `unknown`: the `received_at` of the confirm that found the gateway silent."""

    @property
    def unknown(self) -> bool:
        """Whether the gateway did not say in time what became of the payment."""
        return self.asked_at is not None


@dataclass(frozen=True)
class CheckoutResult:
    """How a checkout's run ended."""

    status: CheckoutStatus
    order_id: OrderId | None = None


@dataclass(frozen=True)
class Repaired:
    """What one consistency check had to mend."""

    holds_settled: int = 0
    events_delivered: int = 0
    refunds_started: int = 0
    events_unmatched: int = 0
    """Events newly told of, whose checkout is not known."""
    unmatched_refunded: int = 0
    """Payments that go back because their checkout did not appear."""
    numbers_given: int = 0
    """Fiscal numbers, to orders that waited for one."""
    fulfilments_started: int = 0
    """Of orders whose fulfilment has come to no end and may have no run."""
