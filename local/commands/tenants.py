"""`holdfast tenant`: create tenants, show and change their settings, set and rotate their secrets.

By the admin URL, except for one tenant's secrets. Every change is in that tenant's audit log.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from local.commands.common import actor, joined_settings, tenant_database

if TYPE_CHECKING:
    from db.tenant_secrets import SecretName
    from domain.tenant_settings import TenantSettings

app = typer.Typer(no_args_is_help=True, help="Tenants: create, list, show, set; their secrets.")

TenantArgument = Annotated[str, typer.Argument(metavar="ID", help="The tenant's id.", show_default=False)]
Changes = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Such as hold_seconds=600; null: none.", show_default=False),
]
PIPE_WIDTH = 160
"""Columns of a table that no terminal shows."""
_TEXTS = frozenset({"name", "currency", "late_payments", "whatsapp_number", "fiscal_series"})
_NONE = "null"


@app.command()
def create(
    tenant: TenantArgument,
    name: Annotated[str, typer.Option(help="What it is called.", show_default=False)],
    currency: Annotated[str, typer.Option(help="ISO 4217, such as COP.", show_default=False)],
    changes: Changes = None,
) -> None:
    """Create a tenant. Settings that are not named have their defaults."""
    from db.tenant_admin import create_tenant
    from domain.ids import TenantId
    from domain.tenant_settings import TenantSettings, changed

    given = {**_given(changes or []), "name": name, "currency": currency}
    with _told():
        settings = changed(TenantSettings(name, currency), given, has_checkouts=False)
        asyncio.run(create_tenant(joined_settings().admin_url, TenantId(tenant), actor(), settings))
    _show(settings, [])
    typer.echo(f"tenant {tenant} is created")


@app.command("list")
def list_all() -> None:
    """List every tenant."""
    from db.tenant_admin import list_tenants

    found = asyncio.run(list_tenants(joined_settings().admin_url))
    rows = [
        (tenant, one.name, one.currency, f"{one.hold_seconds} s", f"{one.maximum_seconds} s", _shown(one.disabled))
        for tenant, one in found
    ]
    _table(("id", "name", "currency", "hold", "at most", "disabled"), rows)
    typer.echo(f"{len(found)} tenants")


@app.command()
def show(tenant: TenantArgument) -> None:
    """Show a tenant's settings, and which secrets it has."""
    from db.tenant_admin import show_tenant
    from domain.ids import TenantId

    with _told():
        settings, secrets = asyncio.run(show_tenant(joined_settings().admin_url, TenantId(tenant)))
    _show(settings, secrets)


@app.command("set")
def change(tenant: TenantArgument, changes: Changes = None) -> None:
    """Change settings of a tenant; the rest stay. Live holds keep what they began with. See `holdfast tenant show`."""
    from db.tenant_admin import change_tenant
    from domain.ids import TenantId

    given = _given(changes or [])
    if not given:
        raise typer.BadParameter("name something to change, such as hold_seconds=600")
    with _told():
        settings = asyncio.run(change_tenant(joined_settings().admin_url, TenantId(tenant), actor(), given))
    _show(settings, [])
    typer.echo(f"tenant {tenant} is as shown")


@app.command()
def secret(
    tenant: TenantArgument,
    name: Annotated[str, typer.Argument(help="Such as gateway/sandbox.", show_default=False)],
    delete: Annotated[bool, typer.Option("--delete", help="Forget it: the installation's own counts again.")] = False,
) -> None:
    """Set a secret of a tenant. It is asked for, or read from standard input; never from the command line."""
    from activities.gateways.registry import tenant_secrets
    from db.keyring import KeyRing
    from db.tenant_secrets import delete_secret, put_secret
    from domain.tenant_secrets import checked_secret

    settings = joined_settings()
    ring = KeyRing.parse(settings.secret_keys.get_secret_value())
    with _told():
        value = "" if delete else checked_secret(tenant_secrets(settings.gateways), name, _asked_for(name))

    async def run() -> None:
        async with tenant_database(settings, tenant) as (db, owner):
            if delete:
                await delete_secret(db, owner, actor(), name)
            else:
                await put_secret(db, owner, actor(), ring, name, value)

    asyncio.run(run())
    typer.echo(f"secret {name} of {tenant} is {'deleted' if delete else 'set'}: every process knows within seconds")


@app.command("rotate-secrets")
def rotate() -> None:
    """Seal every tenant's secrets by the first key of HOLDFAST_SECRET_KEYS. Repeating it does what is left.

    Exit 1 when one cannot be opened, naming each.
    """
    from db.keyring import KeyRing
    from db.tenant_admin import rotate_secrets

    settings = joined_settings()
    ring = KeyRing.parse(settings.secret_keys.get_secret_value())
    done = asyncio.run(rotate_secrets(settings.admin_url, actor(), ring))
    for tenant, name, why in done.unreadable:
        typer.echo(f"{tenant} {name}: {why}", err=True)
    typer.echo(f"{done.resealed} sealed anew by key {ring.first}, {len(done.unreadable)} could not be opened")
    raise typer.Exit(1 if done.unreadable else 0)


def _given(changes: Sequence[str]) -> dict[str, Any]:
    """The settings of `key=value`, by the rules of the API. Raises BadParameter naming each that is not good."""
    from pydantic import ValidationError

    from api.tenant_models import OperatorsTenantPatch

    pairs = dict(_pair(text) for text in changes)
    if len(pairs) < len(changes):
        raise typer.BadParameter("name each setting once")
    try:
        return OperatorsTenantPatch.model_validate(pairs).as_changes()
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)]
        raise typer.BadParameter("; ".join(faults)) from None


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter("write settings as key=value, such as hold_seconds=600")
    if name in _TEXTS:
        return name, None if value == _NONE else value
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def _asked_for(name: str) -> str:
    """The secret, from the terminal without showing it, or all of standard input."""
    return getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read().strip()


@contextmanager
def _told() -> Iterator[None]:
    """Raises LocalError, one line for a person, for what the work inside refuses."""
    from domain.errors import HoldfastError, Unavailable
    from local.errors import LocalError

    try:
        yield
    except Unavailable:
        raise
    except HoldfastError as error:
        raise LocalError(error.detail) from None


def _show(settings: TenantSettings, secrets: Sequence[SecretName]) -> None:
    from domain.tenant_settings import stored

    rows = [(name, _shown(value)) for name, value in stored(settings).items()]
    rows += [(f"secret {one.name}", f"set at {one.updated_at:%Y-%m-%d %H:%M:%S} UTC") for one in secrets]
    _table(("setting", "value"), rows)


def _shown(value: Any) -> str:
    """As `set` takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(table)
