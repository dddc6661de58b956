"""Reading orders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from db.database import Database
from domain.ids import BuyerKey, OrderId, TenantId

_COLUMNS = """
    o.id::text AS id, o.checkout_id::text AS checkout_id, o.buyer_key, o.currency, o.subtotal, o.discount, o.tax,
    o.total, o.refunded, o.gateway, o.payment_id, o.created_at,
    o.fiscal_status, o.fiscal_number, o.fiscal_issued_at
"""
_ORDER = f"SELECT {_COLUMNS} FROM orders o WHERE o.tenant_id = %(tenant)s AND o.id = %(order)s"
_LINES = """
    SELECT order_id::text AS order_id, position AS line, product_id, zone_id, seat_id, name, quantity, returned,
           list_price, unit_price, tax_class, tax_rate_basis_points, tax_included, tax, metadata
    FROM order_lines
    WHERE tenant_id = %(tenant)s AND order_id = ANY (%(orders)s::uuid[]) ORDER BY order_id, position
"""
_REFUNDS = """
    SELECT order_id::text AS order_id, id::text AS id, amount, currency, status, decided_at, refunded_at
    FROM order_refunds
    WHERE tenant_id = %(tenant)s AND order_id = ANY (%(orders)s::uuid[]) ORDER BY decided_at, id
"""
_PAGE = f"""
    SELECT {_COLUMNS} FROM orders o
    WHERE o.tenant_id = %(tenant)s AND (%(buyer)s::text IS NULL OR o.buyer_key = %(buyer)s)
      AND (%(before)s::timestamptz IS NULL OR (o.created_at, o.id) < (%(before)s, %(before_id)s::uuid))
    ORDER BY o.created_at DESC, o.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order, its lines and its refunds."""

    row: DictRow
    lines: list[DictRow]
    refunds: list[DictRow]


async def read_order(db: Database, tenant: TenantId, order: OrderId, *, buyer: BuyerKey | None) -> OrderView | None:
    """The order if it exists and is the buyer's (any buyer's when None)."""
    values = {"tenant": tenant, "order": order, "orders": [order]}
    rows, lines, refunds = await db.run(tenant, (_ORDER, values), (_LINES, values), (_REFUNDS, values))
    if not rows or (buyer is not None and rows[0]["buyer_key"] != buyer):
        return None
    return OrderView(rows[0], lines, refunds)


async def list_orders(
    db: Database,
    tenant: TenantId,
    *,
    buyer: BuyerKey | None,
    limit: int,
    before: tuple[datetime, OrderId] | None = None,
) -> list[OrderView]:
    """Newest first; `before` is the last order of the page before."""
    at, order = before or (None, None)
    values = {"tenant": tenant, "buyer": buyer, "limit": limit, "before": at, "before_id": order}
    [rows] = await db.run(tenant, (_PAGE, values))
    of_page = {"tenant": tenant, "orders": [row["id"] for row in rows]}
    lines, refunds = await db.run(tenant, (_LINES, of_page), (_REFUNDS, of_page))
    return [OrderView(row, _of(row["id"], lines), _of(row["id"], refunds)) for row in rows]


def _of(order: str, rows: list[DictRow]) -> list[DictRow]:
    return [row for row in rows if row["order_id"] == order]
