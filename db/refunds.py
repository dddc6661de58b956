"""The refunds that settle has decided: what is owed, and that it was paid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.database import Database
from db.telling import LOCK_CHECKOUT, PAYMENT_RETURNED, TELL_REFUND_MADE
from domain.ids import CheckoutId, GatewayName, PaymentId, TenantId


@dataclass(frozen=True, slots=True)
class Owed:
    """A full refund that is owed. `amount` in minor units."""

    gateway: GatewayName
    payment_id: PaymentId
    checkout_id: CheckoutId | None
    """None: the money came for no checkout that there is."""
    amount: int
    currency: str
    decided_at: datetime


_COLUMNS = """
    SELECT gateway, payment_id, checkout_id::text AS checkout_id, amount, currency, decided_at
    FROM payment_outcomes
"""
_OWED = (
    _COLUMNS
    + """ WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s
      AND refund_status = 'intended'"""
)
_ALL_OWED = (
    _COLUMNS
    + """ WHERE tenant_id = %(tenant)s AND refund_status = 'intended'
      AND decided_at <= clock_timestamp() - make_interval(secs => %(older_than)s)
    ORDER BY decided_at LIMIT %(limit)s"""
)
_DONE = f"""
    WITH made AS (
        UPDATE payment_outcomes SET refund_status = 'refunded', refund_id = %(refund)s, refunded_at = clock_timestamp()
        WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s
          AND refund_status = 'intended'
        RETURNING {PAYMENT_RETURNED}
    ), {TELL_REFUND_MADE}
    SELECT count(*) FROM made
"""


async def refund_owed(db: Database, tenant: TenantId, gateway: GatewayName, payment: PaymentId) -> Owed | None:
    """The refund still owed for this payment, if any."""
    [rows] = await db.run(tenant, (_OWED, {"tenant": tenant, "gateway": gateway, "payment": payment}))
    return Owed(**rows[0]) if rows else None


async def refunds_owed(db: Database, tenant: TenantId, *, older_than_seconds: float, limit: int = 200) -> list[Owed]:
    """Refunds decided so long ago and not yet made, oldest first."""
    [rows] = await db.run(tenant, (_ALL_OWED, {"tenant": tenant, "older_than": older_than_seconds, "limit": limit}))
    return [Owed(**row) for row in rows]


async def refund_made(db: Database, tenant: TenantId, owed: Owed, refund_id: str) -> None:
    """The gateway has given the money back. A repeat changes nothing."""
    values = {"tenant": tenant, "gateway": owed.gateway, "payment": owed.payment_id, "refund": refund_id}
    await db.run(tenant, (LOCK_CHECKOUT, {"tenant": tenant, "checkout": owed.checkout_id}), (_DONE, values))
