"""What a checkout's payments leave open: who must be asked about before its end, and what the gateway said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.database import Database
from db.payment_starts import UNFINISHED, PaymentStart, start_of
from db.payments import note_of, payment_key
from domain.gateway import GatewayPayment
from domain.ids import GatewayName, PaymentId, TenantId
from domain.messages import CheckoutRef

MOST_AT_ONCE = 50

# Open as `db/settle_sql.py` sees it.
_OPEN = """
    SELECT p.gateway, p.payment_id, o.payment_id IS NOT NULL AS decided FROM payments p
    LEFT JOIN payment_outcomes o
        ON o.tenant_id = p.tenant_id AND o.gateway = p.gateway AND o.payment_id = p.payment_id
    WHERE p.tenant_id = %(tenant)s AND p.checkout_id = %(checkout)s AND p.closed_at IS NULL
      AND p.status IN ('created', 'processing', 'failed')
    ORDER BY p.known_at, p.gateway, p.payment_id LIMIT %(most)s
"""
_NOW = "SELECT clock_timestamp() AS now"
_OWN = """
    SELECT 1 FROM payments
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND checkout_id = %(checkout)s
"""
_CLOSE = """
    UPDATE payments SET closed_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND closed_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class OpenPayment:
    """A payment that its gateway is to be asked about. `decided`: it has its outcome, whatever the gateway says."""

    gateway: GatewayName
    payment_id: PaymentId
    decided: bool


@dataclass(frozen=True, slots=True)
class Open:
    """What is open of a checkout at `now`, by the database's clock."""

    now: datetime
    payments: list[OpenPayment]
    starts: list[PaymentStart]
    """Of which nobody knows whether the gateway has acted."""


async def open_payments(db: Database, ref: CheckoutRef) -> Open:
    """What may yet be captured for this checkout. One round trip."""
    values = {"tenant": ref.tenant, "checkout": ref.checkout_id, "most": MOST_AT_ONCE}
    clock, payments, starts = await db.run(ref.tenant, (_NOW, {}), (_OPEN, values), (UNFINISHED, values))
    return Open(clock[0]["now"], [OpenPayment(**row) for row in payments], [start_of(ref, row) for row in starts])


async def payment_of(db: Database, ref: CheckoutRef, gateway: GatewayName, payment: PaymentId) -> bool:
    """Whether the checkout has this payment, as far as we know."""
    values = {**payment_key(ref.tenant, gateway, payment), "checkout": ref.checkout_id}
    [rows] = await db.run(ref.tenant, (_OWN, values))
    return bool(rows)


async def close_payment(
    db: Database, tenant: TenantId, gateway: GatewayName, payment: PaymentId, said: GatewayPayment | None
) -> None:
    """Note what the gateway said when it was asked to end the payment, and that it keeps no stock any more.

    `said` None: it does not know the payment. A repeat changes nothing.
    """
    notes = [note_of(tenant, said)] if said is not None else []
    await db.run(tenant, *notes, (_CLOSE, payment_key(tenant, gateway, payment)))
