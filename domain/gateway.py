"""What a payment gateway tells us, in our own words: the shapes that adapters return and payment rules read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from domain.ids import CheckoutId, EventId, GatewayName, PaymentId


class PaymentStatus(StrEnum):
    """Where a payment stands at its gateway; an event of that kind says that it has just got there."""

    CREATED = "created"
    PROCESSING = "processing"
    CAPTURED = "captured"
    """The money was taken. A payment refunded in part is still captured."""
    FAILED = "failed"
    """Declined; the same payment may yet be paid."""
    REFUNDED = "refunded"
    """As a payment's status: all of it went back. As an event's kind: some of it did."""
    EXPIRED = "expired"
    """Nothing was taken, and nobody can pay it any more."""


class RefundStatus(StrEnum):
    """What became of a refund that the gateway accepted."""

    SUCCEEDED = "succeeded"
    PENDING = "pending"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class GatewayPayment:
    """A payment as its gateway knows it now. Amounts are in the currency's minor unit (ISO 4217)."""

    gateway: GatewayName
    payment_id: PaymentId
    checkout_id: CheckoutId | None
    """None when it names none, or something that cannot be a checkout of ours."""
    status: PaymentStatus
    amount: int
    currency: str
    refunded_amount: int
    tenant: str | None
    """The tenant that the payment was made for, as the gateway has it: not verified by the adapter."""


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """One verified webhook. `amount` is the whole payment's, in minor units, also in the event of a partial refund."""

    gateway: GatewayName
    event_id: EventId
    """The same however often the gateway sends it."""
    kind: PaymentStatus
    payment_id: PaymentId
    checkout_id: CheckoutId | None
    """None when it names none, or something that cannot be a checkout of ours."""
    amount: int
    currency: str
    occurred_at: datetime
    """When it happened at the gateway (UTC), however late it is delivered."""
    foreign_tenant: bool = False
    """It came to this tenant's own account there, but says that it is for another tenant's checkout."""


@dataclass(frozen=True, slots=True)
class PaymentToStart:
    """What a gateway is asked to take. `amount` in minor units (ISO 4217)."""

    checkout_id: CheckoutId
    amount: int
    currency: str
    idempotency_key: str
    """However often it is asked with this key, the gateway makes one payment."""
    ends_at: datetime
    """When the hold ends (UTC): nobody should be able to pay much later. Some gateways allow no end that soon."""
    description: str
    """For the buyer's statement and the gateway's own pages."""
    return_url: str | None = None
    """Where the gateway's page sends the buyer back to, where it has a page."""


@dataclass(frozen=True, slots=True)
class StartedPayment:
    """A payment that waits for its buyer, and what the buyer's browser needs to pay it."""

    payment_id: PaymentId
    status: PaymentStatus
    url: str | None = None
    """The gateway's own page, where it has one."""
    client_secret: str | None = field(default=None, repr=False)
    """For the gateway's own script in the browser. Handed on to the buyer; never stored or logged."""


@dataclass(frozen=True, slots=True)
class RefundResult:
    """The gateway's answer to a refund; a repeat with the same idempotency key gives the same. Minor units."""

    refund_id: str
    status: RefundStatus
    amount: int
