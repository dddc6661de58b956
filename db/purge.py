"""Deleting what is over: refresh tokens, logins, revocations, anonymous sessions with their carts, metadata that waited
for lines, what reconciliation noted long ago, and where buyers could be written to.

Crosses tenants, and deletes where the application may not, so it takes the admin role's libpq URL. In small
transactions, so that no one waits for it; what one run does not reach, the next does.
"""

from __future__ import annotations

from typing import Any

import psycopg

from domain.purging import Purged

BATCH = 1_000
MOST_BATCHES = 500
"""In one run, of each kind."""
MARGIN_SECONDS = 60
"""Verifying is lenient by some seconds, and clocks differ: nothing is deleted at the very moment it is over."""

CONTACT_DAYS = 90
"""How long it is known where the buyer of a checkout can be written to, after it was last set."""
EVENT_DAYS, DELIVERY_DAYS = 90, 30
"""How long one can read what checkouts went through, and what tenants were sent."""

REFRESH_TOKENS = """
    DELETE FROM refresh_tokens WHERE (tenant_id, hash) IN (
        SELECT tenant_id, hash FROM refresh_tokens
        WHERE expires_at < clock_timestamp() - make_interval(secs => %(margin)s) ORDER BY expires_at LIMIT %(batch)s
    )
"""
LOGINS = """
    DELETE FROM logins WHERE (tenant_id, id) IN (
        SELECT tenant_id, id FROM logins
        WHERE expires_at < clock_timestamp() - make_interval(secs => %(margin)s)
            AND tokens_until < clock_timestamp() - make_interval(secs => %(margin)s)
        ORDER BY expires_at LIMIT %(batch)s
    )
"""
# `expires_at` of a revocation is the end of the last token that it refuses, with a margin of its own.
REVOCATIONS = """
    DELETE FROM revocations WHERE (tenant_id, id) IN (
        SELECT tenant_id, id FROM revocations
        WHERE expires_at < clock_timestamp() ORDER BY expires_at LIMIT %(batch)s
    )
"""
# The lines have their own by now, or will never be; only a hold that still lives may yet ask for it.
LINE_METADATA = """
    DELETE FROM line_metadata WHERE (tenant_id, checkout_id, fingerprint) IN (
        SELECT tenant_id, checkout_id, fingerprint FROM line_metadata m
        WHERE stored_at < clock_timestamp() - interval '1 day' AND NOT EXISTS (
            SELECT FROM checkouts c WHERE c.tenant_id = m.tenant_id AND c.id = m.checkout_id AND c.status = 'held')
        ORDER BY stored_at LIMIT %(batch)s
    )
"""
# An open finding stays for as long as it is one.
RUNS = """
    DELETE FROM reconciliation_runs WHERE (tenant_id, id) IN (
        SELECT tenant_id, id FROM reconciliation_runs WHERE started_at < clock_timestamp() - interval '400 days'
        LIMIT %(batch)s
    )
"""
FINDINGS = """
    DELETE FROM reconciliation_findings WHERE (tenant_id, id) IN (
        SELECT tenant_id, id FROM reconciliation_findings
        WHERE resolved_at IS NOT NULL AND last_seen < clock_timestamp() - interval '400 days'
        LIMIT %(batch)s
    )
"""
# Personal data: an order's e-mails are long sent. A hold that lives may yet need it.
CONTACTS = f"""
    DELETE FROM checkout_contacts WHERE (tenant_id, checkout_id) IN (
        SELECT tenant_id, checkout_id FROM checkout_contacts k
        WHERE updated_at < clock_timestamp() - interval '{CONTACT_DAYS} days' AND NOT EXISTS (
            SELECT FROM checkouts c WHERE c.tenant_id = k.tenant_id AND c.id = k.checkout_id AND c.status = 'held')
        ORDER BY updated_at LIMIT %(batch)s
    )
"""
# All that is old of a checkout at once: what is left of its events has numbers without a gap.
EVENTS = f"""
    WITH old AS MATERIALIZED (
        SELECT DISTINCT tenant_id, checkout_id FROM (
            SELECT tenant_id, checkout_id FROM checkout_events
            WHERE at < clock_timestamp() - interval '{EVENT_DAYS} days' LIMIT %(batch)s) past
    )
    DELETE FROM checkout_events e USING old
    WHERE e.tenant_id = old.tenant_id AND e.checkout_id = old.checkout_id
      AND e.at < clock_timestamp() - interval '{EVENT_DAYS} days'
"""
DELIVERIES = f"""
    DELETE FROM hook_deliveries WHERE (tenant_id, id) IN (
        SELECT tenant_id, id FROM hook_deliveries
        WHERE status <> 'pending' AND at < clock_timestamp() - interval '{DELIVERY_DAYS} days' LIMIT %(batch)s
    )
"""
# A session whose cart a checkout still holds waits for the next run.
SESSIONS = """
    WITH over AS (
        SELECT tenant_id, id, 'session:' || id AS owner_key FROM sessions s
        WHERE expires_at < clock_timestamp() - make_interval(secs => %(margin)s)
            AND NOT EXISTS (
                SELECT FROM carts c
                WHERE c.tenant_id = s.tenant_id AND c.owner_key = 'session:' || s.id AND c.status = 'processing'
            )
        ORDER BY expires_at LIMIT %(batch)s
    ), unwanted AS (
        SELECT c.tenant_id, c.id FROM carts c JOIN over o ON o.tenant_id = c.tenant_id AND o.owner_key = c.owner_key
        FOR UPDATE OF c
    ), no_lines AS (
        DELETE FROM cart_lines l USING unwanted u WHERE l.tenant_id = u.tenant_id AND l.cart_id = u.id
    ), no_carts AS (
        DELETE FROM carts c USING unwanted u WHERE c.tenant_id = u.tenant_id AND c.id = u.id RETURNING c.id
    ), no_sessions AS (
        DELETE FROM sessions s USING over o WHERE s.tenant_id = o.tenant_id AND s.id = o.id RETURNING s.id
    )
    SELECT (SELECT count(*) FROM no_sessions), (SELECT count(*) FROM no_carts)
"""


async def purge(admin_url: str, *, batch: int = BATCH) -> Purged:
    """Delete what is over at every tenant, `batch` rows to a transaction; how much there was of each."""
    options = "-c statement_timeout=30000 -c lock_timeout=1000"
    connecting = psycopg.AsyncConnection.connect(admin_url, autocommit=True, connect_timeout=2, options=options)
    async with await connecting as connection:
        refresh_tokens = await _delete(connection, REFRESH_TOKENS, batch)
        logins = await _delete(connection, LOGINS, batch)
        revocations = await _delete(connection, REVOCATIONS, batch)
        sessions, carts = await _delete_sessions(connection, batch)
        line_metadata = await _delete(connection, LINE_METADATA, batch)
        reconciliation = await _delete(connection, RUNS, batch) + await _delete(connection, FINDINGS, batch)
        contacts = await _delete(connection, CONTACTS, batch)
        events = await _delete(connection, EVENTS, batch) + await _delete(connection, DELIVERIES, batch)
    return Purged(refresh_tokens, logins, revocations, sessions, carts, line_metadata, reconciliation, contacts, events)


async def _delete(connection: psycopg.AsyncConnection[Any], sql: str, batch: int) -> int:
    deleted = 0
    for _ in range(MOST_BATCHES):
        cursor = await connection.execute(sql, {"batch": batch, "margin": MARGIN_SECONDS})
        deleted += cursor.rowcount
        if cursor.rowcount < batch:
            break
    return deleted


async def _delete_sessions(connection: psycopg.AsyncConnection[Any], batch: int) -> tuple[int, int]:
    sessions = carts = 0
    for _ in range(MOST_BATCHES):
        cursor = await connection.execute(SESSIONS, {"batch": batch, "margin": MARGIN_SECONDS})
        row = await cursor.fetchone()
        sessions, carts = sessions + (row[0] if row else 0), carts + (row[1] if row else 0)
        if not row or row[0] < batch:
            break
    return sessions, carts
