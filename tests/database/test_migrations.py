"""Migrations: up, down to nothing, up again, in turn, and never queueing the shop behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import psycopg
import pytest

from db import migrate
from db.invariants import check
from local.postgres import Postgres
from tests.support import servers

OBJECTS = """
    SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
    UNION ALL SELECT 'policy ' || polname FROM pg_policy
"""


@pytest.fixture
def empty_url(postgres: Postgres) -> Iterator[str]:
    """A database without a schema."""
    name = servers.create_database(postgres, template="template0")
    yield postgres.url(name)
    servers.drop_database(postgres, name)


def objects(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute(OBJECTS).fetchall()}


async def test_up_down_to_nothing_and_up_again_gives_the_same_schema(empty_url: str) -> None:
    assert [line.split()[0] for line in migrate.status(empty_url)] == ["pending"] * 11
    migrate.upgrade(empty_url)
    schema = objects(empty_url)
    assert [line.split(maxsplit=2) for line in migrate.status(empty_url)] == [
        ["applied", "0001", "Tenants, users, stock, checkouts, orders and payments."],
        ["applied", "0002", "Carts, the audit log, anonymous sessions, logins and revocations."],
        ["applied", "0003", "Events with numbered and general-admission zones, on the same stock items as products."],
        ["applied", "0004", "Settings of tenants, and their secrets, encrypted."],
        ["applied", "0005", "Limits on what one buyer or address may hold: counter rows."],
        ["applied", "0006", "Lines that come and go while a checkout is held, and the metadata that comes with them."],
        [
            "applied",
            "0007",
            "Payments as we know them: started, in flight, made by hand, refunded in part, matching no checkout.",
        ],
        [
            "applied",
            "0008",
            "Reconciliation: what was compared with the gateways' ledgers, and where they disagree with ours.",
        ],
        [
            "applied",
            "0009",
            "Fulfilment: where to write to a buyer, what was done for each order, tickets, statistics, and how a shop"
            " looks.",
        ],
        ["applied", "0010", "Taxes, fixed for each line at its lock, and fiscal numbers."],
        [
            "applied",
            "0011",
            "What a checkout went through, as its buyer is told; tenants' webhooks, and what is sent to them.",
        ],
    ]
    migrate.downgrade(empty_url, "base")
    left = {name for name in objects(empty_url) if "alembic_version" not in name}
    assert left == set()
    migrate.upgrade(empty_url)
    assert objects(empty_url) == schema
    assert await check(empty_url, quiet=True) == []


def test_migrating_what_is_migrated_changes_nothing(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    schema = objects(empty_url)
    migrate.upgrade(empty_url)
    assert objects(empty_url) == schema


async def test_two_deployments_at_once_take_turns(empty_url: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrate.upgrade, empty_url) for _ in range(3)))
    assert migrate.status(empty_url)[0].startswith("applied")


def test_a_migration_that_cannot_have_its_lock_gives_up_and_changes_nothing(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "DDL_LOCK_TIMEOUT", "300ms")
    migrate.upgrade(empty_url)
    migrate.downgrade(empty_url, "0003")  # Whose own way down needs the table that is locked here.
    schema = objects(empty_url)
    with psycopg.connect(empty_url) as buyer:
        buyer.execute("SELECT FROM checkout_lines")
        began = time.monotonic()
        with pytest.raises(Exception, match="lock timeout"):
            migrate.downgrade(empty_url, "base")
        assert time.monotonic() - began < 3
    assert objects(empty_url) == schema


def test_a_url_that_is_not_postgresqls_is_refused() -> None:
    with pytest.raises(ValueError, match="postgresql://"):
        migrate.status("sqlite:///x.db")
