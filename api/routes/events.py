"""Events, zones and seats, for those who buy."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic_core import to_json

from api.deps import AnyCaller, Db, Wired
from api.event_models import EventPage, SeatQuery, SeatsOut, ZonesOut, event_out, zone_out
from api.models import RowId
from api.problems import documented
from api.requests import StrictRoute
from api.routes.products import PageQuery
from db import events
from domain.errors import BadRequest, Invalid, NotFound, Unauthorized, Unavailable
from domain.ids import EventKey, SeatId, ZoneId

router = APIRouter(route_class=StrictRoute, tags=["events"])
_ALWAYS = (BadRequest, Unauthorized, Invalid, Unavailable)


@router.get(
    "/v1/events",
    operation_id="listEvents",
    summary="List events",
    responses=documented(*_ALWAYS),
)
async def list_events(caller: AnyCaller, db: Db, page: Annotated[PageQuery, Query()]) -> EventPage:
    """The caller's tenant's events, a page at a time."""
    found = await events.list_events(db, caller.tenant, EventKey(page.after), page.limit)
    full = len(found) == page.limit
    return EventPage(items=list(map(event_out, found)), next_after=found[-1].id if full else None)


@router.get(
    "/v1/events/{event_id}/zones",
    operation_id="listZones",
    summary="List an event's zones with what is available",
    responses=documented(*_ALWAYS, NotFound),
)
async def list_zones(caller: AnyCaller, services: Wired, event_id: Annotated[RowId, Path()]) -> ZonesOut:
    """Each zone with its price and how many of its tickets are available, counted now or less than a second ago."""

    async def count() -> list[events.Zone] | None:
        return await events.zones_of(services.db, caller.tenant, EventKey(event_id))

    found = await services.zones.get((caller.tenant, event_id), count)
    if found is None:
        raise NotFound
    return ZonesOut(event_id=event_id, zones=list(map(zone_out, found)))


@router.get(
    "/v1/zones/{zone_id}/seats",
    operation_id="listSeats",
    summary="List a zone's seats",
    responses=documented(*_ALWAYS, NotFound),
    response_model=SeatsOut,
)
async def list_seats(
    caller: AnyCaller, db: Db, zone_id: Annotated[RowId, Path()], page: Annotated[SeatQuery, Query()]
) -> Response:
    """The seats of a numbered zone, a page at a time: free, held, sold or blocked. A zone of another kind has none."""
    found = await events.list_seats(
        db, caller.tenant, ZoneId(zone_id), SeatId(page.after), page.limit, only_free=page.status is not None
    )
    if found is None:
        raise NotFound
    seats = [
        {"id": row["id"], "row": row["row_name"], "number": row["number"], "status": row["status"]}
        for row in found.seats
    ]
    # Written once, without a model for each seat: these are thousands.
    body = {"zone_id": zone_id, "seats": seats, "next_after": found.last}
    return Response(to_json(body), media_type="application/json")
