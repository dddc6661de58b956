"""Payments recorded by hand, as a gateway: what operators have written down is what it says.

It starts nothing and gives nothing back by itself: a refund waits until an operator has returned the money and said so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from db.database import Database
from db.manual_payments import MANUAL, ManualPayment, manual_payments, read_manual_payment
from domain.errors import GatewayRefused, GatewayUnavailable, NotFound
from domain.gateway import GatewayPayment, PaymentEvent, PaymentStatus, PaymentToStart, RefundResult, StartedPayment
from domain.ids import PaymentId, TenantId


class ManualGateway:
    """See Gateway."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def fetch(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """Captured, since it was recorded; refunded when all of it was returned."""
        found = await read_manual_payment(self._db, tenant, payment_id)
        return _as_gateway_payment(tenant, found) if found else None

    async def start(self, tenant: TenantId, payment: PaymentToStart) -> StartedPayment:  # noqa: ARG002
        """Refused: an operator records what was paid."""
        raise GatewayRefused("Payments by hand are recorded by operators, once they are paid.")

    async def expire(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """It was paid before it was recorded: too late."""
        return await self.fetch(tenant, payment_id)

    async def payments(self, tenant: TenantId, since: datetime, until: datetime) -> AsyncIterator[GatewayPayment]:
        """Those recorded in this time."""
        async for one in manual_payments(self._db, tenant):
            if since <= one.recorded_at < until:
                yield _as_gateway_payment(tenant, one)

    async def refund(
        self,
        tenant: TenantId,  # noqa: ARG002
        payment_id: PaymentId,
        amount: int,
        idempotency_key: str,  # noqa: ARG002
    ) -> RefundResult:
        """Never made here: `fetch` shows what an operator has returned, and whoever refunds looks at that first."""
        then = f"holdfast payments refunded {payment_id}"
        raise GatewayUnavailable(f"made by hand: return {amount} (minor units) of {payment_id}, then `{then}`")

    async def parse_webhook(
        self,
        tenant: TenantId,  # noqa: ARG002
        headers: Mapping[str, str],  # noqa: ARG002
        body: bytes,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
    ) -> PaymentEvent:
        """Nobody sends webhooks for it."""
        raise NotFound


def _as_gateway_payment(tenant: TenantId, payment: ManualPayment) -> GatewayPayment:
    whole = payment.refunded_amount == payment.amount
    return GatewayPayment(
        gateway=MANUAL,
        payment_id=payment.payment_id,
        checkout_id=payment.checkout_id,
        status=PaymentStatus.REFUNDED if whole else PaymentStatus.CAPTURED,
        amount=payment.amount,
        currency=payment.currency,
        refunded_amount=payment.refunded_amount,
        tenant=tenant,
    )
