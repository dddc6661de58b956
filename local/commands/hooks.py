"""`holdfast hooks`: where a tenant's webhooks go, what was sent, and sending it again."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database

if TYPE_CHECKING:
    from db.hook_endpoints import HookEndpoint
    from db.hook_history import HookDelivery
    from domain.checkout_events import HookKind
    from domain.ids import HookId

app = typer.Typer(no_args_is_help=True, help="Webhooks that a tenant is sent: endpoints, deliveries, replays.")
PIPE_WIDTH = 220
"""Columns of a table that no terminal shows."""
MOST_SHOWN = 1_000
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HookArgument = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.", show_default=False)]


@app.command("list")
def list_(tenant: TenantOption = None) -> None:
    """Show the endpoints, oldest first."""
    from db.hook_endpoints import list_hooks

    async def run() -> list[HookEndpoint]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await list_hooks(db, owner)

    hooks = asyncio.run(run())
    _table(("id", "url", "kinds", "works"), [(one.id, one.url, ", ".join(one.kinds), _works(one)) for one in hooks])
    typer.echo(f"{len(hooks)} {'endpoint' if len(hooks) == 1 else 'endpoints'}")


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="https, on a public host.", show_default=False)],
    kinds: Annotated[list[str], typer.Option("--kind", help="What it is told of; may be repeated.")],
    description: Annotated[str | None, typer.Option(help="For whoever reads the list.")] = None,
    tenant: TenantOption = None,
) -> None:
    """Add an endpoint, and show its secret, which is not shown again."""
    from activities.hooks.targets import checked_hook_url
    from db.hook_endpoints import NewHook, create_hook
    from db.keyring import KeyRing

    settings = joined_settings()
    try:
        checked = checked_hook_url(url, development=settings.env == "development")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    ring = KeyRing.parse(settings.secret_keys.get_secret_value())
    new = NewHook(checked, _kinds(kinds), description)

    async def run() -> tuple[HookEndpoint, str]:
        async with tenant_database(settings, tenant) as (db, owner):
            return await create_hook(db, owner, actor(), ring, new)

    hook, secret = asyncio.run(run())
    typer.echo(f"endpoint {hook.id}\nsecret   {secret}")


@app.command()
def rotate(
    hook: HookArgument,
    keep_hours: Annotated[int, typer.Option(help="How long the secret before signs too.", min=0, max=168)] = 24,
    tenant: TenantOption = None,
) -> None:
    """Give an endpoint a new secret, and show it."""
    from db.hook_endpoints import rotate_hook
    from db.keyring import KeyRing

    settings = joined_settings()
    ring = KeyRing.parse(settings.secret_keys.get_secret_value())

    async def run() -> str:
        async with tenant_database(settings, tenant) as (db, owner):
            _, secret = await rotate_hook(db, owner, actor(), ring, _id(hook), timedelta(hours=keep_hours))
            return secret

    typer.echo(f"secret {asyncio.run(run())}")


@app.command()
def enable(hook: HookArgument, tenant: TenantOption = None) -> None:
    """Send to an endpoint again. What failed meanwhile is sent by `replay`."""
    _set(hook, tenant, enabled=True)


@app.command()
def disable(hook: HookArgument, tenant: TenantOption = None) -> None:
    """Send an endpoint nothing more, until it is enabled."""
    _set(hook, tenant, enabled=False)


@app.command()
def delete(hook: HookArgument, tenant: TenantOption = None) -> None:
    """Delete an endpoint. What waits for it is not sent."""
    from db.hook_endpoints import delete_hook

    async def run() -> None:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            await delete_hook(db, owner, actor(), _id(hook))

    asyncio.run(run())
    typer.echo(f"endpoint {hook} is deleted")


@app.command()
def deliveries(
    hook: HookArgument,
    status: Annotated[
        str | None, typer.Option(metavar="[pending|delivered|failed]", help="Only these.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=MOST_SHOWN)] = 50,
    tenant: TenantOption = None,
) -> None:
    """Show what was sent to an endpoint, newest first, and what came of it."""
    from db.hook_endpoints import read_hook
    from db.hook_history import list_deliveries
    from domain.hooks import DeliveryStatus

    wanted = DeliveryStatus(_one_of(status, [one.value for one in DeliveryStatus])) if status else None

    async def run() -> list[HookDelivery]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            await read_hook(db, owner, _id(hook))
            return await list_deliveries(db, owner, _id(hook), status=wanted, limit=limit)

    found = asyncio.run(run())
    _table(
        ("id", "at", "kind", "status", "tries", "answer", "error"),
        [
            (
                one.id,
                f"{one.at:%Y-%m-%d %H:%M:%S}",
                one.kind,
                one.status,
                one.attempts,
                one.answer or "",
                one.error or "",
            )
            for one in found
        ],
    )
    typer.echo(f"{len(found)} {'delivery' if len(found) == 1 else 'deliveries'}")


@app.command()
def replay(
    hook: HookArgument,
    delivery: Annotated[str | None, typer.Argument(help="One delivery; without, all that failed.")] = None,
    tenant: TenantOption = None,
) -> None:
    """Send a delivery once more, or all that failed: the same id and body. Audited."""
    from db.hook_history import replay_delivery, replay_failed
    from domain.ids import HookDeliveryId

    async def run() -> int:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            if delivery is None:
                return await replay_failed(db, owner, actor(), _id(hook))
            await replay_delivery(db, owner, actor(), _id(hook), HookDeliveryId(_id(delivery)))
            return 1

    typer.echo(f"{asyncio.run(run())} on their way once more")


@app.command("test")
def send_test_message(hook: HookArgument, tenant: TenantOption = None) -> None:
    """Send a message of the kind webhook.test."""
    from db.hook_history import send_test
    from domain.ids import HookDeliveryId

    delivery = HookDeliveryId(str(uuid.uuid4()))

    async def run() -> None:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            await send_test(db, owner, _id(hook), delivery)

    asyncio.run(run())
    typer.echo(f"delivery {delivery} is on its way; `holdfast hooks deliveries {hook}` says what comes of it")


def _set(hook: str, tenant: str | None, *, enabled: bool) -> None:
    from db.hook_endpoints import HookChanges, change_hook

    async def run() -> HookEndpoint:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await change_hook(db, owner, actor(), _id(hook), HookChanges(enabled=enabled))

    typer.echo(f"endpoint {hook}: {_works(asyncio.run(run()))}")


def _works(hook: HookEndpoint) -> str:
    if not hook.enabled:
        return f"disabled ({hook.disabled_because})"
    return f"failing since {hook.failing_since:%Y-%m-%d %H:%M}" if hook.failing_since else "yes"


def _kinds(given: Sequence[str]) -> list[HookKind]:
    from domain.checkout_events import HookKind

    askable = [kind.value for kind in HookKind if kind is not HookKind.TEST]
    return [HookKind(_one_of(one, askable)) for one in dict.fromkeys(given)]


def _one_of(given: str, known: Sequence[str]) -> str:
    if given not in known:
        raise typer.BadParameter(f"it is one of {', '.join(known)}")
    return given


def _id(text: str) -> HookId:
    from domain.ids import HookId

    if not _UUID.fullmatch(text):
        raise typer.BadParameter("an id is a UUID in lower case")
    return HookId(text)


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(*names, box=None)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)).print(table)
