"""The `holdfast` command."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.parts import ALL_PARTS, Part
from local.commands import carts, events, fiscal, hooks, payments, products, tenants, tickets, tokens, webhooks
from local.commands.common import joined_settings

if TYPE_CHECKING:
    from settings import Settings

SERVER: dict[str, Any] = {
    "loop": "uvloop",
    "http": "httptools",
    "server_header": False,
    "proxy_headers": False,  # The API has its own (HOLDFAST_TRUSTED_PROXIES); uvicorn's would trust loopback.
    "access_log": False,  # Each program logs its requests itself.
    "timeout_graceful_shutdown": 8,
    "timeout_worker_healthcheck": 30,  # Of several processes; 5 s, the default, kills one on a machine that is busy.
}

# Each command imports what it needs itself, so that `holdfast --help` is quick and the parts stay apart.

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Holdfast: holds stock for buyers."
)
migrate_app = typer.Typer(no_args_is_help=True, help="The database's schema: up, down, status.")
app.add_typer(migrate_app, name="migrate")
worker_app = typer.Typer(help="The worker: run it, or make a build of it current.")
app.add_typer(worker_app, name="worker")
app.add_typer(carts.app, name="carts")
app.add_typer(events.app, name="events")
app.add_typer(fiscal.app, name="fiscal")
app.add_typer(payments.app, name="payments")
app.add_typer(hooks.app, name="hooks")
app.add_typer(products.app, name="products")
app.add_typer(tenants.app, name="tenant")
app.add_typer(tickets.app, name="tickets")
app.add_typer(tickets.app, name="ticket", hidden=True)  # For one ticket, as one says it.
app.add_typer(tokens.app, name="tokens")
app.add_typer(webhooks.app, name="webhooks")


@app.command()
def up() -> None:
    """Run a whole Holdfast on this machine, with its servers, until Ctrl-C."""
    os.environ.setdefault("HOLDFAST_ENV", "development")
    from local.up import run

    run(_settings())


@worker_app.callback(invoke_without_command=True)
def worker(
    context: typer.Context,
    only: Annotated[
        Part | None,
        typer.Option(help="Serve one part: checkouts and payments, or what follows a sale. Default: both."),
    ] = None,
) -> None:
    """Run the worker: workflows and activities."""
    if context.invoked_subcommand is None:
        from worker import main as run

        run(_settings(), parts=[only] if only else ALL_PARTS)


@worker_app.command("promote")
def worker_promote(
    build_id: Annotated[str | None, typer.Argument(help="Default: HOLDFAST_BUILD_ID.")] = None,
    seconds: Annotated[float, typer.Option(help="How long to wait for the build's workers.")] = 60,
) -> None:
    """Let a build's workers take the new checkouts; those held stay with the build that began them."""
    from activities.deployments import promote
    from local.errors import LocalError
    from worker import connect

    settings = joined_settings()
    build = build_id or settings.build_id
    if build is None:
        raise LocalError("name the build: `holdfast worker promote BUILD`, or set HOLDFAST_BUILD_ID")

    async def run() -> None:
        await promote(await connect(settings), build, patience=seconds)

    asyncio.run(run())
    typer.echo(f"build {build} is current")


@app.command()
def api() -> None:
    """Run the HTTP API, in as many processes as HOLDFAST_API_PROCESSES says."""
    from api.app import create_app
    from local.errors import LocalError

    settings = _settings()
    try:
        made = create_app(settings)  # Settings that cannot work are told of here, once, and not by every process.
    except ValueError as error:
        raise LocalError(str(error)) from None
    several = settings.api_processes > 1
    app = "api.app:create_app" if several else made
    _serve(app, settings.api_host, settings.api_port, factory=several, workers=settings.api_processes)


@app.command()
def gateway() -> None:
    """Run the sandbox payment gateway (development and tests)."""
    settings = _settings()
    _serve("local.gateway.app:create_app", settings.gateway_host, settings.gateway_port, factory=True)


@migrate_app.command("up")
def migrate_up(revision: str = "head") -> None:
    """Bring the schema up to a revision, the newest by default."""
    from db import migrate

    migrate.upgrade(joined_settings().admin_url, revision)
    typer.echo("schema is up to date")


@migrate_app.command("down")
def migrate_down(revision: Annotated[str, typer.Argument(help="Such as -1, a revision's id, or base.")]) -> None:
    """Take the schema back to a revision."""
    from db import migrate

    migrate.downgrade(joined_settings().admin_url, revision)
    typer.echo(f"schema is at {revision}")


@migrate_app.command("status")
def migrate_status() -> None:
    """Say which migrations are applied, and which are not."""
    from db import migrate

    for line in migrate.status(joined_settings().admin_url):
        typer.echo(line)


@app.command()
def seed() -> None:
    """Load the demo tenants, users, products and events. Repeating it changes nothing. Development only."""
    from db.seed import seed_demo
    from local.errors import LocalError

    settings = joined_settings()
    if settings.env != "development":
        raise LocalError("the demo data has known passwords: it is loaded with HOLDFAST_ENV=development only")
    asyncio.run(seed_demo(settings.admin_url))
    typer.echo("demo data is in place")


@app.command()
def check() -> None:
    """Prove the invariants on the database. Exit 1 when one is broken, naming each."""
    from db.invariants import check as broken_invariants

    broken = asyncio.run(broken_invariants(joined_settings().admin_url))
    for line in broken:
        typer.echo(line)
    typer.echo(f"{len(broken)} broken" if broken else "every invariant holds")
    raise typer.Exit(1 if broken else 0)


@app.command()
def demo() -> None:
    """Walk buyers through paying, cancelling and letting a hold expire, against the running system."""
    os.environ.setdefault("HOLDFAST_ENV", "development")  # Without it, a demo beside nothing asks for secrets.
    from local.demo import run

    asyncio.run(run(joined_settings()))


def main() -> None:
    """Run the command line, and end with its exit code."""
    code = _run()
    if "temporalio.bridge" in sys.modules:
        # Threads of the Temporal SDK may still be at work, and on a busy machine one that then asks for the interpreter
        # while it takes itself apart aborts the process (exit code -6, measured), though all was done and said.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    """The exit code. What a person can put right ends with one clear message, not with a traceback."""
    try:
        app(prog_name="holdfast")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        message = _for_a_person(error)
        if message is None:
            raise
        typer.echo(f"holdfast: {message}", err=True)
        return 1
    return 0


def _for_a_person(error: Exception) -> str | None:
    """The message of an error that the person at the keyboard can put right; None for one that is ours."""
    import psycopg
    import sqlalchemy.exc
    from pydantic import ValidationError

    from domain.errors import Unavailable
    from local.errors import LocalError

    if isinstance(error, LocalError | Unavailable):
        return str(error)
    if isinstance(error, sqlalchemy.exc.OperationalError):
        return f"cannot use the database: {error.orig}"
    if isinstance(error, psycopg.OperationalError):
        return f"cannot use the database: {error}"
    if isinstance(error, ValidationError) and error.title == "Settings":
        return "\n".join(_setting_problem(each["loc"], each["msg"]) for each in error.errors(include_url=False))
    return None


def _setting_problem(location: tuple[int | str, ...], message: str) -> str:
    where = f"HOLDFAST_{'_'.join(map(str, location)).upper()}: " if location else ""
    return where + message.removeprefix("Value error, ")


def _settings() -> Settings:
    from settings import Settings

    return Settings()


def _serve(app: Any, host: str, port: int, **more: Any) -> None:
    import uvicorn

    uvicorn.run(app, host=host, port=port, **SERVER, **more)


if __name__ == "__main__":
    main()
