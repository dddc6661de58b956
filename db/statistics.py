"""Daily sales: counters that each order is added to once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from db.database import Database
from domain.ids import OrderId, TenantId


@dataclass(frozen=True, slots=True)
class DaySales:
    """What was sold on a day (UTC) in a currency. `revenue` in minor units."""

    day: date
    currency: str
    orders: int
    units: int
    revenue: int


# The order's own row says whether it was counted: who sets `counted_at` counts, in the same statement. The counters are
# locked after it, those of items in the order of their ids.
_COUNT = """
    WITH counted AS (
        UPDATE orders SET counted_at = clock_timestamp()
        WHERE tenant_id = %(tenant)s AND id = %(order)s AND counted_at IS NULL
        RETURNING tenant_id, id, (created_at AT TIME ZONE 'UTC')::date AS day, currency, total
    ), sold AS MATERIALIZED (
        SELECT c.day, c.currency, CASE WHEN l.product_id IS NULL THEN 'zone' ELSE 'product' END AS kind,
            CASE WHEN l.product_id IS NULL THEN l.zone_id ELSE l.product_id END AS item_id,
            sum(l.quantity) AS units, sum(l.quantity * l.unit_price) AS revenue
        FROM counted c JOIN order_lines l ON l.tenant_id = c.tenant_id AND l.order_id = c.id
        GROUP BY 1, 2, 3, 4
    ), of_day AS (
        INSERT INTO daily_sales AS d (tenant_id, day, currency, orders, units, revenue)
        SELECT %(tenant)s, c.day, c.currency, 1, (SELECT coalesce(sum(units), 0) FROM sold), c.total FROM counted c
        ON CONFLICT (tenant_id, day, currency) DO UPDATE
            SET orders = d.orders + 1, units = d.units + excluded.units, revenue = d.revenue + excluded.revenue
    ), of_items AS (
        INSERT INTO daily_item_sales AS d (tenant_id, day, currency, kind, item_id, units, revenue)
        SELECT %(tenant)s, day, currency, kind, item_id, units, revenue FROM sold WHERE item_id IS NOT NULL
        ORDER BY kind, item_id
        ON CONFLICT (tenant_id, day, currency, kind, item_id) DO UPDATE
            SET units = d.units + excluded.units, revenue = d.revenue + excluded.revenue
    )
    SELECT count(*) AS counted FROM counted
"""
_DAYS = """
    SELECT day, currency, orders, units, revenue FROM daily_sales
    WHERE tenant_id = %(tenant)s AND day >= %(since)s ORDER BY day DESC, currency LIMIT 1000
"""


async def count_order(db: Database, tenant: TenantId, order: OrderId) -> bool:
    """Add the order to its day's sales, once; whether this call did it."""
    [[row]] = await db.run(tenant, (_COUNT, {"tenant": tenant, "order": order}))
    return bool(row["counted"])


async def daily_sales(db: Database, tenant: TenantId, since: date) -> list[DaySales]:
    """The days from `since` on, newest first, a row for each currency."""
    [rows] = await db.run(tenant, (_DAYS, {"tenant": tenant, "since": since}))
    return [DaySales(**row) for row in rows]
