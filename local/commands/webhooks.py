"""`holdfast webhooks`: the inbox of payment events, and handing them over again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database, tenant_delivery

if TYPE_CHECKING:
    from activities.delivery import Handed
    from activities.replay import Replayed
    from db.inbox_reading import EventEntry
    from domain.money import Money

app = typer.Typer(no_args_is_help=True, help="Payment events: list, show, replay.")

MOST_EVENTS = 10_000
PIPE_WIDTH = 220
"""Columns of a table that no terminal shows."""
_CHECKOUT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GatewayOption = Annotated[str, typer.Option(help="The gateway's name.")]
StateOption = Annotated[
    str | None, typer.Option(metavar="[received|delivered|settled]", help="Only these.", show_default=False)
]


@app.command("list")
def list_(
    state: StateOption = None,
    gateway: Annotated[str | None, typer.Option(help="Only this gateway's.", show_default=False)] = None,
    checkout: Annotated[str | None, typer.Option(help="Only those that name this checkout.")] = None,
    payment: Annotated[str | None, typer.Option(help="Only those of this payment.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=MOST_EVENTS)] = 50,
    tenant: TenantOption = None,
) -> None:
    """Show payment events, newest first, where each went, and what became of its payment."""
    from db.inbox import EventState
    from db.inbox_reading import EventFilter, list_events
    from domain.ids import CheckoutId, GatewayName, PaymentId

    if checkout and not _CHECKOUT.fullmatch(checkout):
        raise typer.BadParameter("--checkout is the id of a checkout, in lower case")
    wanted = EventFilter(
        EventState(_one_of(state, *EventState)) if state else None,
        GatewayName(gateway) if gateway else None,
        CheckoutId(checkout) if checkout else None,
        PaymentId(payment) if payment else None,
    )

    async def run() -> list[EventEntry]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await list_events(db, owner, wanted, limit=limit)

    entries = asyncio.run(run())
    if entries:
        _show(entries)
    more = ", and there may be more: see --limit" if len(entries) == limit else ""
    typer.echo(f"{len(entries)} {'event' if len(entries) == 1 else 'events'}{more}")


@app.command()
def show(
    event: Annotated[str, typer.Argument(help="The gateway's id of the event.", show_default=False)],
    gateway: GatewayOption = "sandbox",
    tenant: TenantOption = None,
) -> None:
    """Show one event with its body. The body is the gateway's own text, and may name people."""
    from db.inbox_reading import event_with_body
    from domain.ids import EventId, GatewayName
    from local.errors import LocalError

    async def run() -> tuple[EventEntry, bytes] | None:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await event_with_body(db, owner, GatewayName(gateway), EventId(event))

    found = asyncio.run(run())
    if found is None:
        raise LocalError(f"gateway {gateway!r} has sent no event of this id")
    entry, body = found
    for name, value in _lines(entry):
        typer.echo(f"{name:<12} {value}")
    typer.echo(f"\n{body.decode(errors='replace')}")


@app.command()
def replay(
    event: Annotated[str | None, typer.Argument(help="The event; without one, all of a state.")] = None,
    gateway: GatewayOption = "sandbox",
    state: Annotated[str, typer.Option(metavar="[received|delivered]", help="Without an event: of this state.")] = (
        "received"
    ),
    older_than: Annotated[int, typer.Option(help="Seconds since they were received.", min=0, max=10**8)] = 120,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=MOST_EVENTS)] = 100,
    tenant: TenantOption = None,
) -> None:
    """Hand events over again, as if the gateway sent them again. Harmless for what is settled. Audited."""
    from db.inbox import EventState

    wanted = EventState(_one_of(state, EventState.RECEIVED, EventState.DELIVERED))
    if event is not None:
        typer.echo(f"{event}: {asyncio.run(_replay_one(event, gateway, tenant))}")
        return
    done = asyncio.run(_replay_all(wanted, older_than, limit, tenant))
    typer.echo(f"{done.handed.total()} handed over again, {done.left} left, {done.waiting} wait for their checkout")
    for handed, count in done.handed.most_common():
        typer.echo(f"  {count:>6} {handed}")


async def _replay_one(event: str, gateway: str, tenant: str | None) -> Handed:
    from activities.replay import replay_event
    from db.inbox_reading import event_with_body
    from domain.ids import EventId, GatewayName
    from local.errors import LocalError

    name, wanted = GatewayName(gateway), EventId(event)
    async with tenant_delivery(tenant) as (db, owner, delivery):
        if await event_with_body(db, owner, name, wanted) is None:
            raise LocalError(f"gateway {gateway!r} has sent no event of this id")
        return await replay_event(db, delivery, owner, actor(), name, wanted)


async def _replay_all(state: str, older_than: int, limit: int, tenant: str | None) -> Replayed:
    from activities.replay import replay_events
    from db.inbox import EventState

    async with tenant_delivery(tenant) as (db, owner, delivery):
        return await replay_events(db, delivery, owner, actor(), EventState(state), older_than, limit=limit)


def _one_of(value: str, *wanted: str) -> str:
    if value not in wanted:
        raise typer.BadParameter(f"the state is one of {', '.join(wanted)}")
    return value


def _show(entries: Sequence[EventEntry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("received (UTC)", "event", "kind", "payment", "checkout", "amount", "state", "went", "outcome")
    table.columns[0].no_wrap = True
    for entry in entries:
        checkout, went = entry.checkout_id or "-", entry.handed or "-"
        alerted = " (alerted)" if entry.alerted_at else ""
        cells = (_moment(entry.received_at), f"{entry.gateway}/{entry.event_id}", entry.kind, entry.payment_id)
        more = (checkout, str(_money(entry)), entry.state, went + alerted, _outcome(entry))
        table.add_row(*map(Text, (*cells, *more)))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(table)


def _lines(entry: EventEntry) -> list[tuple[str, str]]:
    moments = ("occurred_at", "received_at", "delivered_at", "settled_at", "alerted_at")
    return [
        ("event", f"{entry.gateway}/{entry.event_id}"),
        ("kind", entry.kind),
        ("payment", entry.payment_id),
        ("checkout", entry.checkout_id or "-"),
        ("amount", str(_money(entry))),
        ("state", entry.state),
        ("went", entry.handed or "-"),
        ("outcome", _outcome(entry)),
        *((name.removesuffix("_at"), _moment(getattr(entry, name))) for name in moments),
    ]


def _outcome(entry: EventEntry) -> str:
    parts = (entry.outcome, entry.reason, entry.refund_status)
    return " ".join(part for part in parts if part) or "-"


def _money(entry: EventEntry) -> Money:
    from domain.money import Money

    return Money(entry.amount, entry.currency)


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else "-"
