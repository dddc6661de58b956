"""`holdfast fiscal`: series of fiscal numbers, their ranges, and the gap report. Changes are in the audit log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database

if TYPE_CHECKING:
    from db.database import Database
    from db.fiscal import Range, Series
    from db.fiscal_report import Report
    from domain.ids import TenantId

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="Fiscal numbers: report, series, ranges.")
series_app = typer.Typer(no_args_is_help=True, help="Series: list, add.")
range_app = typer.Typer(no_args_is_help=True, help="Ranges of authorised numbers: list, add.")
app.add_typer(series_app, name="series")
app.add_typer(range_app, name="range")

NameArgument = Annotated[str, typer.Argument(metavar="SERIES", help="Its name.", show_default=False)]
DayOption = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], show_default=False)]
PIPE_WIDTH = 160
"""Columns of a table that no terminal shows."""


@app.command()
def report(
    series: Annotated[str | None, typer.Option(help="Only this one. Default: all.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    tenant: TenantOption = None,
) -> None:
    """What was issued, what is missing or out of order, who waits, what is left. Exit 3: something is wrong."""
    from api.fiscal_models import ReportOut
    from db.fiscal_report import report as read
    from local.errors import LocalError

    found = _run(tenant, lambda db, owner: read(db, owner, series))
    if series is not None and not found:
        raise LocalError(f"there is no series {series!r}")
    if as_json:
        typer.echo(json.dumps([ReportOut.of(one).model_dump(mode="json") for one in found], indent=2))
    else:
        _show_report(found)
    raise typer.Exit(0 if all(one.good for one in found) else 3)


@series_app.command("list")
def list_series_(tenant: TenantOption = None) -> None:
    """List every series with what is left of it."""
    from db.fiscal import list_series

    found = _run(tenant, lambda db, owner: list_series(db, owner))
    _show_series(found)
    typer.echo(f"{len(found)} series")


@series_app.command("add")
def add_series_(
    name: NameArgument,
    prefix: Annotated[str, typer.Option(help="What its numbers begin with.")] = "",
    padding: Annotated[int, typer.Option(help="Digits at least, with zeros before.")] = 0,
    alert_percent: Annotated[int, typer.Option(help="Alert below this share of the present range.")] = 10,
    alert_days: Annotated[int, typer.Option(help="Alert when fewer days are left.")] = 30,
    tenant: TenantOption = None,
) -> None:
    """Add a series. `holdfast tenant set ID fiscal_series=NAME` makes orders have their numbers of it."""
    from db.fiscal import add_series
    from domain.fiscal import NewSeries

    new = NewSeries(name, prefix, padding, alert_percent, alert_days)
    _show_series([_run(tenant, lambda db, owner: add_series(db, owner, actor(), new))])
    typer.echo(f"series {name} is there")


@range_app.command("list")
def list_ranges_(series: NameArgument, tenant: TenantOption = None) -> None:
    """List the ranges of a series."""
    from db.fiscal import list_ranges

    found = _run(tenant, lambda db, owner: list_ranges(db, owner, series))
    _show_ranges(found)
    typer.echo(f"{len(found)} ranges")


@range_app.command("add")
def add_range_(
    series: NameArgument,
    first: Annotated[int, typer.Option(help="The first number.", show_default=False)],
    last: Annotated[int, typer.Option(help="The last number.", show_default=False)],
    valid_from: DayOption,
    valid_until: DayOption,
    authorisation: Annotated[str, typer.Option(help="What allows these numbers.", show_default=False)],
    tenant: TenantOption = None,
) -> None:
    """Prepare a range of numbers, past those there are. Orders that wait get numbers of it at once."""
    from db.fiscal import add_range
    from domain.fiscal import NewRange

    new = NewRange(first, last, valid_from.date(), valid_until.date(), authorisation)
    _show_ranges([_run(tenant, lambda db, owner: add_range(db, owner, actor(), series, new))])
    typer.echo(f"range {first} to {last} of {series} is there")


def _run(tenant: str | None, work: Callable[[Database, TenantId], Awaitable[T]]) -> T:
    async def run() -> T:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await work(db, owner)

    return asyncio.run(run())


def _show_report(found: Sequence[Report]) -> None:
    header = ("series", "issued", "first", "last", "missing", "duplicates", "wrong", "disordered", "pending", "left")
    rows = [
        (one.series.name, one.issued, one.first, one.last, one.missing, one.duplicates, one.wrong, one.disordered,
         one.pending, one.series.remaining)
        for one in found
    ]  # fmt: skip
    _table(header, rows)
    for one in found:
        if one.first_missing is not None:
            typer.echo(f"{one.series.name}: {one.first_missing} is the first number that is missing")
        for alert in one.series.alerts if one.series.in_use or one.pending else []:
            typer.echo(f"{one.series.name}: alert: {alert.value}")


def _show_series(found: Iterable[Series]) -> None:
    header = ("series", "prefix", "digits", "next", "left", "until", "waiting", "alerts", "")
    rows = [
        (one.name, one.prefix, one.padding, one.next_number, one.remaining, one.valid_until, one.waiting,
         ", ".join(one.alerts), "in use" if one.in_use else "")
        for one in found
    ]  # fmt: skip
    _table(header, rows)


def _show_ranges(found: Iterable[Range]) -> None:
    header = ("first", "last", "from", "until", "authorisation", "status")
    _table(
        header,
        [(one.first, one.last, one.valid_from, one.valid_until, one.authorisation, one.status) for one in found],
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header)
    for row in rows:
        table.add_row(*(Text("-" if value is None else str(value)) for value in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(table)
