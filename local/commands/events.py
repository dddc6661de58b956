"""`holdfast events`: events with their zones, for those who have the machine's shell. Changes are in the audit log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database

if TYPE_CHECKING:
    from rich.table import Table

    from api.models import StrictModel
    from db.event_admin import NewEvent
    from db.events import Event, Zone
    from db.zone_admin import NewZone

    Model = TypeVar("Model", bound=StrictModel)

app = typer.Typer(no_args_is_help=True, help="Events: list, show what is available, create from a file.")

EventArgument = Annotated[int, typer.Argument(metavar="ID", help="The event's id.", show_default=False)]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="JSON, as the API takes it, with `zones`.", exists=True, dir_okay=False)
]
PAGE = 100
PIPE_WIDTH = 160
"""Columns of a table that no terminal shows."""


@app.command("list")
def list_all(tenant: TenantOption = None) -> None:
    """List every event."""
    from db.events import list_events
    from domain.ids import EventKey

    async def run() -> list[Event]:
        found: list[Event] = []
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            while page := await list_events(db, owner, found[-1].id if found else EventKey(0), PAGE):
                found += page
        return found

    found = asyncio.run(run())
    _show_events(found)
    typer.echo(f"{len(found)} events")


@app.command()
def show(event: EventArgument, tenant: TenantOption = None) -> None:
    """Show an event's zones with what is available now."""
    from db.events import find_event, zones_of
    from domain.ids import EventKey
    from local.errors import LocalError

    async def run() -> tuple[Event | None, list[Zone] | None]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            key = EventKey(event)
            return await find_event(db, owner, key), await zones_of(db, owner, key)

    found, zones = asyncio.run(run())
    if found is None:
        raise LocalError(f"there is no event {event}")
    _show_events([found])
    _show_zones(zones or [])


@app.command()
def create(file: FileArgument, tenant: TenantOption = None) -> None:
    """Add an event and its zones from a file: {"name": …, "zones": [{"name": …, "kind": …, "price": …, …}]}."""
    from db.event_admin import create_event
    from db.zone_admin import create_zone
    from domain.ids import EventKey

    new, zones = _read(file)

    async def run() -> tuple[EventKey, list[Zone]]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            made = await create_event(db, owner, actor(), new)
            typer.echo(f"event {made.id} is added")
            return made.id, [await create_zone(db, owner, actor(), made.id, zone) for zone in zones]

    made, made_zones = asyncio.run(run())
    _show_zones(made_zones)
    typer.echo(f"event {made} has {len(made_zones)} zones")


def _read(file: Path) -> tuple[NewEvent, list[NewZone]]:
    """By the rules of the API. Raises BadParameter (exit 2) naming each field that is not good."""
    from api.event_admin_models import EventIn, ZoneIn
    from api.strict_json import parse
    from domain.errors import BadJson

    try:
        given = parse(file.read_bytes())
    except BadJson as error:
        raise typer.BadParameter(f"{file.name} is not good JSON: {error.detail}") from None
    if not isinstance(given, dict) or not isinstance(given.get("zones", []), list):
        raise typer.BadParameter(f"{file.name} must be an object with a list of zones")
    zones = given.pop("zones", [])
    checked = [_checked(ZoneIn, zone, f"zones.{place}").as_new() for place, zone in enumerate(zones)]
    return _checked(EventIn, given, "").as_new(), checked


def _checked(model: type[Model], given: Any, where: str) -> Model:
    from pydantic import ValidationError

    try:
        return model.model_validate_json(json.dumps(given))
    except ValidationError as error:
        faults = [
            f"{'.'.join(filter(None, [where, *map(str, one['loc'])]))}: {one['msg']}"
            for one in error.errors(include_input=False)
        ]
        raise typer.BadParameter("; ".join(faults)) from None


def _show_events(found: Sequence[Event]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "name", "venue", "starts", "")
    for row in found:
        starts = row.starts_at.isoformat() if row.starts_at else "-"
        table.add_row(str(row.id), Text(row.name), Text(row.venue), starts, "" if row.on_sale else "not on sale")
    _print(table)


def _show_zones(zones: Sequence[Zone]) -> None:
    from rich.table import Table
    from rich.text import Text

    currency = zones[0].currency if zones else ""
    table = Table("id", "zone", "kind", title=f"Prices in minor units of {currency}" if zones else None)
    for column in ("price", "offer", "total", "available"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for row in zones:
        numbers = (row.price, row.offer_price, row.total, row.available)
        shown = ["-" if number is None else str(number) for number in numbers]
        table.add_row(str(row.id), Text(row.name), row.kind, *shown, "" if row.on_sale else "not on sale")
    _print(table)


def _print(table: Table) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(table)
