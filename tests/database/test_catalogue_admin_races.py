"""Administrators against buyers and each other: real concurrency, and answers that get lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
import pytest

from db.catalogue import find_product
from db.catalogue_admin import NewProduct, ProductChanges, change_product, create_product, delete_product
from db.database import Database, Transaction
from db.reserve import reserve
from domain.checkout import CheckoutStatus
from domain.errors import NotFound, ProductExists, ProductHeld, TotalBelowCommitted
from domain.ids import ProductId, TenantId
from tests.support import shop
from tests.support.catalogue import ADMIN
from tests.support.checkouts import Rows, a_start, opened
from tests.support.races import deadlocks

T = TypeVar("T")


AT_ONCE = 4
"""Few, so that the administrator has a turn among the buyers and not after them all."""


class LosesAnswers(Database):
    """Commits, and then loses the connection before the answer has come: the first time only."""

    lost = False

    async def transact(self, tenant: TenantId, work: Callable[[Transaction], Awaitable[T]]) -> T:
        async def and_lose(transaction: Transaction) -> T:
            done = await work(transaction)
            if not self.lost:
                self.lost = True
                raise psycopg.OperationalError("the answer is lost")
            return done

        return await super().transact(tenant, and_lose)


@pytest.mark.parametrize(("total", "turn"), [(0, 0), (5, 1), (5, 4), (12, 8), (12, 16)])
async def test_a_total_lowered_against_20_starts_neither_oversells_nor_deadlocks(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, total: int, turn: int
) -> None:
    product, other = [await shop.make_product(admin, tenant, stock=20) for _ in range(2)]
    before = await deadlocks(rows)
    async with opened(database_url, size=AT_ONCE) as db:

        async def lower() -> None:
            with contextlib.suppress(TotalBelowCommitted):  # More than that may be held by then.
                await change_product(db, tenant, ADMIN, product, ProductChanges(stock_total=total))

        lines = [{product: 1, other: 1}, {other: 1, product: 1}] * 10
        starts = [reserve(db, a_start(tenant, one, patience=60)) for one in lines]
        ended = await asyncio.gather(*starts[:turn], lower(), *starts[turn:])
        read = await find_product(db, tenant, product)
    held = sum(one is not None and one.status is CheckoutStatus.HELD for one in ended)
    assert read is not None
    assert read.total in (total, 20)
    assert (held, read.reserved) == (read.total, read.total)
    assert await rows.stock(tenant, other) == (20 - held, held, 0)
    assert await deadlocks(rows) == before


async def test_a_start_that_waits_for_a_product_being_deleted_finds_it_sold_out(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=20)
    async with opened(database_url) as db, shop.connect(database_url) as slow:
        await slow.execute("BEGIN")
        await slow.execute("SELECT FROM stock_items FOR NO KEY UPDATE")
        deleting = asyncio.create_task(delete_product(db, tenant, ADMIN, product))
        await rows.until_somebody_waits_for_a_lock()
        starts = [asyncio.create_task(reserve(db, a_start(tenant, {product: 1}))) for _ in range(3)]
        await asyncio.sleep(0.2)
        await slow.execute("COMMIT")
        await deleting
        started = await asyncio.gather(*starts)
    assert {one.status for one in started} == {CheckoutStatus.REFUSED}
    assert await rows.value("SELECT count(*) FROM checkout_lines") == 0
    assert await rows.all("SELECT total, reserved FROM stock_items") == [{"total": 0, "reserved": 0}]


@pytest.mark.parametrize("turn", range(5))
async def test_a_deletion_among_20_starts_is_wholly_before_or_after_each(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, turn: int
) -> None:
    product = await shop.make_product(admin, tenant, stock=20)
    before, refused = await deadlocks(rows), False
    async with opened(database_url, size=AT_ONCE) as db:

        async def delete() -> None:
            nonlocal refused
            try:
                await delete_product(db, tenant, ADMIN, product)
            except ProductHeld:
                refused = True

        starts = [reserve(db, a_start(tenant, {product: 1}, patience=60)) for _ in range(20)]
        ended = await asyncio.gather(*starts[:turn], delete(), *starts[turn:])
        is_there = await find_product(db, tenant, product) is not None
    assert is_there == refused
    assert {one.status for one in ended if one} == {CheckoutStatus.HELD if is_there else CheckoutStatus.REFUSED}
    assert await deadlocks(rows) == before


async def test_20_products_created_at_once_have_20_numbers(database_url: str, rows: Rows, tenant: TenantId) -> None:
    before = await deadlocks(rows)
    async with opened(database_url, size=20) as db:
        makes = [create_product(db, tenant, ADMIN, NewProduct("Mug", 1, stock_total=number)) for number in range(20)]
        made = await asyncio.gather(*makes)
    assert sorted(one.id for one in made) == list(range(1, 21))
    assert sorted(one.total for one in made) == list(range(20))
    assert await deadlocks(rows) == before


async def test_of_10_creations_that_choose_one_id_one_succeeds(database_url: str, rows: Rows, tenant: TenantId) -> None:
    async with opened(database_url, size=10) as db:
        makes = [create_product(db, tenant, ADMIN, NewProduct("Mug", 1, id=ProductId(7))) for _ in range(10)]
        ended = await asyncio.gather(*makes, return_exceptions=True)
    assert sum(isinstance(one, ProductExists) for one in ended) == 9
    assert await rows.value("SELECT count(*) FROM stock_items") == 1


async def test_an_import_that_takes_the_number_in_the_same_instant_is_gone_past(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    async with opened(database_url) as db, shop.connect(database_url) as importer:
        await importer.execute("BEGIN")
        assert await shop.make_product(importer, tenant) == 1
        creating = asyncio.create_task(create_product(db, tenant, ADMIN, NewProduct("Mug", 1)))
        await rows.until_somebody_waits_for_a_lock()
        await importer.execute("COMMIT")
        assert (await creating).id == 2
    assert await rows.value("SELECT count(*) FROM audit_log") == 1


async def test_50_changes_at_once_are_each_in_the_audit_log_as_one_after_another(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, price=1)
    async with opened(database_url, size=16) as db:
        changes = [change_product(db, tenant, ADMIN, product, ProductChanges(price=price)) for price in range(2, 52)]
        await asyncio.gather(*changes)
    noted = await rows.all("SELECT before, after FROM audit_log ORDER BY id")
    prices = [1, *(row["after"]["price"] for row in noted)]
    assert [row["before"]["price"] for row in noted] == prices[:-1]
    assert sorted(prices) == list(range(1, 52))
    assert await rows.value("SELECT price FROM products") == prices[-1]


@pytest.mark.parametrize("chosen", [None, ProductId(9)])
async def test_a_creation_whose_answer_was_lost_makes_one_product(
    database_url: str, rows: Rows, tenant: TenantId, chosen: ProductId | None
) -> None:
    db = LosesAnswers(database_url)
    await db.open()
    try:
        made = await create_product(db, tenant, ADMIN, NewProduct("Mug", 2000, id=chosen))
        assert db.lost
        assert (made.id, made.name) == (chosen or 1, "Mug")
        assert await rows.value("SELECT count(*) FROM products") == 1
        assert await rows.value("SELECT count(*) FROM audit_log") == 1
    finally:
        await db.close()


async def test_a_change_or_deletion_whose_answer_was_lost_is_made_once(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant)
    db = LosesAnswers(database_url)
    await db.open()
    try:
        assert (await change_product(db, tenant, ADMIN, product, ProductChanges(price=7))).price == 7
        assert db.lost
        db.lost = False
        await delete_product(db, tenant, ADMIN, product)
        assert db.lost
        with pytest.raises(NotFound):
            await delete_product(db, tenant, ADMIN, product)
    finally:
        await db.close()
    actions = [row["action"] for row in await rows.all("SELECT action FROM audit_log ORDER BY id")]
    assert actions == ["product.changed", "product.deleted"]
