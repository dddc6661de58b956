"""For supervisors and load balancers."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api import readiness
from api.deps import Wired
from api.models import Answer
from api.problems import documented
from api.requests import StrictRoute
from domain.errors import BadRequest, NotReady

router = APIRouter(route_class=StrictRoute, tags=["health"])


class Health(Answer):
    """It is well."""

    status: Literal["ok"] = Field(default="ok")


@router.get("/healthz", operation_id="healthz", summary="Is the process alive?", responses=documented(BadRequest))
async def healthz() -> Health:
    """Answers whatever the state of the database and Temporal."""
    return Health()


@router.get("/readyz", operation_id="readyz", summary="Can it serve?", responses=documented(BadRequest, NotReady))
async def readyz(services: Wired) -> Health:
    """PostgreSQL answers and has the newest schema, and Temporal answers; else 503 with what is `missing`."""
    lacking = await readiness.missing(
        services.db, services.temporal, services.default_tenant, versioned=services.versioned
    )
    if lacking:
        raise NotReady(f"Waiting for: {', '.join(lacking)}.", missing=lacking)
    return Health()
