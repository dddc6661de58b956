"""A whole Holdfast per module of end-to-end tests, checked after every test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from local.postgres import Postgres
from local.temporal import Temporal
from tests.support import servers
from tests.support.system import System, running_system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_system(
    postgres: Postgres, temporal: Temporal, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[System]:
    """The module's own API, worker, gateway, database and namespace. Its FAULT_DELAY: of a gateway that is slow."""
    name = servers.create_database(postgres)
    namespace = await servers.create_namespace(temporal.address, request.node.name)
    folder = tmp_path_factory.mktemp("gateway")
    async with running_system(
        postgres.url(name), temporal.address, namespace, folder,
        fault_delay=getattr(request.module, "FAULT_DELAY", 2.5), delivery_timeout=6,
    ) as one:  # fmt: skip
        yield one
    servers.drop_database(postgres, name)


@pytest_asyncio.fixture(loop_scope="module")
async def system(shared_system: System) -> AsyncIterator[System]:
    """The module's system; when the test is over, all must come to rest with every invariant intact."""
    yield shared_system
    await shared_system.gateway.behave()
    await shared_system.gateway.fail()
    await shared_system.end_well()
