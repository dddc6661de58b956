"""Stored payment events, for those who look after a tenant: see them, and hand them over again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from structlog import stdlib

from activities.replay import replay_event, replay_events
from api.deps import Administration, Db, Wired
from api.ops_webhook_models import (
    NAME,
    BatchReplayedOut,
    EventsQuery,
    ReplayedOut,
    ReplayIn,
    WebhookEventDetail,
    WebhookEventPage,
    batch_out,
    event_detail,
    event_page,
    place_in_events,
)
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from db.inbox import EventState
from db.inbox_reading import EventFilter, event_with_body, list_events
from domain.errors import BadRequest, Forbidden, Invalid, NotFound, Unauthorized, Unavailable
from domain.ids import CheckoutId, EventId, GatewayName, PaymentId

router = APIRouter(route_class=StrictRoute, tags=["operations"])
_ALWAYS = (BadRequest, Unauthorized, Forbidden, Invalid, Unavailable)
_log = stdlib.get_logger("webhooks")
GatewayPath = Annotated[str, Path(description="The gateway's name.", examples=["sandbox"])]
EventPath = Annotated[str, Path(description="The gateway's id of the event.", examples=["evt_5f0c"])]


@router.get(
    "/v1/ops/webhook-events",
    operation_id="listWebhookEvents",
    summary="List payment events",
    responses=documented(*_ALWAYS),
)
async def listing(caller: Administration, db: Db, query: Annotated[EventsQuery, Query()]) -> WebhookEventPage:
    """The tenant's, newest first, a page at a time: by state, gateway, checkout or payment."""
    wanted = EventFilter(
        query.state,
        GatewayName(query.gateway) if query.gateway else None,
        CheckoutId(query.checkout) if query.checkout else None,
        PaymentId(query.payment) if query.payment else None,
    )
    before = place_in_events(query.before) if query.before else None
    return event_page(await list_events(db, caller.tenant, wanted, limit=query.limit, before=before), query.limit)


@router.get(
    "/v1/ops/webhook-events/{gateway}/{payment_event_id}",
    operation_id="getWebhookEvent",
    summary="Read a payment event",
    responses=documented(*_ALWAYS, NotFound),
)
async def one(gateway: GatewayPath, payment_event_id: EventPath, caller: Administration, db: Db) -> WebhookEventDetail:
    """With its body as the gateway sent it."""
    found = await event_with_body(db, caller.tenant, *_named(gateway, payment_event_id))
    if found is None:
        raise NotFound
    return event_detail(*found)


@router.post(
    "/v1/ops/webhook-events/{gateway}/{payment_event_id}/replay",
    operation_id="replayWebhookEvent",
    summary="Hand a payment event over again",
    responses=documented(*_ALWAYS, NotFound),
)
async def replay(
    gateway: GatewayPath, payment_event_id: EventPath, caller: Administration, services: Wired
) -> ReplayedOut:
    """As if the gateway sent it again. Harmless for one that is settled. 503: nobody takes it now. Audited."""
    name, event = _named(gateway, payment_event_id)
    handed = await replay_event(services.db, services.delivery, caller.tenant, caller.actor, name, event)
    _log.info("webhook_replayed", event_id=event, gateway=name, handed=handed)
    return ReplayedOut(status=handed.value)


@router.post(
    "/v1/ops/webhook-events/replay",
    operation_id="replayWebhookEvents",
    summary="Hand payment events over again",
    responses=documented(*_ALWAYS, *JSON_BODY),
)
async def replay_all(body: ReplayIn, caller: Administration, services: Wired) -> BatchReplayedOut:
    """A batch of those that are not settled, and how many are left. May be repeated until none is. Audited."""
    state = EventState(body.state)
    done = await replay_events(
        services.db, services.delivery, caller.tenant, caller.actor, state, body.older_than_seconds, limit=body.limit
    )
    _log.info("webhooks_replayed", state=body.state, replayed=done.handed.total(), left=done.left)
    return batch_out(done)


def _named(gateway: str, event: str) -> tuple[GatewayName, EventId]:
    """What the path names. Raises NotFound for what no stored event can be named."""
    if not NAME.fullmatch(gateway) or not NAME.fullmatch(event):
        raise NotFound
    return GatewayName(gateway), EventId(event)
