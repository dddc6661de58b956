"""Handing stored payment events over again: which there are, and who asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from db.audit import note
from db.database import Database
from db.inbox import EVENT_COLUMNS, EventState, StoredEvent, events_of
from domain.ids import Actor, EventId, GatewayName, TenantId

_ASKED = """
    e.tenant_id = %(tenant)s AND e.state <> 'settled' AND e.state = %(state)s
    AND e.received_at <= clock_timestamp() - make_interval(secs => %(older_than)s)
"""
_IN_VAIN = "(e.handed = 'unmatched' AND (c.id IS NULL OR c.status = 'new'))"
"""It was tried, and its checkout is still not known: to try again is no use."""
_BATCH = f"""
    {EVENT_COLUMNS} WHERE {_ASKED} AND {_IN_VAIN} IS NOT TRUE
    ORDER BY e.delivered_at NULLS FIRST, e.received_at LIMIT %(limit)s
"""
_COUNT = f"""
    SELECT count(*) FILTER (WHERE {_IN_VAIN} IS NOT TRUE) AS of_use, count(*) FILTER (WHERE {_IN_VAIN}) AS in_vain
    FROM payment_events e LEFT JOIN checkouts c ON c.tenant_id = e.tenant_id AND c.id = e.checkout_id
    WHERE {_ASKED}
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to hand over, those longest not tried first; how many more there are, and how many wait for a checkout."""

    events: list[StoredEvent]
    left: int
    waiting: int


async def take_batch(
    db: Database, tenant: TenantId, actor: Actor, state: EventState, older_than_seconds: float, limit: int
) -> Batch:
    """The next unsettled events that are in this state and as old as that. The audit log notes who asked."""
    values = {"tenant": tenant, "state": state, "older_than": older_than_seconds, "limit": limit}
    asked = note(
        tenant,
        actor,
        "webhook.replay",
        f"payment_events:{state}",
        after={"older_than_seconds": older_than_seconds, "limit": limit},
    )
    rows, counted, _ = await db.run(tenant, (_BATCH, values), (_COUNT, values), asked)
    [count] = counted
    return Batch(events_of(rows), max(0, count["of_use"] - len(rows)), count["in_vain"])


async def note_replay(db: Database, tenant: TenantId, actor: Actor, gateway: GatewayName, event: EventId) -> None:
    """Note in the audit log who hands this event over again."""
    await db.run(tenant, note(tenant, actor, "webhook.replay", f"payment_event:{gateway}/{event}"))
