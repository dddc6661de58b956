"""The statements of `db/lines.py`, in the global lock order: checkout, limits, stock items by id.

The clock is read by the last of those that lock, after all of the locks were had.
"""

from db.asked_sql import ANYTHING, asked_statement
from db.limits_sql import refusal, subjects_of

LOCK = """
    SELECT status, held_at, expires_at, hold_seconds, maximum_seconds FROM checkouts
    WHERE tenant_id = %(tenant)s AND id = %(checkout)s
    FOR UPDATE
"""

_SUBJECTS = f"""ARRAY(
        SELECT unnest({subjects_of("c")}) FROM checkouts c
        WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s)"""
LOCK_COUNTERS = f"""
    SELECT FROM limit_counters WHERE tenant_id = %(tenant)s AND subject = ANY ({_SUBJECTS})
    ORDER BY subject FOR UPDATE
"""

# Availability is what the locked rows say.
LOCK_ASKED = f"""
    WITH asked AS MATERIALIZED ({asked_statement(ANYTHING, anything=True)}
    ), locked AS MATERIALIZED (
        SELECT id, total - reserved - sold AS free FROM stock_items
        WHERE tenant_id = %(tenant)s AND id = ANY (ARRAY(SELECT stock_item_id FROM asked WHERE fault IS NULL))
        ORDER BY id FOR NO KEY UPDATE
    )
    SELECT asked.*, coalesce(locked.free, 0) AS free FROM asked LEFT JOIN locked ON locked.id = asked.stock_item_id
    ORDER BY position
"""

LINE = """
    SELECT id, stock_item_id, quantity, list_price, unit_price, tax, tax_included FROM checkout_lines
    WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND id = %(remove)s AND status = 'held'
"""

# Of a limit only what more lines can pass: a live checkout that grows is not one more.
LOOK = f"""
    WITH mine AS MATERIALIZED (
        SELECT c.buyer_key, 'owner:' || c.buyer_key AS owner, (
                   SELECT count(*) FROM checkout_lines l
                   WHERE l.tenant_id = c.tenant_id AND l.checkout_id = c.id AND l.status = 'held') AS lines, (
                   SELECT max(position) FROM checkout_lines l
                   WHERE l.tenant_id = c.tenant_id AND l.checkout_id = c.id) AS last_position
        FROM checkouts c WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s
    ), hit AS MATERIALIZED (
        SELECT l.name, l.most, NULL::timestamptz AS until FROM mine
        JOIN tenants t ON t.id = %(tenant)s
        LEFT JOIN limit_counters o ON o.tenant_id = %(tenant)s AND o.subject = mine.owner
        CROSS JOIN LATERAL (VALUES
            ('lines', t.max_lines, mine.lines + %(added)s > t.max_lines),
            ('held_lines', t.max_held_lines, o.held_lines + %(added)s > t.max_held_lines)
        ) AS l (name, most, hit)
        WHERE %(added)s > 0 AND l.hit LIMIT 1
    )
    SELECT clock_timestamp() AS now, mine.lines, mine.last_position,
           (SELECT {refusal(buyer="mine.buyer_key", address_key="NULL", at="clock_timestamp()")} FROM hit) AS "limit",
           done.request_id IS NOT NULL AS repeated, done.refusal, (
               SELECT jsonb_agg(jsonb_build_object('gateway', p.gateway, 'payment_id', p.payment_id,
                                                   'status', p.status) ORDER BY p.known_at)
               FROM payments p
               WHERE p.tenant_id = %(tenant)s AND p.checkout_id = %(checkout)s AND p.closed_at IS NULL
                 AND p.status IN ('created', 'processing', 'failed', 'captured') AND NOT EXISTS (
                     SELECT FROM payment_outcomes o WHERE o.tenant_id = p.tenant_id AND o.gateway = p.gateway
                       AND o.payment_id = p.payment_id)) AS payments
    FROM mine
    LEFT JOIN checkout_changes done ON done.tenant_id = %(tenant)s AND done.checkout_id = %(checkout)s
        AND done.request_id = %(request)s
"""

FREE_AT = """
    SELECT i.id, (
        SELECT min(l.expires_at) FROM checkout_lines l
        WHERE l.tenant_id = %(tenant)s AND l.stock_item_id = i.id AND l.status = 'held'
          AND l.expires_at > clock_timestamp()) AS free_at
    FROM unnest(%(items)s::bigint[]) AS i (id)
"""

COUNT = f"""
    UPDATE limit_counters SET held_lines = held_lines + %(lines)s
    WHERE tenant_id = %(tenant)s AND subject = ANY ({_SUBJECTS})
"""

# Below zero: they go back.
TAKE_UNITS = """
    UPDATE stock_items s SET reserved = s.reserved + a.quantity
    FROM (SELECT item, sum(quantity)::integer AS quantity
          FROM unnest(%(items)s::bigint[], %(units)s::integer[]) AS a (item, quantity) GROUP BY item) a
    WHERE s.tenant_id = %(tenant)s AND s.id = a.item
"""

# What came with a line stands by its place in the request.
ADD_LINES = """
    INSERT INTO checkout_lines (tenant_id, checkout_id, position, stock_item_id, product_id, zone_id, seat_id, quantity,
                                list_price, unit_price, tax_class, tax_rate_basis_points, tax_included, tax,
                                locked_at, expires_at, metadata)
    SELECT %(tenant)s, %(checkout)s, %(last_position)s + a.position, a.item, a.product_id, a.zone_id, a.seat_id,
           a.quantity, a.list_price, a.unit_price, a.tax_class, a.tax_rate, a.tax_included, a.tax,
           %(now)s, %(new_end)s, (
               SELECT metadata FROM line_metadata
               WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND fingerprint = %(fingerprint)s
           ) -> a.origin::text
    FROM unnest(%(items)s::bigint[], %(products)s::bigint[], %(zones)s::bigint[], %(seats)s::bigint[],
                %(units)s::integer[], %(list_prices)s::bigint[], %(unit_prices)s::bigint[], %(tax_classes)s::text[],
                %(tax_rates)s::integer[], %(taxes_included)s::boolean[], %(taxes)s::bigint[], %(origins)s::integer[])
        WITH ORDINALITY
        AS a (item, product_id, zone_id, seat_id, quantity, list_price, unit_price, tax_class, tax_rate, tax_included,
              tax, origin, position)
    ORDER BY a.position
"""

TAKE_OUT = """
    UPDATE checkout_lines SET status = 'released', removed_at = %(now)s
    WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND id = %(remove)s AND status = 'held'
"""

CHANGE_CHECKOUT = """
    UPDATE checkouts SET expires_at = %(new_end)s, subtotal = subtotal + %(subtotal)s,
        discount = discount + %(subtotal)s - %(total)s, tax = tax + %(tax)s, total = total + %(total)s + %(tax)s
    WHERE tenant_id = %(tenant)s AND id = %(checkout)s
"""

NOTE = """
    INSERT INTO checkout_changes (tenant_id, checkout_id, request_id, fingerprint, refusal, changed_at)
    VALUES (%(tenant)s, %(checkout)s, %(request)s, %(fingerprint)s, %(refusal)s, %(now)s)
"""

STORED = """
    SELECT fingerprint, refusal FROM checkout_changes
    WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND request_id = %(request)s
"""
