"""300 buyers race for 50 units, and the same race without the guard, which must be seen to oversell."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from db.invariants import check
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import TenantId
from local.postgres import Postgres
from tests.support import servers, shop
from tests.support.checkouts import Rows, a_capture, a_start, cancel, confirm, opened
from tests.support.races import deadlocks, make_race_products, race_starts, run_race

OVERSELLING_CHECKS = ("stock_items_never_oversold", "stock_items_reserved_not_negative")


@pytest.mark.parametrize("seed", [1, 2])
async def test_300_buyers_of_50_units_hold_all_of_them_and_none_twice_without_a_deadlock(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, seed: int
) -> None:
    print(f"seed {seed}")
    products = await make_race_products(admin, tenant)
    starts = race_starts(tenant, products, seed)
    before = await deadlocks(rows)
    statuses = await run_race(database_url, starts)
    assert len(statuses) == 300
    assert set(statuses) == {CheckoutStatus.HELD, CheckoutStatus.REFUSED}
    assert [await rows.stock(tenant, product) for product in products] == [(0, 10, 0)] * 5
    held = [start for start, status in zip(starts, statuses, strict=True) if status is CheckoutStatus.HELD]
    assert sum(line.quantity for start in held for line in start.lines) == 50
    assert await deadlocks(rows) == before


async def test_the_same_race_without_the_guard_oversells_and_the_checker_sees_it(postgres: Postgres) -> None:
    name = servers.create_database(postgres)
    try:
        async with shop.connect(postgres.url(name)) as admin:
            for constraint in OVERSELLING_CHECKS:
                await admin.execute(f"ALTER TABLE stock_items DROP CONSTRAINT {constraint}")
            tenant = await shop.make_tenant(admin)
            products = await make_race_products(admin, tenant)
            statuses = await run_race(postgres.url(name), race_starts(tenant, products, seed=1), guard="true")
            free = [(await Rows(admin).stock(tenant, product))[0] for product in products]
        assert statuses == [CheckoutStatus.HELD] * 300
        assert all(units < 0 for units in free)
        violations = await check(postgres.url(name))
        assert sum("reserved + sold never exceeds its total" in violation for violation in violations) == 5
    finally:
        servers.drop_database(postgres, name)


async def test_without_the_guard_the_constraint_still_refuses_to_oversell(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    products = await make_race_products(admin, tenant)
    with pytest.raises(psycopg.errors.CheckViolation, match="stock_items_never_oversold"):
        await run_race(database_url, [a_start(tenant, {products[0]: 11})], guard="true")
    assert await rows.stock(tenant, products[0]) == (10, 0, 0)


async def test_a_deadlock_would_be_counted(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    await make_race_products(admin, tenant)
    before = await deadlocks(rows)
    gate = asyncio.Barrier(2)

    async def lock_two(ids: tuple[int, int]) -> None:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            await connection.execute("SELECT FROM stock_items WHERE id = %s FOR UPDATE", (ids[0],))
            await gate.wait()
            await connection.execute("SELECT FROM stock_items WHERE id = %s FOR UPDATE", (ids[1],))

    ended = await asyncio.gather(lock_two((1, 2)), lock_two((2, 1)), return_exceptions=True)
    assert [type(error) for error in ended if error] == [psycopg.errors.DeadlockDetected]
    assert await deadlocks(rows) == before + 1


async def test_a_race_of_confirming_cancelling_and_starting_buyers_ends_with_every_unit_accounted_for(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    products = await make_race_products(admin, tenant)
    starts = race_starts(tenant, products, seed=3)
    before = await deadlocks(rows)
    places = asyncio.Semaphore(20)
    async with opened(database_url, size=20) as db:

        async def one(number: int) -> None:
            start = starts[number]
            async with places:
                started = await reserve(db, start)
                if started.status is CheckoutStatus.HELD and number % 3 == 0:
                    await settle(db, confirm(start.ref, a_capture(start.checkout_id, started.total)))
                elif started.status is CheckoutStatus.HELD:
                    await settle(db, cancel(start.ref))

        await asyncio.gather(*map(one, range(300)))
    orders = await rows.value("SELECT coalesce(sum(quantity), 0) FROM order_lines")
    stock = [await rows.stock(tenant, product) for product in products]
    assert orders == sum(sold for _, _, sold in stock) > 0
    assert all(reserved == 0 for _, reserved, _ in stock)
    assert await deadlocks(rows) == before
