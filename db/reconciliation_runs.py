"""The runs of reconciliation: which payments each one looks at, and what it counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import DictRow

from db import reconciliation_sql as sql
from db.database import Database
from domain.ids import Actor, GatewayName, TenantId
from domain.reconciliation import FIRST_LOOK, GRACE, LATE_CAPTURES, Counts


@dataclass(frozen=True, slots=True)
class Window:
    """Payments made at the gateway for `since` <= their making < `until` (UTC)."""

    since: datetime
    until: datetime
    continues: bool = True
    """It leaves no gap after the runs before."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its row says. `reached`: up to there it is done. `error` None with an end: it came to its end."""

    id: str
    gateway: GatewayName
    actor: Actor
    since: datetime
    until: datetime
    reached: datetime
    counts: Counts
    error: str | None
    started_at: datetime = field(compare=False)
    finished_at: datetime | None = field(compare=False)


async def next_window(
    db: Database,
    tenant: TenantId,
    gateway: GatewayName,
    since: datetime | None = None,
    *,
    grace: timedelta = GRACE,
) -> Window:
    """What the next run looks at: all since the last run that came to its end, and, for late captures, some before it.

    By the database's clock. `since`: begin there instead.
    """
    values = {
        "tenant": tenant,
        "gateway": gateway,
        "since": since,
        "grace": grace.total_seconds(),
        "overlap": (LATE_CAPTURES + grace).total_seconds(),
        "first_look": FIRST_LOOK.total_seconds(),
    }
    [[row]] = await db.run(tenant, (sql.WINDOW, values))
    return Window(row["since"], row["until"], row["continues"])


async def open_run(
    db: Database, tenant: TenantId, run_id: str, gateway: GatewayName, actor: Actor, window: Window
) -> Run:
    """The run of this id, begun now unless it was before: then it goes on where it is."""
    values = {
        **_key(tenant, run_id),
        "gateway": gateway,
        "actor": actor,
        "since": window.since,
        "until": window.until,
        "continues": window.continues,
    }
    _, [row] = await db.run(tenant, (sql.OPEN_RUN, values), (sql.READ_RUN, values))
    return _run(row)


async def save_run(db: Database, tenant: TenantId, run_id: str, reached: datetime, counts: Counts) -> None:
    """How far the run has come. A finished one stays as it is."""
    await db.run(tenant, (sql.SAVE_RUN, {**_key(tenant, run_id), "reached": reached, **counts.as_dict()}))


async def finish_run(db: Database, tenant: TenantId, run_id: str, error: str | None = None) -> None:
    """The run is over; `error`: it did not come to its end, and why. The first word counts."""
    await db.run(tenant, (sql.FINISH_RUN, {**_key(tenant, run_id), "error": error}))


async def last_runs(db: Database, tenant: TenantId, *, limit: int = 20) -> list[Run]:
    """The newest first."""
    [rows] = await db.run(tenant, (sql.LAST_RUNS, {"tenant": tenant, "limit": limit}))
    return [_run(row) for row in rows]


def _key(tenant: TenantId, run_id: str) -> dict[str, Any]:
    return {"tenant": tenant, "run": run_id}


def _run(row: DictRow) -> Run:
    counts = Counts(**{name: row[name] for name in Counts().as_dict()})
    rest = {name: row[name] for name in ("since", "until", "reached", "error", "started_at", "finished_at")}
    return Run(row["id"], GatewayName(row["gateway"]), Actor(row["actor"]), counts=counts, **rest)
