"""Which holds are past their end and still open."""

from __future__ import annotations

from collections.abc import Sequence

from db.database import Database
from domain.ids import CheckoutId, ProductId, TenantId

MOST_AT_ONCE = 200

_ON_PRODUCTS = """
    SELECT l.checkout_id::text AS checkout_id
    FROM checkout_lines l
    WHERE l.tenant_id = %(tenant)s AND l.status = 'held' AND l.expires_at <= clock_timestamp()
      AND l.stock_item_id = ANY (ARRAY(
          SELECT stock_item_id FROM products WHERE tenant_id = %(tenant)s AND id = ANY (%(products)s)))
    GROUP BY l.checkout_id ORDER BY min(l.expires_at) LIMIT %(most)s
"""

_ANYWHERE = """
    SELECT id::text AS checkout_id FROM checkouts
    WHERE tenant_id = %(tenant)s AND status = 'held'
      AND expires_at <= clock_timestamp() - make_interval(secs => %(grace)s)
    ORDER BY expires_at LIMIT %(most)s
"""


async def overdue_on(db: Database, tenant: TenantId, products: Sequence[ProductId]) -> list[CheckoutId]:
    """Checkouts whose hold on one of these products is past its end, oldest first."""
    values = {"tenant": tenant, "products": list(products), "most": MOST_AT_ONCE}
    [rows] = await db.run(tenant, (_ON_PRODUCTS, values))
    return [CheckoutId(row["checkout_id"]) for row in rows]


async def overdue_anywhere(db: Database, tenant: TenantId, grace_seconds: float) -> list[CheckoutId]:
    """Checkouts of the tenant still held more than the grace past their end, oldest first."""
    values = {"tenant": tenant, "grace": grace_seconds, "most": MOST_AT_ONCE}
    [rows] = await db.run(tenant, (_ANYWHERE, values))
    return [CheckoutId(row["checkout_id"]) for row in rows]
