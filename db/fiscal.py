"""Fiscal numbers: series, their ranges, the orders that wait for a number. Numbers are given by the confirm itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime

from psycopg.rows import DictRow

from db.audit import note
from db.database import Database, Statement, Transaction
from db.fiscal_sql import (
    ADD_RANGE,
    ADD_SERIES,
    FILL,
    HOW_MANY,
    LAST_RANGES,
    LOCK_NAMED,
    LOCK_TENANT,
    LOCK_WAITING,
    RANGES,
    SAME_RANGE,
    SERIES,
    SERIES_LIKE,
    SET_ALERTS,
    WAITING,
)
from domain.errors import Conflict, NotFound
from domain.fiscal import (
    MAX_RANGES,
    MAX_SERIES,
    Alert,
    NewRange,
    NewSeries,
    Stand,
    alerts_of,
    check_range,
    check_series,
)
from domain.ids import Actor, TenantId
from domain.tax import day_begins, day_ends

AT_ONCE = 500
"""Orders that one transaction gives numbers to: in it nobody else of the series can."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series as it stands. `remaining`: numbers that can be given, until `valid_until` (None: none is left).

    `next_number`: of the present range, None before the first. `told`: the alerts that were told.
    """

    name: str
    prefix: str
    padding: int
    alert_percent: int
    alert_days: int
    in_use: bool
    next_number: int | None
    remaining: int
    valid_until: date | None
    waiting: int
    alerts: list[Alert]
    told: list[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Range:
    """Authorised numbers. `status`: `prepared`, `open`, `used` (up, or numbers are of a later one), `over` (its days
    are), `passed_over` (it was not valid when its turn came). `opened_at`: when its first number was given."""

    id: int
    series: str
    first: int
    last: int
    valid_from: date
    valid_until: date
    authorisation: str
    status: str
    opened_at: datetime | None
    created_at: datetime


async def list_series(db: Database, tenant: TenantId, series: str | None = None) -> list[Series]:
    """All series in order of name, or the one that is named."""
    [rows] = await db.run(tenant, (SERIES, {"tenant": tenant, "series": series}))
    return [_series(row) for row in rows]


async def list_ranges(db: Database, tenant: TenantId, series: str) -> list[Range]:
    """The ranges of a series in order of their numbers. Raises NotFound when there is no such series."""
    values = {"tenant": tenant, "series": series}
    known, rows = await db.run(tenant, (SERIES, values), (RANGES, values))
    if not known:
        raise NotFound("There is no such series.")
    return [Range(**row) for row in rows]


async def add_series(db: Database, tenant: TenantId, actor: Actor, new: NewSeries) -> Series:
    """Add a series, or find the very same. Raises Invalid; Conflict for a name or prefix that another one has."""
    check_series(new)
    values = {**asdict(new), "tenant": tenant, "series": new.name}

    async def work(transaction: Transaction) -> Series:
        _, like, [many] = await transaction.read((LOCK_TENANT, values), (SERIES_LIKE, values), (HOW_MANY, values))
        if like and NewSeries(**like[0]) != new:
            raise Conflict("There is a series of this name, or of this prefix, already.")
        if many["series"] >= MAX_SERIES and not like:
            raise Conflict(f"A tenant has at most {MAX_SERIES} series.")
        noted = note(tenant, actor, "fiscal.series_added", f"fiscal-series:{new.name}", None, asdict(new))
        writes = [] if like else [(ADD_SERIES, values), noted]
        *_, rows = await transaction.commit(*writes, (SERIES, values))
        return _series(rows[0])

    return await db.transact(tenant, work)


async def add_range(db: Database, tenant: TenantId, actor: Actor, series: str, new: NewRange) -> Range:
    """Prepare a range of numbers, or find the very same, and give numbers of it to the orders that wait.

    Raises NotFound for the series; Invalid, also for numbers that are not past those of the ranges there are; Conflict
    at MAX_RANGES.
    """
    values = {**asdict(new), "tenant": tenant, "series": series}

    async def work(transaction: Transaction) -> None:
        locked, [last], same = await transaction.read((LOCK_NAMED, values), (LAST_RANGES, values), (SAME_RANGE, values))
        if not locked:
            raise NotFound("There is no such series.")
        await transaction.commit(*([] if same else _new_range(tenant, actor, series, new, last)))

    check_range(new, after=0)
    await db.transact(tenant, work)
    await fill(db, tenant, series)
    return next(one for one in await list_ranges(db, tenant, series) if one.first == new.first)


async def fill(db: Database, tenant: TenantId, series: str) -> int:
    """Give numbers to the orders of the series that wait, in the order in which they were confirmed, while there are
    any numbers; how many were given."""
    given = 0
    while now := await db.transact(tenant, lambda transaction: _fill(transaction, tenant, series)):
        given += now
    return given


async def waiting_series(db: Database, tenant: TenantId) -> list[str]:
    """The series for whose numbers orders wait."""
    [rows] = await db.run(tenant, (WAITING, {"tenant": tenant}))
    return [row["name"] for row in rows]


async def new_alerts(db: Database, tenant: TenantId) -> list[tuple[Series, Alert]]:
    """What somebody should be told of the series in use, and was not told yet: each once, until it has passed.

    What is given here counts as told.
    """
    found = []
    for series in await list_series(db, tenant):
        now = series.alerts if series.in_use or series.waiting else []
        values = {"tenant": tenant, "series": series.name, "alerts": now, "before": series.told}
        if now != series.told and (await db.run(tenant, (SET_ALERTS, values)))[0]:
            found += [(series, alert) for alert in now if alert not in series.told]
    return found


async def _fill(transaction: Transaction, tenant: TenantId, series: str) -> int:
    values = {"tenant": tenant, "series": series, "most": AT_ONCE}
    waiting, _ = await transaction.read((LOCK_WAITING, values), (LOCK_NAMED, values))
    if not waiting:
        await transaction.commit()
        return 0
    [given] = await transaction.commit((FILL, {**values, "orders": [row["id"] for row in waiting]}))
    return len(given)


def _new_range(tenant: TenantId, actor: Actor, series: str, new: NewRange, last: DictRow) -> list[Statement]:
    check_range(new, after=last["last"])
    if last["ranges"] >= MAX_RANGES:
        raise Conflict(f"A series has at most {MAX_RANGES} ranges.")
    values = {
        **asdict(new),
        "tenant": tenant,
        "series": series,
        "starts_at": day_begins(new.valid_from, last["time_zone"]),
        "ends_at": day_ends(new.valid_until, last["time_zone"]),
    }
    shown = {**asdict(new), "valid_from": new.valid_from.isoformat(), "valid_until": new.valid_until.isoformat()}
    noted = note(tenant, actor, "fiscal.range_added", f"fiscal-series:{series}", None, shown)
    return [(ADD_RANGE, values), noted]


def _series(row: DictRow) -> Series:
    stand = Stand(
        row["alert_percent"], row["alert_days"], row["size"], row["remaining"], row["ends_at"], row["waiting"]
    )
    names = ("name", "prefix", "padding", "alert_percent", "alert_days", "in_use", "next_number", "remaining")
    return Series(
        **{name: row[name] for name in names},
        valid_until=row["valid_until"],
        waiting=row["waiting"],
        alerts=alerts_of(stand, row["now"]),
        told=row["alerts"],
        created_at=row["created_at"],
    )
