"""What lines ask for, found in the catalogue: stock item, price, and why it cannot be sold.

One shape for products, seats and zones: position, product_id, zone_id, seat_id, quantity, stock_item_id, name,
list_price, unit_price, fault (NULL, or `gone`, `unavailable`, `no_price`, `numbered`), and the tax on it by the rate of
now: tax_class (NULL: none), tax_rate_basis_points, tax_included, tax. Most checkouts are of products only, and do not
look into the other tables.
"""

from db.tax_sql import with_tax

_OF_PRODUCTS = """
        SELECT a.position, a.product_id, NULL::bigint AS zone_id, NULL::bigint AS seat_id, a.quantity, p.stock_item_id,
               p.name, p.price AS list_price, coalesce(p.offer_price, p.price) AS unit_price,
               CASE WHEN p.id IS NULL THEN 'gone' WHEN NOT p.available THEN 'unavailable'
                    WHEN p.price <= 0 THEN 'no_price' END AS fault, p.tax_class AS taxed_as
        FROM {lines}
        LEFT JOIN products p ON p.tenant_id = %(tenant)s AND p.id = a.product_id"""

# CASE, not coalesce, where a table is joined: PostgreSQL does not hold coalesce for leakproof, and under row-level
# security it then reads the whole tenant's table instead of the index.
# A numbered zone has no units of its own: which of its seats is chosen before.
_OF_ANYTHING = """
        SELECT a.position, a.product_id, coalesce(a.zone_id, st.zone_id) AS zone_id, a.seat_id, a.quantity,
               coalesce(p.stock_item_id, st.stock_item_id, z.stock_item_id) AS stock_item_id,
               coalesce(p.name, concat_ws(', ', e.name, z.name, st.row_name || ' ' || st.number)) AS name,
               coalesce(p.price, z.price) AS list_price,
               CASE WHEN p.id IS NULL THEN coalesce(z.offer_price, z.price)
                    ELSE coalesce(p.offer_price, p.price) END AS unit_price,
               CASE WHEN coalesce(p.id, z.id) IS NULL THEN 'gone'
                    WHEN NOT coalesce(p.available, z.available AND e.available) THEN 'unavailable'
                    WHEN coalesce(p.price, z.price) <= 0 THEN 'no_price'
                    WHEN z.kind = 'numbered' AND st.id IS NULL THEN 'numbered' END AS fault,
               CASE WHEN p.id IS NULL THEN z.tax_class ELSE p.tax_class END AS taxed_as
        FROM {lines}
        LEFT JOIN products p ON p.tenant_id = %(tenant)s AND p.id = a.product_id
        LEFT JOIN seats st ON st.tenant_id = %(tenant)s AND st.id = a.seat_id
        LEFT JOIN zones z ON z.tenant_id = %(tenant)s
            AND z.id = CASE WHEN a.zone_id IS NULL THEN st.zone_id ELSE a.zone_id END
        LEFT JOIN events e ON e.tenant_id = z.tenant_id AND e.id = z.event_id"""

PRODUCTS = """unnest(%(products)s::bigint[], %(quantities)s::integer[])
            WITH ORDINALITY AS a (product_id, quantity, position)"""
ANYTHING = """unnest(%(products)s::bigint[], %(zones)s::bigint[], %(seats)s::bigint[], %(quantities)s::integer[])
            WITH ORDINALITY AS a (product_id, zone_id, seat_id, quantity, position)"""


def asked_statement(lines: str, *, anything: bool = False) -> str:
    """The SELECT that resolves `lines`: a FROM item `a` with product_id, quantity, position (and zone_id, seat_id)."""
    return with_tax(_OF_ANYTHING if anything else _OF_PRODUCTS).replace("{lines}", lines)
