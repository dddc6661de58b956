"""Giving an order's stock back: sold → available, once, and what was given back can be sold again."""

from __future__ import annotations

import asyncio
import random
import uuid

import psycopg
import pytest

from db.database import Database
from db.events import NO_SEAT, list_seats
from db.order_returns import NewReturn, return_stock
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.errors import IdempotencyKeyReused, Invalid, NotFound, ReturnExceedsOrder
from domain.ids import OrderId, ProductId, TenantId
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, cancel, opened
from tests.support.races import by_somebody, deadlocks
from tests.support.sales import OPERATOR, Sale, a_sale, a_ticket_sale
from tests.support.venues import a_seat, make_seats, make_zone, places, start_of


@pytest.fixture
async def products(admin: shop.Connection, tenant: TenantId) -> list[ProductId]:
    return [await shop.make_product(admin, tenant, stock=10, price=1000) for _ in range(2)]


@pytest.fixture
async def sale(db: Database, tenant: TenantId, products: list[ProductId]) -> Sale:
    """Three units of the first product (line 1), two of the second (line 2)."""
    return await a_sale(db, tenant, dict(zip(products, (3, 2), strict=True)))


def a_return(sale: Sale, lines: dict[int, int] | None = None, key: str | None = None, same: str = "f") -> NewReturn:
    return NewReturn(sale.order, key or uuid.uuid4().hex, same, lines)


async def returned(rows: Rows, sale: Sale) -> list[int]:
    query = "SELECT returned FROM order_lines WHERE order_id = %s ORDER BY position"
    return [row["returned"] for row in await rows.all(query, sale.order)]


async def test_units_of_a_line_go_back_on_sale_and_the_order_says_so(
    db: Database, rows: Rows, tenant: TenantId, products: list[ProductId], sale: Sale
) -> None:
    assert await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 2})) == {1: 2}
    assert await rows.stock(tenant, products[0]) == (9, 0, 1)
    assert await rows.stock(tenant, products[1]) == (8, 0, 2)
    assert await returned(rows, sale) == [2, 0]
    assert await rows.value("SELECT refunded FROM orders") == 0, "no refund is part of it"
    [noted] = await rows.all("SELECT * FROM audit_log WHERE action = 'order.stock_returned'")
    assert (noted["actor"], noted["subject"], noted["after"]) == (
        OPERATOR,
        f"order:{sale.order}",
        {"returned": {"1": 2}},
    )


async def test_without_lines_all_that_was_not_given_back_yet_goes_back(
    db: Database, rows: Rows, tenant: TenantId, products: list[ProductId], sale: Sale
) -> None:
    await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 1}))
    assert await return_stock(db, tenant, OPERATOR, a_return(sale)) == {1: 2, 2: 2}
    assert [await rows.stock(tenant, product) for product in products] == [(10, 0, 0)] * 2
    assert await return_stock(db, tenant, OPERATOR, a_return(sale)) == {}
    assert await rows.value("SELECT count(*) FROM audit_log WHERE action = 'order.stock_returned'") == 2


async def test_a_repeat_has_no_effect_and_another_body_is_refused(
    db: Database, rows: Rows, tenant: TenantId, sale: Sale
) -> None:
    await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 1}, key="k"))
    assert await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 1}, key="k")) == {}
    assert await returned(rows, sale) == [1, 0]
    with pytest.raises(IdempotencyKeyReused):
        await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 2}, key="k", same="g"))


async def test_more_than_a_line_has_left_is_refused_and_nothing_goes_back(
    db: Database, rows: Rows, tenant: TenantId, sale: Sale
) -> None:
    await return_stock(db, tenant, OPERATOR, a_return(sale, {2: 1}))
    with pytest.raises(ReturnExceedsOrder) as refused:
        await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 1, 2: 2}))
    assert refused.value.extra == {"line": 2, "left": 1}
    with pytest.raises(Invalid, match="lines"):
        await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 1, 3: 1}))
    assert await returned(rows, sale) == [0, 1]


async def test_an_order_that_is_not_there_or_anothers_is_not_found(
    db: Database, admin: shop.Connection, tenant: TenantId, sale: Sale
) -> None:
    other = await shop.make_tenant(admin)
    for owner, order in ((tenant, OrderId(str(uuid.uuid4()))), (other, sale.order)):
        with pytest.raises(NotFound):
            await return_stock(db, owner, OPERATOR, NewReturn(order, "k", "f"))


async def test_a_seat_that_was_given_back_is_free_and_can_be_sold_and_given_back_again(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, [seat, other] = await make_seats(admin, tenant, rows=1, per_row=2)
    for times in range(1, 4):
        sale = await a_ticket_sale(db, tenant, a_seat(seat), a_seat(other))
        assert (await reserve(db, start_of(tenant, a_seat(seat)))).status is CheckoutStatus.REFUSED
        assert await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 1})) == {1: 1}
        assert await return_stock(db, tenant, OPERATOR, a_return(sale, {2: 1})) == {2: 1}
        seen = await list_seats(db, tenant, zone, NO_SEAT, 10)
        assert seen is not None
        assert [one["status"] for one in seen.seats] == ["free", "free"]
        assert await rows.value("SELECT count(*) FROM order_lines WHERE seat_id = %s", seat) == times
    last = await a_ticket_sale(db, tenant, a_seat(seat))
    assert await returned(rows, last) == [0]


async def test_places_of_a_zone_go_back_too(db: Database, admin: shop.Connection, tenant: TenantId) -> None:
    zone = await make_zone(admin, tenant, capacity=3)
    sale = await a_ticket_sale(db, tenant, places(zone, 3))
    assert (await reserve(db, start_of(tenant, places(zone, 1)))).status is CheckoutStatus.REFUSED
    await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 2}))
    assert (await reserve(db, start_of(tenant, places(zone, 3)))).status is CheckoutStatus.REFUSED
    held = start_of(tenant, places(zone, 2))
    assert (await reserve(db, held)).status is CheckoutStatus.HELD
    await settle(db, cancel(held.ref))


async def test_what_many_give_back_at_once_goes_back_once(
    database_url: str, rows: Rows, tenant: TenantId, products: list[ProductId], sale: Sale
) -> None:
    async def one(db: Database) -> int:
        try:
            return sum((await return_stock(db, tenant, OPERATOR, a_return(sale, {1: 2}))).values())
        except ReturnExceedsOrder:
            return 0

    async with opened(database_url, size=20) as db:
        given = await asyncio.gather(*(one(db) for _ in range(20)))
    assert sorted(given)[-2:] == [0, 2]
    assert await rows.stock(tenant, products[0]) == (9, 0, 1)


async def test_sales_and_returns_in_opposite_orders_race_without_a_deadlock(
    database_url: str, rows: Rows, admin: shop.Connection, tenant: TenantId
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    goods = [await shop.make_product(admin, tenant, stock=30) for _ in range(4)]
    async with opened(database_url, size=12) as db:
        sales = [await a_sale(db, tenant, dict.fromkeys(dice.sample(goods, 3), 1)) for _ in range(12)]

        async def give_back(sale: Sale) -> None:
            await return_stock(db, tenant, OPERATOR, a_return(sale))

        async def hold(start: StartCheckout) -> None:
            if (await reserve(db, start)).status is CheckoutStatus.HELD:
                await settle(db, cancel(start.ref))

        work = [give_back(sale) for sale in sales]
        work += [hold(by_somebody(tenant, dict.fromkeys(dice.sample(goods, 3), 2))) for _ in range(24)]
        dice.shuffle(work)
        await asyncio.gather(*work)
    assert [await rows.stock(tenant, product) for product in goods] == [(30, 0, 0)] * 4
    assert await deadlocks(rows) == 0


async def test_the_database_itself_refuses_more_returned_than_sold(admin: shop.Connection, sale: Sale) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await admin.execute("UPDATE order_lines SET returned = quantity + 1")
