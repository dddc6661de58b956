"""The statements of `db/reconciliation.py` and `db/reconciliation_runs.py`."""

# The plain end of the last run that left no gap: payments made before it were seen in a run that came to its end.
WINDOW = """
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now), covered AS (
        SELECT max(until) AS until FROM reconciliation_runs
        WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND continues AND finished_at IS NOT NULL
          AND error IS NULL
    ), due AS (
        SELECT clock.now - make_interval(secs => %(grace)s) AS until,
               CASE WHEN covered.until IS NULL THEN clock.now - make_interval(secs => %(first_look)s)
                    ELSE covered.until - make_interval(secs => %(overlap)s) END AS since,
               covered.until AS covered_until
        FROM clock, covered
    )
    SELECT CASE WHEN %(since)s::timestamptz IS NULL THEN due.since ELSE least(%(since)s, due.until) END AS since,
           due.until,
           %(since)s::timestamptz IS NULL OR (due.covered_until IS NOT NULL AND %(since)s <= due.covered_until)
               OR %(since)s <= due.since AS continues
    FROM due
"""
OPEN_RUN = """
    INSERT INTO reconciliation_runs (tenant_id, id, gateway, actor, since, until, reached, continues)
    VALUES (%(tenant)s, %(run)s, %(gateway)s, %(actor)s, %(since)s, %(until)s, %(since)s, %(continues)s)
    ON CONFLICT DO NOTHING
"""
RUN_COLUMNS = """
    SELECT id::text AS id, gateway, actor, since, until, reached, compared, agreed, too_young, noted, repaired,
           flagged, error, started_at, finished_at
    FROM reconciliation_runs
"""
READ_RUN = RUN_COLUMNS + " WHERE tenant_id = %(tenant)s AND id = %(run)s"
LAST_RUNS = RUN_COLUMNS + " WHERE tenant_id = %(tenant)s ORDER BY started_at DESC, id LIMIT %(limit)s"
SAVE_RUN = """
    UPDATE reconciliation_runs SET reached = %(reached)s, compared = %(compared)s, agreed = %(agreed)s,
        too_young = %(too_young)s, noted = %(noted)s, repaired = %(repaired)s, flagged = %(flagged)s
    WHERE tenant_id = %(tenant)s AND id = %(run)s AND finished_at IS NULL
"""
FINISH_RUN = """
    UPDATE reconciliation_runs SET error = %(error)s, finished_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND id = %(run)s AND finished_at IS NULL
"""

# Our rows of some payments, by their ids, with the findings that are open or were accepted. The greatest() of times
# passes over those that are not there.
OUR_SIDE = """
    SELECT asked.payment_id, p.status, CASE WHEN o.payment_id IS NULL THEN p.checkout_id ELSE o.checkout_id END::text
               AS checkout_id,
           o.kind AS outcome, o.order_id::text AS order_id, o.amount, o.currency, o.refund_status,
           o.compared_at IS NULL AS uncompared,
           r.made, r.intended, e.waiting, another.is_there AS paid_by_another, f.findings,
           extract(epoch FROM clock_timestamp() - greatest(p.changed_at, o.decided_at, o.refunded_at, r.changed_at,
                                                           e.received_at))::float8 AS quiet_seconds
    FROM unnest(%(payments)s::text[], %(checkouts)s::uuid[]) AS asked (payment_id, checkout_id)
    LEFT JOIN payments p
        ON p.tenant_id = %(tenant)s AND p.gateway = %(gateway)s AND p.payment_id = asked.payment_id
    LEFT JOIN payment_outcomes o
        ON o.tenant_id = %(tenant)s AND o.gateway = %(gateway)s AND o.payment_id = asked.payment_id
    LEFT JOIN LATERAL (
        SELECT sum(x.amount) FILTER (WHERE x.status = 'refunded')::bigint AS made,
               sum(x.amount) FILTER (WHERE x.status = 'intended')::bigint AS intended,
               max(greatest(x.decided_at, x.refunded_at)) AS changed_at
        FROM order_refunds x WHERE x.tenant_id = %(tenant)s AND x.order_id = o.order_id
    ) r ON true
    LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE x.state <> 'settled') > 0 AS waiting, max(x.received_at) AS received_at
        FROM payment_events x
        WHERE x.tenant_id = %(tenant)s AND x.gateway = %(gateway)s AND x.payment_id = asked.payment_id
          AND x.kind = 'captured'
    ) e ON true
    LEFT JOIN LATERAL (
        SELECT true AS is_there FROM payment_outcomes x
        WHERE x.tenant_id = %(tenant)s AND x.checkout_id = asked.checkout_id AND x.kind = 'order'
          AND (x.gateway <> %(gateway)s OR x.payment_id <> asked.payment_id)
        LIMIT 1
    ) another ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_object(
            'id', x.id, 'kind', x.kind, 'open', x.resolved_at IS NULL, 'detail', x.detail,
            'flagged', x.flagged_at IS NOT NULL,
            'repair_begun', extract(epoch FROM clock_timestamp() - x.repaired_at))) AS findings
        FROM reconciliation_findings x
        WHERE x.tenant_id = %(tenant)s AND x.gateway = %(gateway)s AND x.payment_id = asked.payment_id
          AND (x.resolved_at IS NULL OR x.resolution = 'accepted')
    ) f ON true
"""
MARK_COMPARED = """
    UPDATE payment_outcomes SET compared_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = ANY (%(payments)s::text[])
      AND compared_at IS NULL
"""

# What a run has to ask the gateway for one by one: what was never compared, what is owed, what was found before.
TO_ASK = """
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() - make_interval(secs => %(grace)s) AS quiet_since), wanted AS (
        (SELECT o.payment_id, o.decided_at AS at FROM payment_outcomes o, clock
         WHERE o.tenant_id = %(tenant)s AND o.gateway = %(gateway)s AND o.compared_at IS NULL
           AND o.decided_at <= clock.quiet_since AND o.payment_id <> ALL (%(but)s::text[])
         ORDER BY o.decided_at LIMIT %(limit)s)
        UNION ALL
        (SELECT o.payment_id, o.decided_at FROM payment_outcomes o, clock
         WHERE o.tenant_id = %(tenant)s AND o.gateway = %(gateway)s AND o.refund_status = 'intended'
           AND o.decided_at <= clock.quiet_since AND o.payment_id <> ALL (%(but)s::text[])
         ORDER BY o.decided_at LIMIT %(limit)s)
        UNION ALL
        (SELECT r.payment_id, r.decided_at FROM order_refunds r, clock
         WHERE r.tenant_id = %(tenant)s AND r.gateway = %(gateway)s AND r.status = 'intended'
           AND r.decided_at <= clock.quiet_since AND r.payment_id <> ALL (%(but)s::text[])
         ORDER BY r.decided_at LIMIT %(limit)s)
        UNION ALL
        (SELECT f.payment_id, f.last_seen FROM reconciliation_findings f
         WHERE f.tenant_id = %(tenant)s AND f.gateway = %(gateway)s AND f.resolved_at IS NULL
           AND f.payment_id <> ALL (%(but)s::text[])
         ORDER BY f.last_seen LIMIT %(limit)s)
    )
    SELECT payment_id FROM wanted GROUP BY payment_id ORDER BY min(at), payment_id LIMIT %(limit)s
"""

# In the order of the ids, so that two runs at once never wait for each other in a circle. `opened`: it is new.
WRITE_FINDINGS = """
    INSERT INTO reconciliation_findings AS f (tenant_id, gateway, payment_id, kind, checkout_id, detail, flagged_at)
    SELECT %(tenant)s, %(gateway)s, payment_id, kind, checkout_id, detail::jsonb,
           CASE WHEN flagged THEN clock_timestamp() END
    FROM unnest(%(payments)s::text[], %(kinds)s::text[], %(checkouts)s::uuid[], %(details)s::text[],
                %(flags)s::boolean[]) AS found (payment_id, kind, checkout_id, detail, flagged)
    ORDER BY payment_id, kind
    ON CONFLICT (tenant_id, gateway, payment_id, kind) WHERE resolved_at IS NULL
    DO UPDATE SET last_seen = clock_timestamp(), detail = excluded.detail, checkout_id = excluded.checkout_id,
        flagged_at = CASE WHEN f.flagged_at IS NULL THEN excluded.flagged_at ELSE f.flagged_at END
    RETURNING id::text AS id, payment_id, kind, xmax = 0 AS opened
"""
RESOLVE_AGREED = """
    UPDATE reconciliation_findings SET resolved_at = clock_timestamp(), resolution = 'agreed'
    WHERE tenant_id = %(tenant)s AND resolved_at IS NULL AND id IN (
        SELECT id FROM reconciliation_findings
        WHERE tenant_id = %(tenant)s AND id = ANY (%(ids)s::uuid[]) ORDER BY payment_id, kind FOR UPDATE)
"""
REPAIR_BEGUN = """
    UPDATE reconciliation_findings SET repaired_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND kind = %(kind)s
      AND resolved_at IS NULL AND repaired_at IS NULL
"""

FINDING_COLUMNS = """
    SELECT id::text AS id, gateway, payment_id, kind, checkout_id::text AS checkout_id, detail, first_seen, last_seen,
           repaired_at, flagged_at, resolved_at, resolution, resolved_by, note
    FROM reconciliation_findings
"""
OPEN_FINDINGS = (
    FINDING_COLUMNS
    + """ WHERE tenant_id = %(tenant)s AND resolved_at IS NULL AND (%(after)s::uuid IS NULL OR id > %(after)s)
    ORDER BY id LIMIT %(limit)s"""
)
LOCK_FINDING = FINDING_COLUMNS + " WHERE tenant_id = %(tenant)s AND id = %(finding)s FOR UPDATE"
ACCEPT = """
    UPDATE reconciliation_findings SET resolved_at = clock_timestamp(), resolution = 'accepted',
        resolved_by = %(actor)s, note = %(note)s
    WHERE tenant_id = %(tenant)s AND id = %(finding)s AND resolved_at IS NULL
    RETURNING resolved_at
"""

WAITING_CAPTURE = """
    WHERE e.tenant_id = %(tenant)s AND e.gateway = %(gateway)s AND e.payment_id = %(payment)s AND e.kind = 'captured'
      AND e.state <> 'settled'
    ORDER BY e.received_at LIMIT 1
"""

# The checkout first, as `settle` does, so that both never write the payment's outcome at once.
LOCK_CHECKOUT = "SELECT id FROM checkouts WHERE tenant_id = %(tenant)s AND id = %(checkout)s FOR UPDATE"
RECORD_REFUNDED = """
    INSERT INTO payment_outcomes (tenant_id, gateway, payment_id, checkout_id, kind, amount, currency, reason,
                                  refund_status, refund_id, decided_at, refunded_at, compared_at)
    SELECT %(tenant)s, %(gateway)s, %(payment)s, (SELECT id FROM checkouts WHERE tenant_id = %(tenant)s
                                                  AND id = %(checkout)s),
           'refund', %(amount)s, %(currency)s, %(reason)s, 'refunded', %(refund)s, clock_timestamp(),
           clock_timestamp(), clock_timestamp()
    ON CONFLICT DO NOTHING
"""
SETTLE_EVENTS = """
    UPDATE payment_events SET state = 'settled', settled_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND state <> 'settled'
      AND EXISTS (SELECT FROM payment_outcomes o WHERE o.tenant_id = %(tenant)s AND o.gateway = %(gateway)s
                  AND o.payment_id = %(payment)s)
"""
