"""The one interface to payment gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

from domain.gateway import GatewayPayment, PaymentEvent, PaymentToStart, RefundResult, StartedPayment
from domain.ids import PaymentId, TenantId


class Gateway(Protocol):
    """A payment gateway. Its calls raise GatewayUnavailable (ask again) or GatewayRefused (asking again is no use).

    A tenant that has not set the gateway up: `fetch`, `start` and `payments` raise GatewayNotConfigured; `expire` and
    `refund`, which are owed for money that was taken, raise GatewayUnavailable until it has.
    """

    async def fetch(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """The payment as it is now, or None when the gateway does not know it."""
        ...

    async def start(self, tenant: TenantId, payment: PaymentToStart) -> StartedPayment:
        """Make a payment that waits for its buyer; once for each idempotency key however often it is asked."""
        ...

    async def expire(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """See to it that nobody can pay it any more, and say how it stands then.

        EXPIRED: done, or it was before. CAPTURED or PROCESSING: too late, the buyer was quicker. CREATED or FAILED:
        this gateway cannot end it. None: it does not know the payment. A repeat gives the same.
        """
        ...

    def payments(self, tenant: TenantId, since: datetime, until: datetime) -> AsyncIterator[GatewayPayment]:
        """Every payment of this tenant's that the gateway has for `since` <= its making < `until`, in any order.

        Page by page; raises as the others do.
        """
        ...

    async def refund(self, tenant: TenantId, payment_id: PaymentId, amount: int, idempotency_key: str) -> RefundResult:
        """Give back `amount` minor units, once for each idempotency key however often it is asked."""
        ...

    async def parse_webhook(
        self, tenant: TenantId, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> PaymentEvent | None:
        """The event that this webhook carries; header names in lower case, the body as it came over the wire.

        None: it is genuine and nothing to us, such as a payment that the shop takes elsewhere in the same account.
        Verified by the tenant's own secret where it has one, else by the installation's. Raises InvalidSignature
        unless it verifies, Invalid when it verifies and makes no sense, Unavailable when the secret cannot be read,
        NotFound when the tenant does not have this gateway.
        """
        ...
