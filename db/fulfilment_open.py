"""Which orders, and which steps asked for again, nobody has seen to the end of. For the consistency check."""

from __future__ import annotations

from db.database import Database
from domain.fulfilment import Step, StepRequest
from domain.ids import OrderId, TenantId

MOST_AT_ONCE = 200

_ORDERS = """
    SELECT o.id::text AS id FROM orders o
    WHERE o.tenant_id = %(tenant)s AND o.fulfilled_at IS NULL
      AND o.created_at <= clock_timestamp() - make_interval(secs => %(older_than)s)
    ORDER BY EXISTS (
        SELECT FROM fulfilment_steps s WHERE s.tenant_id = o.tenant_id AND s.order_id = o.id
    ), o.created_at LIMIT %(most)s
"""
_REPLAYS = """
    SELECT order_id::text AS order_id, step, replay FROM fulfilment_steps
    WHERE tenant_id = %(tenant)s AND status = 'pending' AND replay > 0
      AND created_at <= clock_timestamp() - make_interval(secs => %(older_than)s)
    ORDER BY created_at LIMIT %(most)s
"""


async def orders_without_fulfilment(db: Database, tenant: TenantId, older_than_seconds: float) -> list[OrderId]:
    """Orders made so long ago whose fulfilment is not at its end; those where nothing was begun first, then by age.

    Where something was begun, a run may well be going on: thousands of those, such as when no mail server answers, keep
    none waiting that has no run at all.
    """
    values = {"tenant": tenant, "older_than": older_than_seconds, "most": MOST_AT_ONCE}
    [rows] = await db.run(tenant, (_ORDERS, values))
    return [OrderId(row["id"]) for row in rows]


async def replays_without_end(db: Database, tenant: TenantId, older_than_seconds: float) -> list[StepRequest]:
    """Steps that were asked for again so long ago and have not ended, oldest first."""
    values = {"tenant": tenant, "older_than": older_than_seconds, "most": MOST_AT_ONCE}
    [rows] = await db.run(tenant, (_REPLAYS, values))
    return [StepRequest(tenant, OrderId(row["order_id"]), Step(row["step"]), row["replay"]) for row in rows]
