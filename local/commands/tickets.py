"""`holdfast tickets`: send them again, see how an order's fulfilment stands, and verify a ticket without a network."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database

if TYPE_CHECKING:
    from activities.fulfilment.ticket_keys import TicketVerifier
    from db.fulfilment_steps import StepRow
    from domain.fulfilment import StepRequest
    from domain.ids import OrderId

app = typer.Typer(no_args_is_help=True, help="Tickets: resend, show, verify, public-key.")
OrderArgument = Annotated[str, typer.Argument(help="The order's id.", show_default=False)]


@app.command()
def resend(
    order: OrderArgument,
    step: Annotated[str, typer.Option(help="mail, pdf, notify or statistics.")] = "mail",
    tenant: TenantOption = None,
) -> None:
    """Do a step of an order's fulfilment once more: by default, send the e-mail with its tickets again."""
    from activities.fulfilment.starting import Fulfilling
    from api import temporal
    from db.fulfilment_steps import ask_again
    from domain.errors import Unavailable
    from domain.fulfilment import replayable

    settings = joined_settings()

    async def run() -> tuple[StepRequest, bool]:
        async with tenant_database(settings, tenant) as (db, owner):
            asked = await ask_again(db, owner, _order(order), replayable(step), uuid.uuid4().hex, actor())
        with contextlib.suppress(Unavailable):
            client = await temporal.connect(f"127.0.0.1:{settings.temporal_port}", lazy=True)
            await Fulfilling(client, settings.task_queue).replay(asked)
            return asked, True
        return asked, False

    asked, started = asyncio.run(run())
    typer.echo(f"{asked.step} of order {asked.order_id}: replay {asked.replay} is asked for")
    if not started:
        typer.echo("Temporal does not answer: the consistency check starts it when it is back")


@app.command()
def show(order: OrderArgument, tenant: TenantOption = None) -> None:
    """Show how each step of an order's fulfilment stands."""
    from db.fulfilment_steps import read_steps
    from domain.errors import NotFound

    async def run() -> list[StepRow]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            steps = await read_steps(db, owner, _order(order))
            if steps is None:
                raise NotFound("There is no such order.")
            return steps

    for one in asyncio.run(run()):
        replay = f" (replay {one.replay})" if one.replay else ""
        why = one.reason or one.last_error or ""
        typer.echo(f"{one.step}{replay}: {one.status}, attempts: {one.attempts}{f', {why}' if why else ''}")


@app.command()
def verify(
    ticket: Annotated[str, typer.Argument(metavar="TOKEN|FILE", help="What a QR code says, or a picture or PDF.")],
    public_key: Annotated[
        str | None,
        typer.Option(help="As `public-key` prints it. Default: of this installation's own keys."),
    ] = None,
) -> None:
    """Say whether a ticket is ours and unchanged, and what it is for. Needs no network and no database. Exit 1: not."""
    from domain.ticket_token import BadToken

    tokens, verifier, bad = _tokens(ticket), _verifier(public_key), 0
    for token in tokens:
        try:
            found = verifier.verify(token)
        except BadToken as error:
            bad += 1
            typer.echo(f"NOT GOOD: {error}")
        else:
            issued = datetime.fromtimestamp(found.issued, UTC)
            units = f"unit {found.unit}" if found.unit else f"all {found.units} units"
            what = {"p": "product", "z": "zone", "s": "seat"}[found.what[0]] + " " + found.what[1:]
            event = f", event {found.event}" if found.event else ""
            typer.echo(f"good: {found.tenant}, order {found.order_id}, line {found.line}, {units}: {what}{event}")
            typer.echo(f"      sold {issued:%Y-%m-%d %H:%M} UTC")
    if not tokens:
        typer.echo("NOT GOOD: there is no QR code in it")
    raise typer.Exit(1 if bad or not tokens else 0)


@app.command("public-key")
def public_key() -> None:
    """Print the public keys that verify our tickets. They are no secret."""
    from activities.fulfilment.ticket_keys import TicketKeys

    typer.echo(TicketKeys.parse(joined_settings().ticket_keys.get_secret_value()).public())


@app.command()
def sales(
    since: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="A day, UTC.", show_default=False)],
    tenant: TenantOption = None,
) -> None:
    """Print what was sold by day, as JSON lines: orders, units, and revenue in minor units."""
    from db.statistics import DaySales, daily_sales

    async def run() -> list[DaySales]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await daily_sales(db, owner, since.date())

    for day in asyncio.run(run()):
        given = {"day": day.day.isoformat(), "currency": day.currency, "orders": day.orders, "units": day.units}
        typer.echo(json.dumps({**given, "revenue": day.revenue}))


def _order(text: str) -> OrderId:
    from domain.ids import OrderId
    from local.errors import LocalError

    try:
        return OrderId(str(uuid.UUID(text)))
    except ValueError:
        raise LocalError("an order's id is a UUID, such as 0d6f1f0a-97a1-5d6c-9b0a-5d4a1f1b2c3d") from None


def _tokens(ticket: str) -> list[str]:
    """What is to be verified: the token itself, or those of the file's QR codes."""
    from activities.fulfilment.ticket_files import Unreadable, codes_in
    from domain.ticket_token import PREFIX
    from local.errors import LocalError

    if ticket.startswith(f"{PREFIX}."):
        return [ticket]
    try:
        return codes_in(Path(ticket))
    except (OSError, Unreadable, ValueError) as error:
        raise LocalError(f"{ticket[:80]!r}: {error}") from None


def _verifier(public: str | None) -> TicketVerifier:
    from activities.fulfilment.ticket_keys import TicketKeys, TicketVerifier
    from local.errors import LocalError

    if public is None:
        return TicketKeys.parse(joined_settings().ticket_keys.get_secret_value()).verifier()
    try:
        return TicketVerifier.parse(public)
    except ValueError as error:
        raise LocalError(f"--public-key: {error}") from None
