"""The statements of `db/events.py`.

Free seats are counted in the index of `stock_items.free_in_zone`, which holds nothing else; those whose hold is over
in the index of a zone's open lines.
"""

EVENTS = """
    SELECT id, name, description, venue, starts_at, available AS on_sale, updated_at FROM events
    WHERE tenant_id = %(tenant)s
"""

_OVERDUE_SEATS = """(
        SELECT count(*) FROM checkout_lines l
        WHERE l.tenant_id = %(tenant)s AND l.zone_id = z.id AND l.status = 'held' AND l.seat_id IS NOT NULL
          AND l.expires_at <= clock_timestamp())"""
_OVERDUE_PLACES = """(
        SELECT coalesce(sum(l.quantity), 0) FROM checkout_lines l
        WHERE l.tenant_id = %(tenant)s AND l.stock_item_id = s.id AND l.status = 'held'
          AND l.expires_at <= clock_timestamp())"""
_FREE_SEATS = f"""(
        SELECT count(*) FROM stock_items f WHERE f.tenant_id = %(tenant)s AND f.free_in_zone = z.id
    ) + {_OVERDUE_SEATS}"""

ZONES = f"""
    SELECT z.id, z.event_id, z.name, z.kind, t.currency, z.price, z.offer_price, z.tax_class,
           z.available AS on_sale, e.available AS event_on_sale,
           CASE WHEN z.kind = 'general' THEN s.total ELSE (
               SELECT count(*) FROM seats st WHERE st.tenant_id = %(tenant)s AND st.zone_id = z.id)
           END::integer AS total,
           CASE WHEN z.kind = 'general' THEN s.total - s.reserved - s.sold + {_OVERDUE_PLACES}
                ELSE {_FREE_SEATS} END::integer AS available,
           z.updated_at
    FROM zones z
    JOIN tenants t ON t.id = z.tenant_id
    JOIN events e ON e.tenant_id = z.tenant_id AND e.id = z.event_id
    LEFT JOIN stock_items s ON s.tenant_id = z.tenant_id AND s.id = z.stock_item_id
    WHERE z.tenant_id = %(tenant)s
"""

FREE_IN = f"""
    SELECT z.id AS zone_id, ({_FREE_SEATS})::integer AS free
    FROM unnest(%(zones)s::bigint[]) AS z (id)
"""

ZONE_OF_SEATS = """
    SELECT EXISTS (SELECT FROM seats WHERE tenant_id = %(tenant)s AND id = %(after)s AND zone_id = z.id) AS placed
    FROM zones z WHERE z.tenant_id = %(tenant)s AND z.id = %(zone)s
"""

# `page` is cut before the stock items are joined, by their ids as an array: joined as a table, PostgreSQL would rather
# read all of the tenant's (measured, at 50,000 seats).
SEATS = """
    WITH page AS MATERIALIZED (
        SELECT id, row_name, rank, number, stock_item_id, row_number() OVER (ORDER BY rank, number) AS seen FROM seats
        WHERE tenant_id = %(tenant)s AND zone_id = %(zone)s
          AND (rank, number) > (
              (SELECT coalesce(max(rank), -2147483648) FROM seats
               WHERE tenant_id = %(tenant)s AND id = %(after)s AND zone_id = %(zone)s),
              (SELECT coalesce(max(number), -2147483648) FROM seats
               WHERE tenant_id = %(tenant)s AND id = %(after)s AND zone_id = %(zone)s))
        ORDER BY rank, number LIMIT %(limit)s
    ), judged AS (
        SELECT p.id, p.row_name, p.number, p.rank, p.seen,
               CASE WHEN i.total = 0 THEN 'blocked' WHEN i.sold > 0 THEN 'sold'
                    WHEN i.reserved = 0 OR p.id IN (
                        SELECT l.seat_id FROM checkout_lines l
                        WHERE l.tenant_id = %(tenant)s AND l.zone_id = %(zone)s AND l.status = 'held'
                          AND l.seat_id IS NOT NULL AND l.expires_at <= clock_timestamp()) THEN 'free'
                    ELSE 'held' END AS status
        FROM page p
        JOIN stock_items i ON i.tenant_id = %(tenant)s AND i.id = p.stock_item_id
            AND i.id = ANY (ARRAY(SELECT stock_item_id FROM page))
    ), wanted AS (
        SELECT *, NOT %(only_free)s OR status = 'free' AS wanted FROM judged
    )
    SELECT id, row_name, number, status, seen, wanted FROM wanted
    WHERE wanted OR seen = %(limit)s
    ORDER BY rank, number
"""
