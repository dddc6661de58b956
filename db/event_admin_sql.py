"""The statements of `db/event_admin.py`, `db/zone_admin.py` and `db/seat_admin.py`.

As in the administration of products, rows are locked by a statement of their own before anything is written.
"""

# What new events, zones and seats of a tenant queue at: two never get the same number. Not the tenant's row: making
# 50,000 seats takes seconds, in which others want that.
QUEUE = "SELECT pg_advisory_xact_lock(4711, hashtext(%(tenant)s))"

_NUMBER = """
    SELECT t.id AS tenant, clock_timestamp() AS now,
        (SELECT id FROM {table} WHERE tenant_id = %(tenant)s AND id = %(made_id)s AND created_at = %(made_at)s) AS made,
        EXISTS (SELECT FROM {table} WHERE tenant_id = %(tenant)s AND id = %(chosen)s) AS taken,
        1 + (SELECT coalesce(max(id), 0) FROM {table} WHERE tenant_id = %(tenant)s AND id < 4611686018427387904) AS next
    FROM tenants t WHERE t.id = %(tenant)s
"""
NUMBER_EVENT, NUMBER_ZONE = (_NUMBER.replace("{table}", table) for table in ("events", "zones"))

INSERT_EVENT = """
    INSERT INTO events (tenant_id, id, name, description, venue, starts_at, available, created_at, updated_at)
    VALUES (%(tenant)s, %(event)s, %(name)s, %(description)s, %(venue)s, %(starts_at)s, %(on_sale)s, %(at)s, %(at)s)
"""
LOCK_EVENT = """
    SELECT name, description, venue, starts_at, available AS on_sale FROM events
    WHERE tenant_id = %(tenant)s AND id = %(event)s FOR NO KEY UPDATE
"""
UPDATE_EVENT = """
    UPDATE events SET name = %(name)s, description = %(description)s, venue = %(venue)s, starts_at = %(starts_at)s,
        available = %(on_sale)s, updated_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND id = %(event)s
"""
ZONES_OF_EVENT = """
    SELECT e.id, (SELECT count(*) FROM zones z WHERE z.tenant_id = %(tenant)s AND z.event_id = e.id) AS zones
    FROM events e WHERE e.tenant_id = %(tenant)s AND e.id = %(event)s
"""

INSERT_GENERAL = """
    WITH item AS (
        INSERT INTO stock_items (tenant_id, kind, total) VALUES (%(tenant)s, 'zone', %(capacity)s) RETURNING id
    )
    INSERT INTO zones (tenant_id, id, event_id, name, kind, price, offer_price, tax_class, available, stock_item_id,
                       created_at, updated_at)
    SELECT %(tenant)s, %(zone)s, %(event)s, %(name)s, 'general', %(price)s, %(offer_price)s, %(tax_class)s,
           %(on_sale)s, item.id, %(at)s, %(at)s
    FROM item
"""
INSERT_NUMBERED = """
    INSERT INTO zones (tenant_id, id, event_id, name, kind, price, offer_price, tax_class, available,
                       created_at, updated_at)
    VALUES (%(tenant)s, %(zone)s, %(event)s, %(name)s, 'numbered', %(price)s, %(offer_price)s, %(tax_class)s,
            %(on_sale)s, %(at)s, %(at)s)
"""
# So many seats take longer than a transaction of a buyer's may (5 s); each statement stays under its own limit.
TAKE_TIME = "SELECT set_config('transaction_timeout', '0', true) FROM pg_settings WHERE name = 'transaction_timeout'"
# Ids of seats and of their stock items ascend in order of rank and number: who looks for the best seats relies on it.
INSERT_SEATS = """
    WITH wanted AS MATERIALIZED (
        SELECT * FROM unnest(%(rows)s::text[], %(ranks)s::integer[], %(numbers)s::integer[])
            WITH ORDINALITY AS w (row_name, rank, number, place)
    ), items AS (
        INSERT INTO stock_items (tenant_id, kind, total, zone_id)
        SELECT %(tenant)s, 'seat', 1, %(zone)s FROM wanted RETURNING id
    ), made AS MATERIALIZED (
        SELECT id, row_number() OVER (ORDER BY id) AS place FROM items
    )
    INSERT INTO seats (tenant_id, id, zone_id, row_name, rank, number, stock_item_id)
    SELECT %(tenant)s, %(after)s + place, %(zone)s, row_name, rank, number, made.id
    FROM wanted JOIN made USING (place) ORDER BY place
"""
LAST_SEAT = "SELECT coalesce(max(id), 0) AS id FROM seats WHERE tenant_id = %(tenant)s"

LOCK_CAPACITY = """
    SELECT id, total AS capacity, reserved, sold FROM stock_items
    WHERE tenant_id = %(tenant)s
      AND id = (SELECT stock_item_id FROM zones WHERE tenant_id = %(tenant)s AND id = %(zone)s)
    FOR NO KEY UPDATE
"""
LOCK_ZONE = """
    SELECT name, kind, price, offer_price, tax_class, available AS on_sale FROM zones
    WHERE tenant_id = %(tenant)s AND id = %(zone)s FOR NO KEY UPDATE
"""
SET_CAPACITY = """
    UPDATE stock_items SET total = %(capacity)s
    WHERE tenant_id = %(tenant)s AND id = %(item)s AND total <> %(capacity)s
"""
UPDATE_ZONE = """
    UPDATE zones SET name = %(name)s, price = %(price)s, offer_price = %(offer_price)s,
        tax_class = %(tax_class)s, available = %(on_sale)s, updated_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND id = %(zone)s
"""
COMMITTED_SEATS = """
    SELECT coalesce(sum(i.reserved), 0)::integer AS reserved, coalesce(sum(i.sold), 0)::integer AS sold FROM seats st
    JOIN stock_items i ON i.tenant_id = %(tenant)s AND i.id = st.stock_item_id
    WHERE st.tenant_id = %(tenant)s AND st.zone_id = %(zone)s
"""
# A reserve that began before a zone was withdrawn may not have seen it; its transaction has a lower number than one
# that begins now.
MARK = "SELECT pg_current_xact_id()::text AS mark"
OLDER = "SELECT pg_snapshot_xmin(pg_current_snapshot()) <= %(mark)s::xid8 AS running"

LOCK_SEATS = """
    SELECT id, total, reserved, sold FROM stock_items
    WHERE tenant_id = %(tenant)s AND id = ANY (ARRAY(
        SELECT stock_item_id FROM seats
        WHERE tenant_id = %(tenant)s AND zone_id = %(zone)s AND id = ANY (%(seats)s::bigint[])))
    ORDER BY id FOR NO KEY UPDATE
"""
WHOSE_SEATS = """
    SELECT id, stock_item_id FROM seats
    WHERE tenant_id = %(tenant)s AND zone_id = %(zone)s AND id = ANY (%(seats)s::bigint[])
"""
ZONE_EXISTS = "SELECT id FROM zones WHERE tenant_id = %(tenant)s AND id = %(zone)s"
SET_SEATS = "UPDATE stock_items SET total = %(total)s WHERE tenant_id = %(tenant)s AND id = ANY (%(items)s::bigint[])"
