"""The gap report: whether a series' numbers are what they must be, read page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.database import Database
from db.fiscal import Series, list_series
from db.fiscal_sql import CHECK_PAGE, PENDING
from domain.ids import TenantId

A_PAGE = 20_000


@dataclass(frozen=True, slots=True)
class Report:
    """What was issued of a series. `missing`: numbers that a range left out, `first_missing` the first of them;
    `wrong`: not within their range, or not written as they are; `disordered`: not later than the number before.
    """

    series: Series
    issued: int
    first: int | None
    last: int | None
    missing: int
    first_missing: int | None
    duplicates: int
    wrong: int
    disordered: int
    pending: int
    pending_since: datetime | None

    @property
    def good(self) -> bool:
        """Whether numbers are without gaps and duplicates, and in order."""
        return not (self.missing or self.duplicates or self.wrong or self.disordered)


async def report(db: Database, tenant: TenantId, series: str | None = None) -> list[Report]:
    """Of each series, or of the one that is named."""
    return [await _report(db, tenant, one) for one in await list_series(db, tenant, series)]


async def _report(db: Database, tenant: TenantId, series: Series) -> Report:
    values = {"tenant": tenant, "series": series.name}
    pages: list[DictRow] = []
    seen: dict[str, Any] = {"after": 0, "last": None, "issued_at": None, "range": None}
    while True:
        [[page]] = await db.run(tenant, (CHECK_PAGE, {**values, **seen, "limit": A_PAGE}))
        if not page["issued"]:
            break
        pages.append(page)
        last = page["last"]
        seen = {"after": last, "last": last, "issued_at": page["issued_at"], "range": page["of_range"]}
    [[pending]] = await db.run(tenant, (PENDING, values))
    return Report(
        series=series,
        first=pages[0]["first"] if pages else None,
        last=pages[-1]["last"] if pages else None,
        first_missing=next((page["first_missing"] for page in pages if page["missing"]), None),
        **{name: sum(page[name] for page in pages) for name in _SUMMED},
        pending=pending["pending"],
        pending_since=pending["since"],
    )


_SUMMED = ("issued", "missing", "duplicates", "wrong", "disordered")
