"""Which holds are past their end and still open."""

from __future__ import annotations

from collections.abc import Sequence

from db.asked import asked_values
from db.database import Database
from domain.ids import CheckoutId, TenantId
from domain.messages import Line

MOST_AT_ONCE = 200

# Lines are kept longer than their checkout's hold while its end waits for a payment (`db/settle_sql.py`, KEEP_LINES).
_NOT_WAITING = """EXISTS (
    SELECT FROM checkout_lines k
    WHERE k.tenant_id = {0}.tenant_id AND k.checkout_id = {0}.id AND k.status = 'held'
      AND k.expires_at <= clock_timestamp())"""

_ON_ITEMS = """
    SELECT l.checkout_id::text AS checkout_id
    FROM checkout_lines l
    WHERE l.tenant_id = %(tenant)s AND l.status = 'held' AND l.expires_at <= clock_timestamp()
      AND l.stock_item_id = ANY (ARRAY(
          SELECT stock_item_id FROM products WHERE tenant_id = %(tenant)s AND id = ANY (%(products)s::bigint[])
          UNION ALL
          SELECT stock_item_id FROM zones WHERE tenant_id = %(tenant)s AND id = ANY (%(zones)s::bigint[])
          UNION ALL
          SELECT stock_item_id FROM seats WHERE tenant_id = %(tenant)s AND id = ANY (%(seats)s::bigint[])
          UNION ALL
          SELECT o.stock_item_id FROM checkout_lines o
          WHERE o.tenant_id = %(tenant)s AND o.zone_id = ANY (%(zones)s::bigint[]) AND o.seat_id IS NOT NULL
            AND o.status = 'held' AND o.expires_at <= clock_timestamp()))
    GROUP BY l.checkout_id ORDER BY min(l.expires_at) LIMIT %(most)s
"""

_ON_CART = f"""
    WITH cart AS (
        SELECT k.id, k.checkout_id FROM carts k
        JOIN checkouts c ON c.tenant_id = k.tenant_id AND c.buyer_key = k.owner_key
        WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s
    ), found AS (
        SELECT h.id AS checkout_id, h.expires_at FROM cart
        JOIN checkouts h ON h.tenant_id = %(tenant)s AND h.id = cart.checkout_id
        WHERE h.status = 'held' AND h.expires_at <= clock_timestamp() AND {_NOT_WAITING.format("h")}
        UNION ALL
        SELECT l.checkout_id, l.expires_at FROM checkout_lines l
        WHERE l.tenant_id = %(tenant)s AND l.status = 'held' AND l.expires_at <= clock_timestamp()
          AND l.stock_item_id = ANY (ARRAY(
              SELECT p.stock_item_id FROM cart
              JOIN cart_lines a ON a.tenant_id = %(tenant)s AND a.cart_id = cart.id
              JOIN products p ON p.tenant_id = %(tenant)s AND p.id = a.product_id))
    )
    SELECT checkout_id::text AS checkout_id FROM found GROUP BY 1 ORDER BY min(expires_at) LIMIT %(most)s
"""

_OF_OWNER = f"""
    SELECT o.id::text AS checkout_id FROM checkouts c
    JOIN checkouts o ON o.tenant_id = %(tenant)s AND (o.buyer_key = c.buyer_key OR o.address_key = c.address_key)
    WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s AND o.status = 'held'
      AND o.expires_at <= clock_timestamp() AND {_NOT_WAITING.format("o")}
    ORDER BY o.expires_at LIMIT %(most)s
"""

_ANYWHERE = f"""
    SELECT c.id::text AS checkout_id FROM checkouts c
    WHERE c.tenant_id = %(tenant)s AND c.status = 'held'
      AND c.expires_at <= clock_timestamp() - make_interval(secs => %(grace)s) AND {_NOT_WAITING.format("c")}
    ORDER BY c.expires_at LIMIT %(most)s
"""


async def overdue_on(db: Database, tenant: TenantId, lines: Sequence[Line]) -> list[CheckoutId]:
    """Checkouts whose hold on one of these things is past its end, oldest first. A zone counts with its seats."""
    values = {"tenant": tenant, **asked_values(lines), "most": MOST_AT_ONCE}
    [rows] = await db.run(tenant, (_ON_ITEMS, values))
    return [CheckoutId(row["checkout_id"]) for row in rows]


async def overdue_on_cart(db: Database, tenant: TenantId, checkout: CheckoutId) -> list[CheckoutId]:
    """What stands past its end in the way of starting this checkout from its buyer's cart: holds on the cart itself,
    and on the products in it."""
    [rows] = await db.run(tenant, (_ON_CART, {"tenant": tenant, "checkout": checkout, "most": MOST_AT_ONCE}))
    return [CheckoutId(row["checkout_id"]) for row in rows]


async def overdue_of_owner(db: Database, tenant: TenantId, checkout: CheckoutId) -> list[CheckoutId]:
    """Checkouts past their end of the one who starts this checkout, or of his address."""
    [rows] = await db.run(tenant, (_OF_OWNER, {"tenant": tenant, "checkout": checkout, "most": MOST_AT_ONCE}))
    return [CheckoutId(row["checkout_id"]) for row in rows]


async def overdue_anywhere(db: Database, tenant: TenantId, grace_seconds: float) -> list[CheckoutId]:
    """Checkouts of the tenant still held more than the grace past their end, oldest first."""
    values = {"tenant": tenant, "grace": grace_seconds, "most": MOST_AT_ONCE}
    [rows] = await db.run(tenant, (_ANYWHERE, values))
    return [CheckoutId(row["checkout_id"]) for row in rows]
