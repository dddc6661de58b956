"""Which orders, and which steps asked for again, nobody has seen to the end of. For the consistency check."""

from __future__ import annotations

from db.database import Database
from domain.fulfilment import Step, StepRequest
from domain.ids import OrderId, TenantId

MOST_AT_ONCE = 200

_ORDERS = """
    SELECT id::text AS id FROM orders
    WHERE tenant_id = %(tenant)s AND fulfilled_at IS NULL
      AND created_at <= clock_timestamp() - make_interval(secs => %(older_than)s)
    ORDER BY created_at LIMIT %(most)s
"""
_REPLAYS = """
    SELECT order_id::text AS order_id, step, replay FROM fulfilment_steps
    WHERE tenant_id = %(tenant)s AND status = 'pending' AND replay > 0
      AND created_at <= clock_timestamp() - make_interval(secs => %(older_than)s)
    ORDER BY created_at LIMIT %(most)s
"""


async def orders_without_fulfilment(db: Database, tenant: TenantId, older_than_seconds: float) -> list[OrderId]:
    """Orders made so long ago whose fulfilment is not at its end, oldest first. Its run may well be going on."""
    values = {"tenant": tenant, "older_than": older_than_seconds, "most": MOST_AT_ONCE}
    [rows] = await db.run(tenant, (_ORDERS, values))
    return [OrderId(row["id"]) for row in rows]


async def replays_without_end(db: Database, tenant: TenantId, older_than_seconds: float) -> list[StepRequest]:
    """Steps that were asked for again so long ago and have not ended, oldest first."""
    values = {"tenant": tenant, "older_than": older_than_seconds, "most": MOST_AT_ONCE}
    [rows] = await db.run(tenant, (_REPLAYS, values))
    return [StepRequest(tenant, OrderId(row["order_id"]), Step(row["step"]), row["replay"]) for row in rows]
