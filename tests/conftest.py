"""Fixtures for every tier. Servers start once per session, and only when a test asks for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.postgres import Postgres
from local.temporal import TIME_SKIPPING, Temporal
from tests.support import servers


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for a private server (`servers.private_postgres(server_folder)`), removed at the end.

    Not pytest's tmp_path, which is closed to PostgreSQL's system user.
    """
    folder = servers.new_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's PostgreSQL, with the migrated template database. Never kill it: own a private one."""
    folder = servers.new_folder()
    server = servers.private_postgres(folder, servers.NO_POWER_CUTS)
    try:
        server.start()
        servers.create_template(server)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """A migrated, empty database of the test's own. libpq URL of the admin role `holdfast`."""
    name = servers.create_database(postgres)
    yield postgres.url(name)
    servers.drop_database(postgres, name)


@pytest.fixture(scope="session")
def temporal() -> Iterator[Temporal]:
    """The session's Temporal server, with time skipping allowed (runs that do not ask for it are as ever)."""
    folder = servers.new_folder()
    server = servers.private_temporal(folder, {**TIME_SKIPPING, **servers.MANY_NAMESPACES})
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def temporal_address(temporal: Temporal) -> str:
    """`host:port` of the session's Temporal server."""
    return temporal.address


@pytest.fixture
async def temporal_namespace(temporal_address: str, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own, so that no test sees another's runs or feeds another's worker."""
    return await servers.create_namespace(temporal_address, request.node.name)
