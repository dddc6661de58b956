"""`holdfast carts`: the status of one, the cleaning of all, and who did what to them."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.audit_reading import AuditEntry
    from db.cart_admin import CartState
    from db.cart_cleaning import Cleaned

app = typer.Typer(no_args_is_help=True, help="Carts: status, clean, audit.")

MOST_ENTRIES = 10_000
PIPE_WIDTH = 200
"""Columns of a table that no terminal shows."""
_CART = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@app.command()
def status(
    email: Annotated[str, typer.Argument(help="The e-mail of the cart's owner.", show_default=False)],
    wanted: Annotated[
        str | None, typer.Argument(metavar="[available|processing]", help="Default: only show it.", show_default=False)
    ] = None,
    tenant: TenantOption = None,
) -> None:
    """Show or set the status of a user's cart. One that a live checkout holds cannot be set to available."""
    from db.cart_admin import cart_state, set_status
    from domain.cart import CartStatus

    if wanted not in (None, *CartStatus):
        raise typer.BadParameter(f"the status is one of {', '.join(CartStatus)}")

    async def run() -> CartState:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            if wanted:
                await set_status(db, owner, actor(), email, CartStatus(wanted))
            return await cart_state(db, owner, email)

    state = asyncio.run(run())
    held = f", held by checkout {state.checkout_id}" if state.checkout_id else ""
    typer.echo(f"cart {state.cart_id} is {state.status}{held}")
    typer.echo(f"{_counted(state.lines, 'line')}, last changed {_moment(state.updated_at)}")


@app.command()
def clean(tenant: TenantOption = None) -> None:
    """Remove from all carts what is gone, off sale, sold out or without a price. Carts in processing are skipped."""
    from db.cart_cleaning import clean_carts

    async def run() -> Cleaned:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await clean_carts(db, owner, actor())

    cleaned = asyncio.run(run())
    typer.echo(f"{_counted(cleaned.carts, 'cart')} cleaned, {_counted(cleaned.lines, 'line')} removed")
    for reason, count in cleaned.reasons.most_common():
        typer.echo(f"  {count:>6} {reason}")


@app.command()
def audit(
    cart: Annotated[str | None, typer.Option(help="The cart's id.", show_default=False)] = None,
    by: Annotated[str | None, typer.Option(help="Who did it, such as user:<id> or cli:<name>.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Not earlier; UTC.", show_default=False)] = None,
    until: Annotated[datetime | None, typer.Option(help="Earlier than this; UTC.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="How many entries at most.", min=1, max=MOST_ENTRIES)] = 50,
    tenant: TenantOption = None,
) -> None:
    """Show who did what, newest first."""
    from db.audit_reading import AuditFilter, read_audit
    from domain.ids import Actor, CartId

    if cart and not _CART.fullmatch(cart):
        raise typer.BadParameter("--cart is the id of a cart, in lower case")
    wanted = AuditFilter(CartId(cart) if cart else None, Actor(by) if by else None, _utc(since), _utc(until))

    async def run() -> list[AuditEntry]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await read_audit(db, owner, wanted, limit=limit)

    entries = asyncio.run(run())
    if entries:
        _show(entries)
    more = ", and there may be more: see --limit and --until" if len(entries) == limit else ""
    typer.echo(f"{_counted(len(entries), 'entry', 'entries')}{more}")


def _show(entries: Sequence[AuditEntry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("when (UTC)", "who", "what", "of which", "before", "after")
    for column in table.columns[:1]:
        column.no_wrap = True
    for entry in entries:
        cells = (_moment(entry.at), entry.actor, entry.action, entry.subject, _json(entry.before), _json(entry.after))
        table.add_row(*map(Text, cells))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(table)


def _json(value: Any) -> str:
    return "-" if value is None else json.dumps(value, separators=(", ", ": ")).replace('"', "")


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
