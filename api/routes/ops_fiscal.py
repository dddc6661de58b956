"""The gap report of fiscal numbers, for those who look after a tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.deps import Administration, Db
from api.fiscal_models import ReportOut, ReportsOut
from api.problems import documented
from api.requests import StrictRoute
from db.fiscal_report import report
from domain.errors import BadRequest, Forbidden, Invalid, Unauthorized, Unavailable
from domain.tenant_settings import SERIES_PATTERN

router = APIRouter(route_class=StrictRoute, tags=["operations"])


class FiscalQuery(BaseModel):
    """Which series."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    series: str | None = Field(default=None, pattern=SERIES_PATTERN, description="Only this one.")


@router.get(
    "/v1/ops/fiscal",
    operation_id="reportFiscalNumbers",
    summary="Read the gap report",
    responses=documented(BadRequest, Unauthorized, Forbidden, Invalid, Unavailable),
)
async def read(caller: Administration, db: Db, query: Annotated[FiscalQuery, Query()]) -> ReportsOut:
    """What was issued of each series, what is missing or out of order (nothing must be), who waits, what is left."""
    return ReportsOut(items=[ReportOut.of(one) for one in await report(db, caller.tenant, query.series)])
