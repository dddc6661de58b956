"""The servers under the other tests: each test has its own place on them, and they survive what kill tests do."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from local.errors import PortBusy
from local.temporal import Temporal
from tests.support import servers


def test_a_killed_postgres_starts_again_on_the_same_data(server_folder: Path) -> None:
    server = servers.private_postgres(server_folder)
    server.start()
    try:
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        server.kill()
        assert not server.running
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url(), connect_timeout=2)
        server.start()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
    finally:
        server.stop()


def test_the_admin_role_is_no_superuser_but_may_make_roles_and_bypass_row_level_security(server_folder: Path) -> None:
    server = servers.private_postgres(server_folder)
    server.start()
    try:
        with psycopg.connect(server.url()) as connection:
            query = "SELECT rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = current_user"
            assert connection.execute(query).fetchone() == (False, True, True)
    finally:
        server.stop()


def test_a_server_is_not_taken_for_the_other_one_on_its_port(server_folder: Path) -> None:
    first = servers.private_temporal(server_folder / "one")
    second = Temporal(server_folder / "two", first.port, server_folder / "two.log")
    first.start()
    try:
        with pytest.raises(PortBusy, match=str(first.port)):
            second.start()
    finally:
        first.stop()


async def test_a_namespace_has_our_search_attributes_and_no_other_tests_runs(
    temporal_address: str, temporal_namespace: str
) -> None:
    client = await Client.connect(temporal_address, namespace=temporal_namespace)
    assert (await client.count_workflows("HoldfastTenant = 'demo' AND HoldfastAmount > 0")).count == 0
    with pytest.raises(RPCError, match="HoldfastUnknown"):
        await client.count_workflows("HoldfastUnknown = 'demo'")
