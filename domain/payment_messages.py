"""What workflows and activities exchange about payments: asking the gateway, late ones, refunds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.ids import CheckoutId, GatewayName, PaymentId, TenantId
from domain.messages import Capture, Ruling


@dataclass(frozen=True)
class VerifyPayment:
    """Ask the gateway what became of a payment."""

    tenant: TenantId
    gateway: GatewayName
    payment_id: PaymentId
    received_at: datetime


@dataclass(frozen=True)
class Verified:
    """What the gateway said. `status` is None when it does not know the payment; the rest comes with a capture."""

    status: str | None
    checkout_id: CheckoutId | None = None
    amount: int = 0
    currency: str = ""

    def evidence(self, ask: VerifyPayment) -> Capture | None:
        """The capture of the payment that was asked about, if there is one."""
        if self.checkout_id is None:
            return None
        return Capture(ask.gateway, ask.payment_id, self.checkout_id, self.amount, self.currency, ask.received_at)


@dataclass(frozen=True)
class LatePayment:
    """A payment that no open checkout can take. Without `capture`, the gateway is asked first."""

    tenant: TenantId
    gateway: GatewayName
    payment_id: PaymentId
    received_at: datetime
    checkout_id: CheckoutId | None
    """None: there is no such checkout, and it was decided that the money goes back."""
    capture: Capture | None = None


@dataclass(frozen=True)
class RefundRequest:
    """Give a payment back in full, once."""

    tenant: TenantId
    gateway: GatewayName
    payment_id: PaymentId


@dataclass(frozen=True)
class Refunded:
    """The refund the gateway made. `amount` in minor units."""

    refund_id: str
    amount: int


@dataclass(frozen=True)
class LatePaymentResult:
    """How a late payment ended: an order after all, a refund, or nothing that was captured."""

    ruling: Ruling
    reason: str = ""
    refund_id: str = ""
