"""The one interface to payment gateways. Starting a payment and expiring its session will join it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from domain.gateway import GatewayPayment, PaymentEvent, RefundResult
from domain.ids import PaymentId, TenantId


class Gateway(Protocol):
    """A payment gateway. Its calls raise GatewayUnavailable (ask again) or GatewayRefused (asking again is no use)."""

    async def fetch(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """The payment as it is now, or None when the gateway does not know it."""
        ...

    async def refund(self, tenant: TenantId, payment_id: PaymentId, amount: int, idempotency_key: str) -> RefundResult:
        """Give back `amount` minor units, once for each idempotency key however often it is asked."""
        ...

    async def parse_webhook(
        self, tenant: TenantId, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> PaymentEvent:
        """The event that this webhook carries; header names in lower case, the body as it came over the wire.

        Verified by the tenant's own secret where it has one, else by the installation's. Raises InvalidSignature
        unless it verifies, Invalid when it verifies and makes no sense, Unavailable when the secret cannot be read.
        """
        ...
