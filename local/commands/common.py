"""What the command line's groups share: settings, who acts, for which tenant, on which database."""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from activities.delivery import Delivery
    from db.database import Database
    from domain.ids import Actor, TenantId
    from settings import Settings

TenantOption = Annotated[str | None, typer.Option("--tenant", help="Default: HOLDFAST_DEFAULT_TENANT.")]


def joined_settings() -> Settings:
    """Settings for a command beside a running launcher: its addresses stand in for variables that are not set."""
    from local.instance import running_environment
    from settings import Settings

    for name, value in running_environment(Path(os.environ.get("HOLDFAST_DATA_DIR", ".holdfast"))).items():
        os.environ.setdefault(name, value)
    return Settings()


def actor() -> Actor:
    """How the audit log names who runs the command: `cli:<user of the operating system>`."""
    from domain.ids import Actor

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # A container may run as a number without a name.
        name = str(os.getuid())
    return Actor(f"cli:{name}")


@asynccontextmanager
async def tenant_database(settings: Settings, tenant: str | None) -> AsyncIterator[tuple[Database, TenantId]]:
    """The database as the application has it, and the tenant (the default one when None).

    Raises LocalError when there is no such tenant, and for what the work inside refuses (any HoldfastError but
    Unavailable, which has a message of its own).
    """
    from db.database import Database
    from db.users import tenant_exists
    from domain.errors import HoldfastError, Unavailable
    from domain.ids import TenantId
    from local.errors import LocalError

    wanted = TenantId(tenant or settings.default_tenant)
    db = Database(settings.database_url.get_secret_value(), size=1, name="holdfast-cli")
    await db.open()
    try:
        if not await tenant_exists(db, wanted):
            raise LocalError(f"there is no tenant {wanted!r}")
        yield db, wanted
    except Unavailable:
        raise
    except HoldfastError as error:
        raise LocalError(error.detail) from error
    finally:
        await db.close()


@asynccontextmanager
async def tenant_delivery(tenant: str | None) -> AsyncIterator[tuple[Database, TenantId, Delivery]]:
    """The database and the tenant, as `tenant_database`, and what hands over to workflows.

    Of a Temporal that is down, its methods tell (Unavailable).
    """
    from activities.delivery import Delivery
    from api import temporal

    settings = joined_settings()
    async with tenant_database(settings, tenant) as (db, owner):
        client = await temporal.connect(f"127.0.0.1:{settings.temporal_port}", lazy=True)
        yield db, owner, Delivery(db, client, settings.task_queue)
