"""`holdfast tokens`: access tokens for programs, revocations by hand, and the purge."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from api.caller import Caller, Scope
    from settings import Settings

app = typer.Typer(no_args_is_help=True, help="Access tokens: issue, revoke, purge.")

_MOST_HOURS = 8760
_ID = re.compile(r"[!-~]{1,128}")
_LOGIN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@app.command()
def issue(
    subject: Annotated[str, typer.Argument(help="Who it is for, such as `storefront`.", show_default=False)],
    tenant: TenantOption = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="buyer, service, admin, operator; may be repeated. Default: service.", show_default=False),
    ] = None,
    hours: Annotated[float, typer.Option(help="How long it is good, a year at most.", min=0.001, max=_MOST_HOURS)] = 24,
) -> None:
    """Print an access token for a program, such as a storefront's backend; and, beside it, how to revoke it."""
    from api.app import tokens_from
    from db.audit import note
    from local.errors import LocalError

    settings, scopes, seconds = joined_settings(), _scopes(scope or ["service"]), round(hours * 3600)
    tokens = tokens_from(settings)

    async def run() -> Caller:
        async with tenant_database(settings, tenant) as (db, owner):
            try:
                token = tokens.issue(owner, subject, scopes, seconds)
            except ValueError as error:
                raise LocalError(str(error)) from None
            caller = tokens.verify(token)
            given = {"subject": subject, "scopes": sorted(scopes), "expires_at": caller.expires_at}
            await db.run(owner, note(owner, actor(), "token.issued", f"token:{caller.jti}", after=given))
        typer.echo(token)
        return caller

    caller = asyncio.run(run())
    until = datetime.fromtimestamp(caller.expires_at, UTC)
    typer.echo(f"id {caller.jti}, good until {until:%Y-%m-%d %H:%M} UTC; it is shown only now", err=True)
    typer.echo(f"to revoke it: holdfast tokens revoke {caller.jti} --tenant {caller.tenant}", err=True)


@app.command()
def revoke(
    token: Annotated[
        str,
        typer.Argument(metavar="TOKEN|ID", help="A token, or its id, its login's or session's.", show_default=False),
    ],
    tenant: TenantOption = None,
) -> None:
    """Refuse a token from now on. A login's token, or its login's id, ends the whole login."""
    from db.logins import LoginId, revoke_by_hand

    settings = joined_settings()
    caller = asyncio.run(_read(settings, token)) if token.count(".") == 2 else None
    revoked, until = _what(token, caller)
    owner = caller.tenant if caller else tenant

    async def run() -> None:
        async with tenant_database(settings, owner) as (db, found):
            login = LoginId(revoked) if _LOGIN.fullmatch(revoked) else None
            await revoke_by_hand(db, found, revoked, login, until, actor())

    asyncio.run(run())
    typer.echo(f"{revoked} is revoked: every API process refuses it within a second or so")


@app.command()
def purge() -> None:
    """Delete tokens, logins, revocations and sessions that are over, as the hourly schedule does."""
    from db.purge import purge as purge_all

    purged = asyncio.run(purge_all(joined_settings().admin_url))
    for name, rows in vars(purged).items():
        typer.echo(f"{rows:>8}  {name.replace('_', ' ')}")


def _scopes(names: list[str]) -> AbstractSet[Scope]:
    from api.caller import Scope
    from local.errors import LocalError

    try:
        return {Scope(name) for name in names}
    except ValueError:
        raise LocalError(f"--scope is one of {', '.join(Scope)}") from None


def _what(token: str, caller: Caller | None) -> tuple[str, int]:
    """Which id to revoke, and when the last token that it refuses is over, in seconds since 1970."""
    from api.jws import MAX_LIFETIME_SECONDS
    from local.errors import LocalError

    if caller is not None:
        return caller.sid or caller.jti, caller.expires_at
    if not _ID.fullmatch(token):
        raise LocalError("give a token as it was printed, or an id of 1 to 128 visible ASCII characters")
    # When its token is over is not known: no token lasts longer than this.
    return token, round(datetime.now(UTC).timestamp()) + MAX_LIFETIME_SECONDS


async def _read(settings: Settings, token: str) -> Caller:
    """Whom the token is of. Raises LocalError when it is over, or not one that this installation accepts."""
    import httpx

    from api.app import outside_from, tokens_from
    from api.jws import RefusedToken
    from api.verification import read_token
    from local.errors import LocalError

    async with httpx.AsyncClient() as http:
        try:
            return await read_token(token, tokens_from(settings), outside_from(settings, http))
        except RefusedToken as error:
            over = "it is over, so there is nothing to revoke"
            raise LocalError(over if error.rule == "expired" else f"not a token of ours ({error.rule})") from None
