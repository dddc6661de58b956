"""The statements of `db/together.py`."""

NUMBERED = "SELECT id FROM zones WHERE tenant_id = %(tenant)s AND id = ANY (%(zones)s::bigint[]) AND kind = 'numbered'"

# The seats of a zone are made in order of rank and number, and so have their stock items' ids: the index of the free
# ones gives the best first. Seats are found one by one: as a join, PostgreSQL would rather read all of the tenant's.
_FRONT = """
        SELECT st.id, st.rank, st.number FROM (
            SELECT id FROM stock_items WHERE tenant_id = %(tenant)s AND free_in_zone = %(zone)s
            ORDER BY id LIMIT %(most)s) free
        CROSS JOIN LATERAL (
            SELECT * FROM seats WHERE tenant_id = %(tenant)s AND stock_item_id = free.id LIMIT 1) st"""
_WHOLE = """
        SELECT st.id, st.rank, st.number FROM seats st
        JOIN stock_items i ON i.tenant_id = %(tenant)s AND i.id = st.stock_item_id AND i.free_in_zone = %(zone)s
        WHERE st.tenant_id = %(tenant)s AND st.zone_id = %(zone)s"""

# Seats side by side differ from their place in the row's order by the same number. A row that was not read to its end
# (the last of the front) is left out.
_RUNS = """
    WITH placed AS MATERIALIZED ({placed}
    ), seen AS MATERIALIZED (
        SELECT count(*) FILTER (WHERE id <> ALL (%(besides)s::bigint[]))::integer AS free,
               coalesce(count(*) = %(most)s::bigint, false) AS cut, max(rank) AS last
        FROM placed
    ), runs AS MATERIALIZED (
        SELECT rank, min(number) AS first, count(*)::integer AS length FROM (
            SELECT rank, number, number - row_number() OVER (PARTITION BY rank ORDER BY number) AS island
            FROM placed, seen WHERE (NOT cut OR rank < last) AND id <> ALL (%(besides)s::bigint[])) numbered
        GROUP BY rank, island
    )
    SELECT seen.free, seen.cut, (SELECT max(length) FROM runs WHERE length < %(quantity)s) AS shorter,
           long.rank, long.first, long.length, (
               SELECT min(number) + max(number) FROM seats
               WHERE tenant_id = %(tenant)s AND zone_id = %(zone)s AND rank = long.rank) AS ends
    FROM seen LEFT JOIN (
        SELECT * FROM runs WHERE length >= %(quantity)s ORDER BY rank, first LIMIT 1000) long ON true
    ORDER BY rank, first
"""
FRONT, WHOLE = (_RUNS.replace("{placed}", placed) for placed in (_FRONT, _WHOLE))

_ITEMS = """
    FROM unnest(%(ranks)s::integer[], %(numbers)s::integer[]) AS wanted (rank, number)
    JOIN seats st ON st.tenant_id = %(tenant)s AND st.zone_id = %(zone)s
        AND st.rank = wanted.rank AND st.number = wanted.number
    JOIN stock_items i ON i.tenant_id = %(tenant)s AND i.id = st.stock_item_id"""

# Whoever waits for nothing cannot be in a deadlock, whatever else is locked. The condition is looked at again on the
# row as it was locked: what was taken after this statement began is not had.
LOCK_FREE = f"""
    SELECT st.id, st.rank, st.number {_ITEMS} AND i.free_in_zone = %(zone)s
    FOR NO KEY UPDATE OF i SKIP LOCKED
"""

WAIT = f"SELECT i.id {_ITEMS} ORDER BY i.id FOR NO KEY UPDATE OF i"

FREE_AT = """
    SELECT min(expires_at) AS free_at FROM checkout_lines
    WHERE tenant_id = %(tenant)s AND zone_id = %(zone)s AND status = 'held' AND seat_id IS NOT NULL
      AND expires_at > clock_timestamp()
"""
