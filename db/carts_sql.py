"""The statements of `db/carts.py`."""

from db.tax_sql import rate_of

# Of an anonymous owner first: a login may be taking the session over, and what was written to its cart after that would
# be seen by nobody.
LOCK_SESSION = """
    SELECT user_key FROM sessions WHERE tenant_id = %(tenant)s AND id = %(session)s FOR SHARE
"""

# A statement of its own: the next one's snapshot is younger than the wait for the lock.
LOCK = "SELECT 1 FROM carts WHERE tenant_id = %(tenant)s AND owner_key = %(owner)s FOR UPDATE"

# One row, whatever the cart has. Each line with its product as it is now, then the products that are asked for beside
# the lines, without a quantity. Free units count overdue holds in, as a reserve would free them first. Sub-selects, not
# joins: only they are sure to be looked up by their whole keys, also by a plan that was made while a table was empty.
READ = f"""
    SELECT t.currency, c.id::text AS id, c.status, c.checkout_id::text AS checkout_id, c.updated_at,
           coalesce((SELECT h.expires_at <= clock_timestamp() FROM checkouts h
                     WHERE h.tenant_id = c.tenant_id AND h.id = c.checkout_id AND h.status = 'held'), false) AS overdue,
           (SELECT json_agg(json_build_array(
                       w.product_id, w.quantity, p.id IS NOT NULL, p.name, p.price, p.offer_price, p.available,
                       p.one_per_cart,
                       s.total - s.reserved - s.sold + CASE WHEN s.reserved = 0 THEN 0 ELSE (
                           SELECT coalesce(sum(o.quantity), 0) FROM checkout_lines o
                           WHERE o.tenant_id = s.tenant_id AND o.stock_item_id = s.id AND o.status = 'held'
                             AND o.expires_at <= clock_timestamp()) END,
                       coalesce(rate.rate_basis_points, 0), coalesce(rate.included, false)
                   ) ORDER BY w.added_at, w.product_id)
            FROM (
                SELECT l.product_id, l.quantity, l.added_at FROM cart_lines l
                WHERE l.tenant_id = c.tenant_id AND l.cart_id = c.id
                UNION ALL
                SELECT a.product_id, NULL, NULL FROM unnest(%(asked)s::bigint[]) AS a (product_id)
            ) w
            LEFT JOIN products p ON p.tenant_id = t.id AND p.id = w.product_id
            LEFT JOIN stock_items s ON s.tenant_id = p.tenant_id AND s.id = p.stock_item_id
            LEFT JOIN LATERAL {rate_of("p.tax_class")} rate ON true) AS lines,
           CASE WHEN c.status = 'processing' THEN (
               SELECT json_agg(json_build_array(l.product_id, l.list_price, l.unit_price, l.tax_rate_basis_points,
                                                l.tax_included))
               FROM checkout_lines l
               WHERE l.tenant_id = c.tenant_id AND l.status = 'held' AND l.checkout_id = ANY (ARRAY(
                   SELECT k.id FROM checkouts k
                   WHERE k.tenant_id = c.tenant_id AND k.cart_id = c.id AND k.status = 'held'))) END AS held
    FROM tenants t
    LEFT JOIN carts c ON c.tenant_id = t.id AND c.owner_key = %(owner)s
    WHERE t.id = %(tenant)s
"""

_PUT = """
    INSERT INTO cart_lines (tenant_id, cart_id, product_id, quantity)
    SELECT %(tenant)s, %(cart)s, * FROM unnest(%(products)s::bigint[], %(quantities)s::integer[])
"""
# What its owner changed, and what had to go, each by itself. In the same statement as the change: one message less.
_NOTE = """
    INSERT INTO audit_log (tenant_id, actor, action, subject, before, after)
    SELECT %(tenant)s, %(owner)s, n.action, %(subject)s, n.before, n.after
    FROM (VALUES ('cart.changed', %(changed_before)s::jsonb, %(changed_after)s::jsonb),
                 ('cart.validated', %(validated_before)s::jsonb, %(validated_after)s::jsonb)) n (action, before, after)
    WHERE n.after IS NOT NULL
"""

CREATE = f"""
    WITH cart AS (
        INSERT INTO carts (tenant_id, id, owner_key) VALUES (%(tenant)s, %(cart)s, %(owner)s) RETURNING updated_at
    ), put AS ({_PUT}), noted AS ({_NOTE})
    SELECT updated_at FROM cart
"""

CHANGE = f"""
    WITH cart AS (
        UPDATE carts SET updated_at = clock_timestamp() WHERE tenant_id = %(tenant)s AND id = %(cart)s
        RETURNING updated_at
    ), removed AS (
        DELETE FROM cart_lines
        WHERE tenant_id = %(tenant)s AND cart_id = %(cart)s AND product_id = ANY (%(removed)s::bigint[])
    ), put AS ({_PUT} ON CONFLICT (tenant_id, cart_id, product_id) DO UPDATE SET quantity = excluded.quantity),
    noted AS ({_NOTE})
    SELECT updated_at FROM cart
"""
