"""Replay: hand stored payment events over again, by the one `deliver`. Harmless on what was settled before."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from activities.delivery import Delivery, Handed
from db.database import Database
from db.inbox import EventState, stored_event
from db.replay import note_replay, take_batch
from domain.errors import NotFound
from domain.ids import Actor, EventId, GatewayName, TenantId

MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where the events of one batch went, and what is left.

    `left`: how many more could be handed over. `waiting`: how many wait for a checkout that is not known.
    """

    handed: Counter[Handed]
    left: int
    waiting: int


async def replay_event(
    db: Database, delivery: Delivery, tenant: TenantId, actor: Actor, gateway: GatewayName, event: EventId
) -> Handed:
    """Hand one event over again. Raises NotFound, or Unavailable when nobody takes it now."""
    stored = await stored_event(db, tenant, gateway, event)
    if stored is None:
        raise NotFound
    await note_replay(db, tenant, actor, gateway, event)
    return await delivery.deliver(tenant, stored, again=True)


async def replay_events(
    db: Database,
    delivery: Delivery,
    tenant: TenantId,
    actor: Actor,
    state: EventState,
    older_than_seconds: float,
    *,
    limit: int = MOST_AT_ONCE,
) -> Replayed:
    """Hand over the next batch of those that are in this state and as old as that.

    Raises Unavailable as soon as one cannot be handed over: the same call again goes on from there.
    """
    batch = await take_batch(db, tenant, actor, state, older_than_seconds, limit)
    handed = Counter([await delivery.deliver(tenant, event, again=True) for event in batch.events])
    unmatched = handed[Handed.UNMATCHED]
    return Replayed(handed, batch.left, batch.waiting + unmatched)
