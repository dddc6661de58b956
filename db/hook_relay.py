"""Messages for tenants' endpoints that want a run: new ones, and those whose run is lost. Crosses tenants, so by the
admin role's connection. Any number of workers may look at once: starting a run twice is a success."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from domain.hooks import LOST_AFTER, HookRef
from domain.ids import HookDeliveryId, TenantId

Connection = psycopg.AsyncConnection[Any]
BATCH = 100

_TO_WAKE = """
    SELECT tenant_id, id::text, replays FROM hook_deliveries
    WHERE status = 'pending' AND wake_at <= clock_timestamp() ORDER BY wake_at LIMIT %(batch)s
"""
# Only where nobody has put it off, or asked for it again, in the meantime.
_PUT_OFF = """
    UPDATE hook_deliveries d SET wake_at = clock_timestamp() + %(lost_after)s
    FROM unnest(%(tenants)s::text[], %(ids)s::uuid[], %(replays)s::integer[]) AS s (tenant_id, id, replays)
    WHERE d.tenant_id = s.tenant_id AND d.id = s.id AND d.replays = s.replays AND d.status = 'pending'
      AND d.wake_at <= clock_timestamp()
"""


async def connect(admin_url: str) -> Connection:
    """A connection for the functions here; the caller closes it."""
    options = "-c statement_timeout=5000 -c lock_timeout=1000"
    return await psycopg.AsyncConnection.connect(
        admin_url, autocommit=True, connect_timeout=2, options=options, application_name="holdfast-hooks"
    )


async def to_wake(connection: Connection, batch: int = BATCH) -> list[HookRef]:
    """Those that wait longest."""
    rows = await (await connection.execute(_TO_WAKE, {"batch": batch})).fetchall()
    return [HookRef(TenantId(tenant), HookDeliveryId(delivery), replay) for tenant, delivery, replay in rows]


async def put_off(connection: Connection, refs: Sequence[HookRef]) -> None:
    """They have a run now: look at them again only when that must be lost."""
    values = {
        "tenants": [one.tenant for one in refs],
        "ids": [one.delivery_id for one in refs],
        "replays": [one.replay for one in refs],
        "lost_after": LOST_AFTER,
    }
    await connection.execute(_PUT_OFF, values)
