"""Reconciliation, for those who look after a tenant: what was compared, and where the ledgers disagree."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from structlog import stdlib

from api.deps import Administration, Db
from api.ops_reconciliation_models import (
    RUNS_SHOWN,
    FindingOut,
    FindingsQuery,
    ReconciliationOut,
    ResolveIn,
    finding_id,
    finding_out,
    reconciliation_out,
)
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from db.reconciliation_findings import accept_finding, open_findings
from db.reconciliation_runs import last_runs
from domain.errors import BadRequest, Forbidden, Invalid, NotFound, Unauthorized, Unavailable

router = APIRouter(route_class=StrictRoute, tags=["operations"])
_ALWAYS = (BadRequest, Unauthorized, Forbidden, Invalid, Unavailable)
_log = stdlib.get_logger("reconciliation")
FindingPath = Annotated[
    str,
    Path(alias="finding_id", description="The finding's id.", examples=["7d3f7c1e-6a53-4b0a-8f3e-0c9b1f6d2a11"]),
]


@router.get(
    "/v1/ops/reconciliation",
    operation_id="readReconciliation",
    summary="Read reconciliation",
    responses=documented(*_ALWAYS),
)
async def read(caller: Administration, db: Db, query: Annotated[FindingsQuery, Query()]) -> ReconciliationOut:
    """The last runs, and where the gateways' ledgers and ours disagree now, each with why and what to do."""
    findings = await open_findings(db, caller.tenant, after=query.after, limit=query.limit)
    return reconciliation_out(await last_runs(db, caller.tenant, limit=RUNS_SHOWN), findings, query.limit)


@router.post(
    "/v1/ops/reconciliation/findings/{finding_id}/resolve",
    operation_id="resolveFinding",
    summary="Accept a finding",
    responses=documented(*_ALWAYS, *JSON_BODY, NotFound),
)
async def resolve(named: FindingPath, body: ResolveIn, caller: Administration, db: Db) -> FindingOut:
    """Somebody has looked, and it may stay so: it is shown again only when its figures change. Audited.

    One that is resolved already stays as it is.
    """
    done = await accept_finding(db, caller.tenant, caller.actor, finding_id(named), body.note.strip())
    _log.info("finding_resolved", finding=done.id, kind=done.kind.value, resolution=done.resolution)
    return finding_out(done)
