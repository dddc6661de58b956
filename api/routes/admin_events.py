"""Events, zones and seats, for a tenant's administrators. Every change is in the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.deps import Admin, Db
from api.event_admin_models import (
    AdminEvent,
    AdminEventPage,
    AdminZone,
    EventIn,
    EventPatch,
    SeatsChanged,
    SeatsIn,
    ZoneIn,
    ZonePatch,
)
from api.models import RowId
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from api.routes.products import PageQuery
from db import events
from db.event_admin import change_event, create_event
from db.seat_admin import set_blocked
from db.zone_admin import change_zone, create_zone
from domain.errors import (
    BadRequest,
    Conflict,
    EventExists,
    Forbidden,
    Invalid,
    NotFound,
    SeatsCommitted,
    TotalBelowCommitted,
    Unauthorized,
    Unavailable,
    ZoneCommitted,
    ZoneExists,
)
from domain.ids import EventKey, SeatId, ZoneId

router = APIRouter(route_class=StrictRoute, tags=["event administration"])

_ALWAYS = (BadRequest, Unauthorized, Forbidden, Invalid, Unavailable)
_WITH_BODY = (*_ALWAYS, *JSON_BODY, NotFound)
_CREATED = {"headers": {"Location": {"description": "Where to read of it.", "schema": {"type": "string"}}}}
ZonePath = Annotated[RowId, Path()]


@router.post(
    "/v1/admin/events",
    operation_id="createEvent",
    summary="Create an event",
    status_code=201,
    responses={**documented(*_WITH_BODY, EventExists), 201: _CREATED},
)
async def add_event(body: EventIn, caller: Admin, db: Db, response: Response) -> AdminEvent:
    """Adds an event without zones. Needs no Idempotency-Key: send an `id`, and a repeat is 409 `event_exists`."""
    made = await create_event(db, caller.tenant, caller.actor, body.as_new())
    response.headers["location"] = f"/v1/events/{made.id}/zones"
    return AdminEvent.of(made)


@router.get(
    "/v1/admin/events",
    operation_id="listAdminEvents",
    summary="List events as an administrator",
    responses=documented(*_ALWAYS),
)
async def list_page(caller: Admin, db: Db, page: Annotated[PageQuery, Query()]) -> AdminEventPage:
    """The tenant's events, a page at a time."""
    found = await events.list_events(db, caller.tenant, EventKey(page.after), page.limit)
    full = len(found) == page.limit
    return AdminEventPage(items=list(map(AdminEvent.of, found)), next_after=found[-1].id if full else None)


@router.patch(
    "/v1/admin/events/{event_id}",
    operation_id="changeEvent",
    summary="Change an event",
    responses=documented(*_WITH_BODY),
)
async def edit_event(body: EventPatch, caller: Admin, db: Db, event_id: Annotated[RowId, Path()]) -> AdminEvent:
    """Changes the fields that are sent, and answers the whole event. Off sale, no more of its tickets can be held; what
    is held stays so, and can be paid."""
    changed = await change_event(db, caller.tenant, caller.actor, EventKey(event_id), body.as_changes())
    return AdminEvent.of(changed)


@router.post(
    "/v1/admin/events/{event_id}/zones",
    operation_id="createZone",
    summary="Create a zone",
    status_code=201,
    responses={**documented(*_WITH_BODY, Conflict, ZoneExists), 201: _CREATED},
)
async def add_zone(
    body: ZoneIn, caller: Admin, db: Db, event_id: Annotated[RowId, Path()], response: Response
) -> AdminZone:
    """Adds a zone with all its seats, or with its capacity. Needs no Idempotency-Key: send an `id`, and a repeat is 409
    `zone_exists`."""
    made = await create_zone(db, caller.tenant, caller.actor, EventKey(event_id), body.as_new())
    response.headers["location"] = f"/v1/zones/{made.id}/seats"
    return AdminZone.of(made)


@router.patch(
    "/v1/admin/zones/{zone_id}",
    operation_id="changeZone",
    summary="Change a zone",
    responses=documented(*_WITH_BODY, TotalBelowCommitted, ZoneCommitted),
)
async def edit_zone(body: ZonePatch, caller: Admin, db: Db, zone_id: ZonePath) -> AdminZone:
    """Changes the fields that are sent, and answers the whole zone. Live holds keep the price they were given. A zone
    of which tickets are held or sold is not withdrawn from sale; its event can be."""
    return AdminZone.of(await change_zone(db, caller.tenant, caller.actor, ZoneId(zone_id), body.as_changes()))


@router.post(
    "/v1/admin/zones/{zone_id}/seats/block",
    operation_id="blockSeats",
    summary="Withdraw seats from sale",
    responses=documented(*_WITH_BODY, SeatsCommitted),
)
async def block(body: SeatsIn, caller: Admin, db: Db, zone_id: ZonePath) -> SeatsChanged:
    """All of these seats, or none: when some are held or sold, the answer names them. Repeating it changes nothing."""
    seats = list(map(SeatId, body.seat_ids))
    changed = await set_blocked(db, caller.tenant, caller.actor, ZoneId(zone_id), seats, blocked=True)
    return SeatsChanged(zone_id=zone_id, changed=list(changed))


@router.post(
    "/v1/admin/zones/{zone_id}/seats/unblock",
    operation_id="unblockSeats",
    summary="Put seats on sale again",
    responses=documented(*_WITH_BODY),
)
async def unblock(body: SeatsIn, caller: Admin, db: Db, zone_id: ZonePath) -> SeatsChanged:
    """Those of these seats that are blocked become free. Repeating it changes nothing."""
    seats = list(map(SeatId, body.seat_ids))
    changed = await set_blocked(db, caller.tenant, caller.actor, ZoneId(zone_id), seats, blocked=False)
    return SeatsChanged(zone_id=zone_id, changed=list(changed))
