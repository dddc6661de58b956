"""PostgreSQL restarts, stays away, comes back; clients freeze with locks in hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from db import database, migrate
from db.database import TRANSACTION_TIMEOUT_MS, Database, Transaction
from db.invariants import check
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.errors import Unavailable
from domain.ids import ProductId, TenantId
from domain.messages import StartCheckout
from local.postgres import Postgres
from tests.support import servers, shop
from tests.support.checkouts import a_start, cancel, opened
from tests.support.waiting import eventually

LONGEST_ANSWER = 5.0
"""Seconds that a caller may have to wait for a yes or a no."""


@pytest.fixture
def server(server_folder: Path) -> Iterator[Postgres]:
    """A server of the test's own, migrated."""
    server = servers.private_postgres(server_folder, servers.NO_POWER_CUTS)
    server.start()
    migrate.upgrade(server.url())
    yield server
    server.stop()


@pytest.fixture
async def held(server: Postgres) -> AsyncIterator[tuple[Database, StartCheckout, ProductId]]:
    """A database with a hold, on the private server."""
    async with shop.connect(server.url()) as admin:
        tenant = await shop.make_tenant(admin)
        product = await shop.make_product(admin, tenant, stock=5)
    start = a_start(tenant, {product: 1})
    async with opened(server.url(), size=4) as db:
        await reserve(db, start)
        yield db, start, product
        assert await check(server.url()) == []


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_the_pool_survives_a_restart_and_an_outage(
    server: Postgres, held: tuple[Database, StartCheckout, ProductId], how: str
) -> None:
    db, start, product = held
    await asyncio.gather(*(reserve(db, start) for _ in range(4)))  # Every connection of the pool is in use once.
    getattr(server, how)()
    server.start()
    assert (await reserve(db, a_start(start.tenant, {product: 1}))).status is CheckoutStatus.HELD
    getattr(server, how)()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await reserve(db, a_start(start.tenant, {product: 1}))
    assert time.monotonic() - began < LONGEST_ANSWER
    with pytest.raises(Unavailable):
        await db.ping()
    server.start()

    async def answers() -> bool:
        try:
            return (await settle(db, cancel(start.ref))).status is CheckoutStatus.CANCELLED
        except Unavailable:
            return False

    await eventually(answers, seconds=10)


async def test_a_frozen_client_with_a_lock_delays_the_others_no_longer_than_the_timeouts(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant)
    start = a_start(tenant, {product: 1})
    await reserve(db, start)
    frozen = asyncio.Event()

    async def freeze(transaction: Transaction) -> None:
        await transaction.read(("SELECT FROM checkouts FOR UPDATE", {}), ("SELECT FROM stock_items FOR UPDATE", {}))
        frozen.set()
        await asyncio.sleep(60)

    freezing = asyncio.create_task(db.transact(tenant, freeze))
    await frozen.wait()
    began = time.monotonic()
    for attempt in (settle(db, cancel(start.ref)), reserve(db, a_start(tenant, {product: 1}))):
        with pytest.raises(Unavailable):
            await asyncio.wait_for(attempt, LONGEST_ANSWER)
    assert time.monotonic() - began < LONGEST_ANSWER
    await asyncio.sleep(TRANSACTION_TIMEOUT_MS / 1000 - (time.monotonic() - began))
    assert (await settle(db, cancel(start.ref))).status is CheckoutStatus.CANCELLED
    freezing.cancel()
    await asyncio.gather(freezing, return_exceptions=True)


async def test_who_was_frozen_hears_that_the_database_was_not_to_be_had(
    database_url: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_LIMIT_TRANSACTIONS", "SELECT set_config('transaction_timeout', '150', false)")

    async def freeze(transaction: Transaction) -> None:
        await transaction.read(("SELECT 1", {}))
        await asyncio.sleep(0.4)
        await transaction.commit(("SELECT 1", {}))

    async with opened(database_url) as db:
        with pytest.raises(Unavailable):
            await db.transact(tenant, freeze)


async def test_a_statement_that_takes_too_long_is_given_up_without_a_second_try(db: Database, tenant: TenantId) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await db.run(tenant, ("SELECT pg_sleep(20)", {}))
    assert 1.9 < time.monotonic() - began < 3.5


async def test_a_full_pool_refuses_in_time(database_url: str, tenant: TenantId) -> None:
    async with opened(database_url, size=1) as db:
        slow = asyncio.create_task(db.run(tenant, ("SELECT pg_sleep(1.9)", {})))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await db.ping()
        assert time.monotonic() - began < 2
        await slow


async def test_a_fault_of_ours_is_not_hidden_as_an_outage(db: Database, tenant: TenantId) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        await db.run(tenant, ("SELECT * FROM nothing_such", {}))
    await db.ping()
