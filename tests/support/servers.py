"""Real servers for tests: PostgreSQL with a migrated template database, Temporal with a namespace per test.

A test that kills a server owns a private one: `private_postgres(folder)` and `private_temporal(folder)` are not yet
started; each has `start()`, `stop()`, `kill()` (kill -9 of the whole server) and starts again on the same data
and port.
Servers die with the test process, however it ends.
"""

from __future__ import annotations

import itertools
import re
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from domain import search_attributes
from local.ports import free_port
from local.postgres import Postgres
from local.temporal import Temporal

TEMPLATE = "holdfast_template"
MANY_NAMESPACES = {"frontend.rps.namespaceReplicationInducingAPIs": "1000", "worker.perNamespaceWorkerCount": "0"}
"""For the session's server only. Its limit on making namespaces (20 at once) is below what a session makes; a system
worker in each one costs a fifth of a core at 200, so there is none: tests of Schedules and of worker deployments, which
it serves, own a private server."""

NO_POWER_CUTS = {"fsync": "off", "full_page_writes": "off"}
"""For the session's server only, which makes a database per test. Only a crash of the machine tells the difference."""

_counter = itertools.count(1)


def new_folder() -> Path:
    """A temporary folder that PostgreSQL's system user can pass through. The caller removes it."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    folder.chmod(0o755)
    return folder


def private_postgres(folder: Path, settings: Mapping[str, str] | None = None) -> Postgres:
    """A server of the test's own, on a free port, not yet started. `folder`: as `new_folder` makes it."""
    return Postgres(folder, free_port(), folder / "postgres.log", settings or {})


def private_temporal(folder: Path, dynamic_config: Mapping[str, str] | None = None) -> Temporal:
    """A server of the test's own, on a free port, not yet started."""
    return Temporal(folder, free_port(), folder / "temporal.log", dynamic_config=dynamic_config or {})


def create_template(postgres: Postgres) -> None:
    """A database with the schema of the newest migration and no rows, that every test's database is a copy of."""
    from db import migrate

    _run(postgres, "CREATE DATABASE {} OWNER holdfast", TEMPLATE)
    migrate.upgrade(postgres.url(TEMPLATE))


def create_database(postgres: Postgres, template: str = TEMPLATE) -> str:
    """A new database, a copy of the template. Gives its name."""
    name = f"test_{next(_counter)}_{uuid.uuid4().hex[:8]}"
    _run(postgres, "CREATE DATABASE {} TEMPLATE {} OWNER holdfast", name, template)
    return name


def drop_database(postgres: Postgres, name: str) -> None:
    """Drop it, also from under connections that a test left open."""
    _run(postgres, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _run(postgres: Postgres, statement: str, *names: str) -> None:
    with psycopg.connect(postgres.superuser_url(), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


async def create_namespace(address: str, test_name: str) -> str:
    """A new namespace with our search attributes, about 10 ms; its name says which test it was made for."""
    name = f"{re.sub('[^a-z0-9]+', '-', test_name.lower())[:60].strip('-')}-{uuid.uuid4().hex[:8]}"
    client = await Client.connect(address)
    request = RegisterNamespaceRequest(namespace=name)
    request.workflow_execution_retention_period.FromSeconds(24 * 3600)
    await client.workflow_service.register_namespace(request)
    types = {
        attribute: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
        for attribute, kind in search_attributes.TYPES.items()
    }
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=name, search_attributes=types)
    )
    return name
