"""Many confirms at once, some of which die: no gap, no duplicate, times in order."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import psycopg
import pytest
from psycopg import errors

from db import settle as settle_module
from db.database import Database, Transaction
from db.fiscal import add_range
from db.fiscal_report import report
from db.fiscal_sql import NUMBER_ORDER
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.errors import Unavailable
from domain.ids import BuyerKey, ProductId, TenantId
from domain.messages import Settled, SettleRequest, StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, confirm, opened
from tests.support.fiscal import BOSS, NUMBERS, SERIES, a_range, numbers, use_series
from tests.support.races import deadlocks
from tests.support.waiting import eventually

ORDERS = 200
SEED = 20261122


async def holds(db: Database, tenant: TenantId, products: list[ProductId], count: int) -> list[StartCheckout]:
    """Live holds of many buyers, each of two of the products in a random order."""
    dice = random.Random(SEED)
    starts = [
        a_start(tenant, dict.fromkeys(dice.sample(products, 2), 1), buyer=BuyerKey(f"user:{number}"), patience=60)
        for number in range(count)
    ]
    for start in starts:
        assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return starts


@pytest.fixture
async def products(admin: shop.Connection, tenant: TenantId) -> list[ProductId]:
    return [await shop.make_product(admin, tenant, stock=1000) for _ in range(5)]


async def until_confirmed(db: Database, start: StartCheckout) -> None:
    """As the workflow does: again and again, until the answer comes."""
    request = confirm(start.ref, a_capture(start.checkout_id, 2000))
    for _ in range(200):
        try:
            assert (await settle(db, request)).status is CheckoutStatus.CONFIRMED
            return
        except (Unavailable, RollsBack, psycopg.Error):
            await asyncio.sleep(0.02)
    raise AssertionError("it was never confirmed")


class RollsBack(Exception):
    """What a process dies of after it wrote and before it committed."""


def dying(dice: random.Random) -> Any:
    """A commit that in a third of all cases sends all but the COMMIT, and then rolls back or loses its connection."""
    commit = Transaction.commit

    async def maybe(transaction: Transaction, *statements: Any) -> Any:
        if not statements or dice.random() > 1 / 3:
            return await commit(transaction, *statements)
        await transaction.read(*statements)
        if dice.random() < 0.5:
            raise RollsBack
        await transaction.read(("SELECT pg_terminate_backend(pg_backend_pid())", {}))
        raise AssertionError("the connection is gone")

    return maybe


async def kill_some(admin_url: str, stop: asyncio.Event, dice: random.Random) -> int:
    """End connections of the race in the middle of whatever they do, now and then; how many."""
    killed = 0
    pick = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'holdfast-test'"
        " AND state <> 'idle'"
    )
    async with shop.connect(admin_url) as connection:
        while not stop.is_set():
            pids = [pid for (pid,) in await (await connection.execute(pick)).fetchall()]
            for pid in dice.sample(pids, min(1, len(pids))):
                await connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
                killed += 1
            await asyncio.sleep(0.05)
    return killed


async def _are_more_than(rows: Rows, orders: int) -> bool:
    return bool(await rows.value("SELECT count(*) FROM orders") > orders)


async def test_200_confirms_at_once_of_which_many_die_leave_no_gap_and_no_duplicate(
    database_url: str,
    admin: shop.Connection,
    db: Database,
    rows: Rows,
    tenant: TenantId,
    products: list[ProductId],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    print(f"seed {SEED}")
    await use_series(db, tenant, a_range(1, 10_000))
    starts = await holds(db, tenant, products, ORDERS)
    monkeypatch.setattr(Transaction, "commit", dying(random.Random(SEED)))
    stop = asyncio.Event()
    async with opened(database_url, size=16) as many:
        killer = asyncio.create_task(kill_some(database_url, stop, random.Random(SEED)))
        await asyncio.gather(*(until_confirmed(many, start) for start in starts))
        stop.set()
        assert await killer > 0
    monkeypatch.undo()
    assert await numbers(rows, tenant) == [f"F-{number:06d}" for number in range(1, ORDERS + 1)]
    found = await rows.all(NUMBERS, tenant)
    times = [row["at"] for row in found]
    assert times == sorted(set(times))
    [told] = await report(db, tenant)
    assert told.good
    assert (told.issued, told.series.next_number) == (ORDERS, ORDERS + 1)
    await db.close()
    assert await deadlocks(rows) == 0


async def test_a_range_takes_over_in_the_middle_of_50_confirms_at_once(
    database_url: str, db: Database, rows: Rows, tenant: TenantId, products: list[ProductId]
) -> None:
    await use_series(db, tenant, a_range(1, 20), a_range(101, 110), a_range(1001, 2000))
    starts = await holds(db, tenant, products, 50)
    async with opened(database_url, size=16) as many:
        await asyncio.gather(*(until_confirmed(many, start) for start in starts))
    expected = [*range(1, 21), *range(101, 111), *range(1001, 1021)]
    assert await numbers(rows, tenant) == [f"F-{number:06d}" for number in expected]
    await db.close()
    assert await deadlocks(rows) == 0


async def test_a_range_that_comes_while_orders_wait_and_more_are_confirmed_keeps_the_order(
    database_url: str, db: Database, rows: Rows, tenant: TenantId, products: list[ProductId]
) -> None:
    await use_series(db, tenant, a_range(1, 10))
    starts = await holds(db, tenant, products, 60)
    async with opened(database_url, size=16) as many:
        confirms = [asyncio.create_task(until_confirmed(many, start)) for start in starts]
        await eventually(lambda: _are_more_than(rows, 24))
        assert await rows.value("SELECT waiting FROM fiscal_series") > 0
        await add_range(db, tenant, BOSS, SERIES, a_range(11, 30))
        await add_range(db, tenant, BOSS, SERIES, a_range(31, 500))
        await asyncio.gather(*confirms)
    assert await numbers(rows, tenant) == [f"F-{number:06d}" for number in range(1, 61)]
    await db.close()
    assert await deadlocks(rows) == 0


async def test_a_queue_is_filled_beside_refunds_that_hold_its_orders(
    database_url: str, db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, products: list[ProductId]
) -> None:
    """Who fills waits for the order's row before it has the series: those who confirm meanwhile are not kept back."""
    await use_series(db, tenant)
    first, second = await holds(db, tenant, products, 2)
    await until_confirmed(db, first)
    async with shop.connect(database_url) as other:
        async with other.transaction():
            await other.execute("SELECT 1 FROM orders FOR UPDATE")
            adding = asyncio.create_task(add_range(db, tenant, BOSS, SERIES, a_range(1, 9)))
            await rows.until_somebody_waits_for_a_lock()
            await until_confirmed(db, second)
            assert await numbers(rows, tenant) == [None, None]
        await adding
    assert await numbers(rows, tenant) == ["F-000001", "F-000002"]


async def test_without_the_counters_lock_numbers_would_be_given_twice(
    database_url: str, db: Database, tenant: TenantId, products: list[ProductId], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows that the race above would see it: the unique key refuses what the missing lock lets through."""
    refused = 0
    once = settle_module._settle

    async def counted(db: Database, request: SettleRequest) -> Settled:
        nonlocal refused
        try:
            return await once(db, request)
        except errors.UniqueViolation:
            refused += 1
            raise

    monkeypatch.setattr(settle_module, "NUMBER", [NUMBER_ORDER])
    monkeypatch.setattr(settle_module, "_settle", counted)
    await use_series(db, tenant, a_range(1, 1000))
    starts = await holds(db, tenant, products, 60)
    async with opened(database_url, size=16) as many:
        await asyncio.gather(*(until_confirmed(many, start) for start in starts))
    assert refused > 0
