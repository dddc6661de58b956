"""The statements of `db/settle_again.py`."""

# The lines of a checkout that is over, but for those that were taken out while it was held.
_LINES = """
        SELECT id, stock_item_id, product_id, zone_id, seat_id, quantity FROM checkout_lines
        WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND status = 'released' AND removed_at IS NULL
"""

# The stock items are locked in id order and written as they were locked (see db/reserve_sql.py). What is not sold any
# more is not to be had, at whatever price it was held. The checkout is `held` for the rest of this transaction only:
# nobody else ever sees it so, and its limits do not count it.
HOLD_AGAIN = f"""
    WITH lines AS MATERIALIZED ({_LINES}), locked AS MATERIALIZED (
        SELECT id, kind, total, reserved, sold FROM stock_items
        WHERE tenant_id = %(tenant)s AND id = ANY (ARRAY(SELECT stock_item_id FROM lines))
        ORDER BY id FOR NO KEY UPDATE
    ), judged AS MATERIALIZED (
        SELECT l.stock_item_id, l.quantity, s.kind, s.total, s.reserved, s.sold
        FROM (SELECT stock_item_id, sum(quantity)::integer AS quantity FROM lines GROUP BY 1) l
        JOIN locked s ON s.id = l.stock_item_id
    ), sold_now AS MATERIALIZED (
        SELECT CASE WHEN l.product_id IS NOT NULL THEN p.available ELSE z.available AND e.available END AS available
        FROM lines l
        LEFT JOIN products p ON p.tenant_id = %(tenant)s AND p.id = l.product_id
        LEFT JOIN zones z ON z.tenant_id = %(tenant)s AND z.id = l.zone_id
        LEFT JOIN events e ON e.tenant_id = %(tenant)s AND e.id = z.event_id
    ), verdict AS MATERIALIZED (
        SELECT sellable AND NOT short AND NOT seats_short AS had,
               sellable AND NOT short AND seats_short AS but_for_seats
        FROM (SELECT
            EXISTS (SELECT FROM lines) AND NOT EXISTS (SELECT FROM sold_now WHERE available IS NOT TRUE) AS sellable,
            EXISTS (SELECT FROM judged WHERE total - reserved - sold < quantity AND kind <> 'seat') AS short,
            EXISTS (SELECT FROM judged WHERE total - reserved - sold < quantity AND kind = 'seat') AS seats_short) seen
    ), taken AS (
        UPDATE stock_items s SET total = j.total, reserved = j.reserved + j.quantity, sold = j.sold
        FROM judged j, verdict
        WHERE verdict.had AND s.tenant_id = %(tenant)s AND s.id = j.stock_item_id
    ), held AS (
        UPDATE checkout_lines l SET status = 'held' FROM lines, verdict
        WHERE verdict.had AND l.tenant_id = %(tenant)s AND l.id = lines.id
    ), reopened AS (
        UPDATE checkouts c SET status = 'held', ended_at = NULL FROM verdict
        WHERE verdict.had AND c.tenant_id = %(tenant)s AND c.id = %(checkout)s
    )
    SELECT had, but_for_seats FROM verdict
"""

# The seats of each zone in which at least one of them is gone. By zone, so that two late payments that look for seats
# in the same zones do so in one order; what they find they lock without waiting.
SEATS_OF = f"""
    WITH lines AS MATERIALIZED ({_LINES} AND seat_id IS NOT NULL), gone AS MATERIALIZED (
        SELECT DISTINCT lines.zone_id FROM lines
        JOIN stock_items s ON s.tenant_id = %(tenant)s AND s.id = lines.stock_item_id
        WHERE s.total - s.reserved - s.sold < 1
    )
    SELECT lines.id, lines.zone_id FROM lines JOIN gone USING (zone_id) ORDER BY lines.zone_id, lines.id
"""

MOVE_LINES = """
    UPDATE checkout_lines l SET seat_id = st.id, stock_item_id = st.stock_item_id
    FROM unnest(%(lines)s::bigint[], %(seats)s::bigint[]) AS moved (line, seat)
    JOIN seats st ON st.tenant_id = %(tenant)s AND st.id = moved.seat
    WHERE l.tenant_id = %(tenant)s AND l.id = moved.line AND l.checkout_id = %(checkout)s
"""

OVERDUE = f"""
    WITH lines AS MATERIALIZED ({_LINES})
    SELECT o.checkout_id::text AS checkout_id FROM checkout_lines o
    WHERE o.tenant_id = %(tenant)s AND o.status = 'held' AND o.expires_at <= clock_timestamp()
      AND o.stock_item_id = ANY (ARRAY(SELECT stock_item_id FROM lines))
    GROUP BY o.checkout_id ORDER BY min(o.expires_at) LIMIT %(most)s
"""
