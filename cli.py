"""The `holdfast` command."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from settings import Settings

# Each command imports what it needs itself, so that `holdfast --help` is quick and the parts stay apart.

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Holdfast: holds stock for buyers."
)
migrate_app = typer.Typer(no_args_is_help=True, help="The database's schema: up, down, status.")
app.add_typer(migrate_app, name="migrate")


@app.command()
def up() -> None:
    """Run a whole Holdfast on this machine, with its servers, until Ctrl-C."""
    os.environ.setdefault("HOLDFAST_ENV", "development")
    from local.up import run

    run(_settings())


@app.command()
def worker() -> None:
    """Run the worker: workflows and activities."""
    import uvloop

    from worker import run_worker

    uvloop.run(run_worker(_settings()))


@app.command()
def api() -> None:
    """Run the HTTP API."""
    settings = _settings()
    _serve("api.app:create_app", settings.api_host, settings.api_port)


@app.command()
def gateway() -> None:
    """Run the sandbox payment gateway (development and tests)."""
    settings = _settings()
    _serve("local.gateway.app:create_app", settings.gateway_host, settings.gateway_port)


@migrate_app.command("up")
def migrate_up(revision: str = "head") -> None:
    """Bring the schema up to a revision, the newest by default."""
    from db import migrate

    migrate.upgrade(_joined_settings().admin_url, revision)
    typer.echo("schema is up to date")


@migrate_app.command("down")
def migrate_down(revision: Annotated[str, typer.Argument(help="Such as -1, a revision's id, or base.")]) -> None:
    """Take the schema back to a revision."""
    from db import migrate

    migrate.downgrade(_joined_settings().admin_url, revision)
    typer.echo(f"schema is at {revision}")


@migrate_app.command("status")
def migrate_status() -> None:
    """Say which migrations are applied, and which are not."""
    from db import migrate

    for line in migrate.status(_joined_settings().admin_url):
        typer.echo(line)


@app.command()
def seed() -> None:
    """Load the demo tenant, users, products and event. Repeating it changes nothing. Development only."""
    from db.seed import seed_demo
    from local.errors import LocalError

    settings = _joined_settings()
    if settings.env != "development":
        raise LocalError("the demo data has known passwords: it is loaded with HOLDFAST_ENV=development only")
    asyncio.run(seed_demo(settings.admin_url))
    typer.echo("demo data is in place")


@app.command()
def check() -> None:
    """Prove the invariants on the database. Exit 1 when one is broken, naming each."""
    from db.invariants import check as broken_invariants

    broken = asyncio.run(broken_invariants(_joined_settings().admin_url))
    for line in broken:
        typer.echo(line)
    typer.echo(f"{len(broken)} broken" if broken else "every invariant holds")
    raise typer.Exit(1 if broken else 0)


@app.command()
def demo() -> None:
    """Walk buyers through paying, cancelling and letting a hold expire, against the running system."""
    os.environ.setdefault("HOLDFAST_ENV", "development")  # Without it, a demo beside nothing asks for secrets.
    from local.demo import run

    asyncio.run(run(_joined_settings()))


def main() -> None:
    """Run the command line. What a person can put right ends with one clear message, not with a traceback."""
    try:
        app(prog_name="holdfast")
    except Exception as error:
        message = _for_a_person(error)
        if message is None:
            raise
        typer.echo(f"holdfast: {message}", err=True)
        sys.exit(1)


def _for_a_person(error: Exception) -> str | None:
    """The message of an error that the person at the keyboard can put right; None for one that is ours."""
    import psycopg
    import sqlalchemy.exc
    from pydantic import ValidationError

    from local.errors import LocalError

    if isinstance(error, LocalError):
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


def _joined_settings() -> Settings:
    """Settings for a command beside a running launcher: its addresses stand in for variables that are not set."""
    from local.instance import running_environment

    for name, value in running_environment(Path(os.environ.get("HOLDFAST_DATA_DIR", ".holdfast"))).items():
        os.environ.setdefault(name, value)
    return _settings()


def _serve(factory: str, host: str, port: int) -> None:
    import uvicorn

    uvicorn.run(factory, factory=True, host=host, port=port, loop="uvloop", http="httptools", server_header=False)


if __name__ == "__main__":
    main()
