"""The statements of fiscal numbers: one counter row for each series, the last lock of all.

A number is given in two statements. The first takes the counter's lock, so that the second sees, by its younger
snapshot and its own clock, all that was committed before: numbers are in commit order, and so are their times. What is
rolled back gave nothing away. Times ascend strictly, also when a server's clock is put back.
"""

LOCK_SERIES = """
    SELECT 1 FROM fiscal_series
    WHERE tenant_id = %(tenant)s AND name = (SELECT fiscal_series FROM tenants WHERE id = %(tenant)s)
    FOR NO KEY UPDATE
"""

_TIME = "greatest(clock_timestamp(), s.last_at + interval '1 microsecond')"

# The range that numbers are of now, or the next that was prepared and is valid now: those of a series ascend.
# Each part by its own key: a series may have had many ranges.
_RANGE = """(
        SELECT one.* FROM (
            SELECT r.id, r.last_number, s.next_number AS number FROM fiscal_ranges r
            WHERE r.tenant_id = %(tenant)s AND r.id = s.range_id AND r.starts_at <= s.at AND r.ends_at > s.at
              AND s.next_number <= r.last_number
            UNION ALL
            (SELECT r.id, r.last_number, r.first_number FROM fiscal_ranges r
             WHERE r.tenant_id = %(tenant)s AND r.series = s.name AND r.starts_at <= s.at AND r.ends_at > s.at
               AND r.first_number >= CASE WHEN s.next_number IS NULL THEN 0 ELSE s.next_number END
             ORDER BY r.first_number LIMIT 1)) one
        ORDER BY one.number LIMIT 1)"""

# An order that gets no number waits for one: it is confirmed all the same. While one waits, all later ones wait behind
# it. A tenant whose series is changed between the two statements has no lock on the new one: then the unique key of
# numbers makes whoever came second try again.
NUMBER_ORDER = f"""
    WITH series AS MATERIALIZED (
        SELECT s.name, s.prefix, s.padding, s.range_id, s.next_number, s.waiting, {_TIME} AS at
        FROM tenants t JOIN fiscal_series s ON s.tenant_id = t.id AND s.name = t.fiscal_series
        JOIN orders o ON o.tenant_id = t.id AND o.id = %(order)s AND o.fiscal_status = 'none'
        WHERE t.id = %(tenant)s
    ), given AS MATERIALIZED (
        SELECT s.*, r.id AS of_range, r.number FROM series s LEFT JOIN LATERAL {_RANGE} r ON s.waiting = 0
    ), counted AS (
        UPDATE fiscal_series f SET last_at = g.at,
            range_id = CASE WHEN g.number IS NULL THEN f.range_id ELSE g.of_range END,
            next_number = CASE WHEN g.number IS NULL THEN f.next_number ELSE g.number + 1 END,
            waiting = f.waiting + CASE WHEN g.number IS NULL THEN 1 ELSE 0 END
        FROM given g WHERE f.tenant_id = %(tenant)s AND f.name = g.name
    ), opened AS (
        UPDATE fiscal_ranges r SET opened_at = g.at
        FROM given g WHERE r.tenant_id = %(tenant)s AND r.id = g.of_range AND g.of_range IS DISTINCT FROM g.range_id
    )
    UPDATE orders o SET fiscal_series = g.name, fiscal_pending_at = g.at,
        fiscal_status = CASE WHEN g.number IS NULL THEN 'pending' ELSE 'issued' END,
        fiscal_range_id = g.of_range, fiscal_sequence = g.number,
        fiscal_number = g.prefix || lpad(g.number::text, greatest(g.padding, length(g.number::text)), '0'),
        fiscal_issued_at = CASE WHEN g.number IS NULL THEN NULL ELSE g.at END
    FROM given g WHERE o.tenant_id = %(tenant)s AND o.id = %(order)s
"""
NUMBER = (LOCK_SERIES, NUMBER_ORDER)
"""The last statements of a confirm, whatever else it does: nothing waits for anything while it has a series."""

# The queue is locked before the series: whoever refunds one of these orders has its row, and waits for none of ours.
LOCK_WAITING = """
    SELECT id FROM orders
    WHERE tenant_id = %(tenant)s AND fiscal_series = %(series)s AND fiscal_status = 'pending'
    ORDER BY fiscal_pending_at LIMIT %(most)s FOR NO KEY UPDATE
"""
LOCK_NAMED = "SELECT 1 FROM fiscal_series WHERE tenant_id = %(tenant)s AND name = %(series)s FOR NO KEY UPDATE"

# As many of those that wait as one range has numbers for, in the order in which they were confirmed: only from the very
# first in the queue on.
FILL = f"""
    WITH series AS MATERIALIZED (
        SELECT s.name, s.prefix, s.padding, s.range_id, s.next_number, {_TIME} AS at
        FROM fiscal_series s
        WHERE s.tenant_id = %(tenant)s AND s.name = %(series)s
    ), queue AS MATERIALIZED (
        SELECT o.id, row_number() OVER (ORDER BY o.fiscal_pending_at) - 1 AS place, o.fiscal_pending_at AS since
        FROM orders o
        WHERE o.tenant_id = %(tenant)s AND o.id = ANY (%(orders)s::uuid[]) AND o.fiscal_status = 'pending'
    ), given AS MATERIALIZED (
        SELECT q.id AS order_id, s.prefix, s.padding, s.range_id, r.id AS of_range, r.number + q.place AS number,
               s.at + q.place * interval '1 microsecond' AS at
        FROM series s CROSS JOIN LATERAL {_RANGE} r CROSS JOIN queue q
        WHERE r.number + q.place <= r.last_number AND NOT EXISTS (
            SELECT FROM orders o
            WHERE o.tenant_id = %(tenant)s AND o.fiscal_series = %(series)s AND o.fiscal_status = 'pending'
              AND o.fiscal_pending_at < (SELECT min(since) FROM queue))
    ), summed AS MATERIALIZED (
        SELECT count(*) AS orders, max(of_range) AS of_range, max(range_id) AS range_id, max(number) AS number,
               min(at) AS began, max(at) AS at
        FROM given HAVING count(*) > 0
    ), counted AS (
        UPDATE fiscal_series f SET last_at = g.at, range_id = g.of_range, next_number = g.number + 1,
            waiting = f.waiting - g.orders
        FROM summed g WHERE f.tenant_id = %(tenant)s AND f.name = %(series)s
    ), opened AS (
        UPDATE fiscal_ranges r SET opened_at = g.began
        FROM summed g WHERE r.tenant_id = %(tenant)s AND r.id = g.of_range AND g.of_range IS DISTINCT FROM g.range_id
    )
    UPDATE orders o SET fiscal_status = 'issued', fiscal_range_id = g.of_range, fiscal_sequence = g.number,
        fiscal_number = g.prefix || lpad(g.number::text, greatest(g.padding, length(g.number::text)), '0'),
        fiscal_issued_at = g.at
    FROM given g WHERE o.tenant_id = %(tenant)s AND o.id = g.order_id
    RETURNING o.id::text AS order_id, o.fiscal_number
"""
WAITING = "SELECT name FROM fiscal_series WHERE tenant_id = %(tenant)s AND waiting > 0 ORDER BY name"

# What is left: of the range that numbers are of now, and of those that were prepared after it, if they are not over.
SERIES = """
    SELECT s.name, s.prefix, s.padding, s.alert_percent, s.alert_days, s.waiting, s.alerts, s.next_number, s.created_at,
           t.fiscal_series IS NOT DISTINCT FROM s.name AS in_use, clock_timestamp() AS now,
           coalesce((SELECT last_number - first_number + 1 FROM fiscal_ranges r
                     WHERE r.tenant_id = s.tenant_id AND r.id = s.range_id), 0) AS size,
           left_over.remaining, left_over.ends_at, left_over.valid_until
    FROM tenants t JOIN fiscal_series s ON s.tenant_id = t.id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(r.last_number + 1 - CASE WHEN r.id = s.range_id THEN s.next_number ELSE r.first_number END),
                        0)::bigint AS remaining,
               max(r.ends_at) AS ends_at, max(r.valid_until) AS valid_until
        FROM fiscal_ranges r
        WHERE r.tenant_id = s.tenant_id AND r.series = s.name AND r.ends_at > clock_timestamp()
          AND CASE WHEN r.id = s.range_id THEN s.next_number <= r.last_number
                   ELSE s.next_number IS NULL OR r.first_number >= s.next_number END
    ) left_over
    WHERE t.id = %(tenant)s AND (%(series)s::text IS NULL OR s.name = %(series)s)
    ORDER BY s.name
"""
RANGES = """
    SELECT r.id, r.series, r.first_number AS first, r.last_number AS last, r.valid_from, r.valid_until, r.authorisation,
           r.opened_at, r.created_at,
           CASE WHEN r.id = s.range_id AND s.next_number > r.last_number THEN 'used'
                WHEN r.id <> s.range_id AND r.opened_at IS NOT NULL THEN 'used'
                WHEN r.ends_at <= clock_timestamp() THEN 'over'
                WHEN r.id = s.range_id THEN 'open'
                WHEN r.first_number < s.next_number THEN 'passed_over'
                ELSE 'prepared' END AS status
    FROM fiscal_ranges r JOIN fiscal_series s ON s.tenant_id = r.tenant_id AND s.name = r.series
    WHERE r.tenant_id = %(tenant)s AND r.series = %(series)s ORDER BY r.first_number
"""
ADD_SERIES = """
    INSERT INTO fiscal_series (tenant_id, name, prefix, padding, alert_percent, alert_days)
    VALUES (%(tenant)s, %(name)s, %(prefix)s, %(padding)s, %(alert_percent)s, %(alert_days)s)
"""
SERIES_LIKE = """
    SELECT name, prefix, padding, alert_percent, alert_days FROM fiscal_series
    WHERE tenant_id = %(tenant)s AND (name = %(name)s OR prefix = %(prefix)s) ORDER BY name <> %(name)s
"""
HOW_MANY = "SELECT count(*) AS series FROM fiscal_series WHERE tenant_id = %(tenant)s"
LOCK_TENANT = "SELECT id FROM tenants WHERE id = %(tenant)s FOR NO KEY UPDATE"
LAST_RANGES = """
    SELECT t.time_zone, r.ranges, coalesce(r.last, 0) AS last
    FROM tenants t CROSS JOIN LATERAL (
        SELECT count(*) AS ranges, max(last_number) AS last FROM fiscal_ranges
        WHERE tenant_id = %(tenant)s AND series = %(series)s) r
    WHERE t.id = %(tenant)s
"""
SAME_RANGE = """
    SELECT id FROM fiscal_ranges
    WHERE tenant_id = %(tenant)s AND series = %(series)s AND first_number = %(first)s AND last_number = %(last)s
      AND valid_from = %(valid_from)s AND valid_until = %(valid_until)s AND authorisation = %(authorisation)s
"""
ADD_RANGE = """
    INSERT INTO fiscal_ranges (tenant_id, series, first_number, last_number, valid_from, valid_until,
                               starts_at, ends_at, authorisation)
    VALUES (%(tenant)s, %(series)s, %(first)s, %(last)s, %(valid_from)s, %(valid_until)s, %(starts_at)s, %(ends_at)s,
            %(authorisation)s)
"""
SET_ALERTS = """
    UPDATE fiscal_series SET alerts = %(alerts)s::text[]
    WHERE tenant_id = %(tenant)s AND name = %(series)s AND alerts = %(before)s::text[]
    RETURNING name
"""

# A page of the numbers of a series in their order, and what is wrong with them; its last one leads to the next page.
# Between two ranges numbers may be missing: those of a range that ran out of time are never given.
CHECK_PAGE = """
    WITH page AS MATERIALIZED (
        SELECT o.fiscal_sequence AS number, o.fiscal_issued_at AS at, o.fiscal_range_id AS of_range,
               o.fiscal_number = s.prefix || lpad(o.fiscal_sequence::text,
                   greatest(s.padding, length(o.fiscal_sequence::text)), '0') AS told_right
        FROM orders o JOIN fiscal_series s ON s.tenant_id = %(tenant)s AND s.name = %(series)s
        WHERE o.tenant_id = %(tenant)s AND o.fiscal_series = %(series)s AND o.fiscal_sequence > %(after)s
        ORDER BY o.fiscal_sequence LIMIT %(limit)s
    ), seen AS (
        SELECT number, at, of_range, told_right,
               coalesce(lag(number) OVER w, %(last)s::bigint) AS before,
               coalesce(lag(at) OVER w, %(issued_at)s::timestamptz) AS at_before,
               coalesce(lag(of_range) OVER w, %(range)s::bigint) AS range_before
        FROM page WINDOW w AS (ORDER BY number)
    ), judged AS (
        SELECT seen.*, CASE WHEN range_before = of_range THEN before + 1 ELSE r.first_number END AS due,
               r.last_number
        FROM seen LEFT JOIN fiscal_ranges r ON r.tenant_id = %(tenant)s AND r.id = seen.of_range
    )
    SELECT count(*) AS issued, min(number) AS first, max(number) AS last,
           coalesce(sum(number - due) FILTER (WHERE number > due), 0)::bigint AS missing,
           min(due) FILTER (WHERE number > due) AS first_missing,
           count(*) FILTER (WHERE number = before) AS duplicates,
           count(*) FILTER (WHERE (number < due OR number > last_number OR NOT told_right) IS NOT FALSE) AS wrong,
           count(*) FILTER (WHERE at <= at_before) AS disordered,
           (array_agg(at ORDER BY number DESC))[1] AS issued_at,
           (array_agg(of_range ORDER BY number DESC))[1] AS of_range
    FROM judged
"""
PENDING = """
    SELECT count(*) AS pending, min(fiscal_pending_at) AS since FROM orders
    WHERE tenant_id = %(tenant)s AND fiscal_series = %(series)s AND fiscal_status = 'pending'
"""
