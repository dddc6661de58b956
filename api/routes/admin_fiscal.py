"""Series of fiscal numbers and their ranges, for a tenant's administrators. Every change is in the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, status
from structlog import stdlib

from api.deps import Admin, Db
from api.fiscal_models import RangeIn, RangeList, RangeOut, SeriesIn, SeriesList, SeriesOut
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from db.fiscal import add_range, add_series, list_ranges, list_series
from domain.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound, Unauthorized, Unavailable

router = APIRouter(route_class=StrictRoute, tags=["tenant administration"])
_ALWAYS = (BadRequest, Unauthorized, Forbidden, Invalid, Unavailable)
_log = stdlib.get_logger("fiscal")
SeriesPath = Annotated[str, Path(description="The series.", examples=["invoices"])]


@router.get(
    "/v1/admin/fiscal/series",
    operation_id="listFiscalSeries",
    summary="List series of fiscal numbers",
    responses=documented(*_ALWAYS),
)
async def list_all(caller: Admin, db: Db) -> SeriesList:
    """What is left of each, and what somebody should see to."""
    return SeriesList(items=[SeriesOut.of(one) for one in await list_series(db, caller.tenant)])


@router.post(
    "/v1/admin/fiscal/series",
    operation_id="addFiscalSeries",
    summary="Add a series of fiscal numbers",
    status_code=status.HTTP_201_CREATED,
    responses=documented(*_ALWAYS, *JSON_BODY, Conflict),
)
async def add(body: SeriesIn, caller: Admin, db: Db) -> SeriesOut:
    """Orders have numbers of it once the setting `fiscal_series` names it. The very same again finds it."""
    return SeriesOut.of(await add_series(db, caller.tenant, caller.actor, body.as_new()))


@router.get(
    "/v1/admin/fiscal/series/{name}/ranges",
    operation_id="listFiscalRanges",
    summary="List a series' ranges",
    responses=documented(*_ALWAYS, NotFound),
)
async def ranges(name: SeriesPath, caller: Admin, db: Db) -> RangeList:
    """All of them, also those that are used up."""
    return RangeList(items=[RangeOut.of(one) for one in await list_ranges(db, caller.tenant, name)])


@router.post(
    "/v1/admin/fiscal/series/{name}/ranges",
    operation_id="addFiscalRange",
    summary="Prepare a range of numbers",
    status_code=status.HTTP_201_CREATED,
    responses=documented(*_ALWAYS, *JSON_BODY, NotFound, Conflict),
)
async def add_to(name: SeriesPath, body: RangeIn, caller: Admin, db: Db) -> RangeOut:
    """It takes over when those before it are used up or over. Orders that wait get numbers of it at once."""
    made = await add_range(db, caller.tenant, caller.actor, name, body.as_new())
    _log.info("fiscal_range_added", series=name, first=made.first, last=made.last)
    return RangeOut.of(made)
