"""Lines that come and go while many do so at once: nothing oversold, no deadlock, every count right."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from db.database import Database
from db.lines import change_lines
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import BuyerKey, ProductId, TenantId
from domain.messages import Line, LinesOutcome, StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_start, cancel, opened
from tests.support.lines import adding, line_ids, removing
from tests.support.races import AT_ONCE, by_somebody, deadlocks, make_race_products
from tests.support.venues import a_seat, make_seats

SEED = 4
TRIES = 50


async def held_by_somebody(db: Database, tenant: TenantId, product: ProductId) -> StartCheckout:
    start = by_somebody(tenant, {product: 1})
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return start


async def test_fifty_who_add_the_last_units_in_opposite_orders_take_each_once(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    products, base = await make_race_products(admin, tenant), await shop.make_product(admin, tenant, stock=TRIES)
    async with opened(database_url, size=AT_ONCE) as db:
        starts = [await held_by_somebody(db, tenant, base) for _ in range(TRIES)]

        async def add(number: int) -> LinesOutcome:
            order = products if number % 2 else products[::-1]
            return (await change_lines(db, adding(starts[number].ref, *(Line(one, 1) for one in order)))).outcome

        outcomes = Counter(await asyncio.gather(*map(add, range(TRIES))))
        assert outcomes == {LinesOutcome.DONE: 10, LinesOutcome.REFUSED: 40}
    assert await deadlocks(rows) == 0
    for product in products:
        assert await rows.stock(tenant, product) == (0, 10, 0)


async def test_lines_that_come_and_go_in_one_checkout_fifty_at_once_add_up(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    products = await make_race_products(admin, tenant)
    base = await shop.make_product(admin, tenant, stock=1)
    async with opened(database_url, size=AT_ONCE) as db:
        start = await held_by_somebody(db, tenant, base)

        async def come_and_go(number: int) -> None:
            added = adding(start.ref, Line(products[number % 5], 1), Line(products[(number + 1) % 5], 1))
            if (await change_lines(db, added)).outcome is LinesOutcome.DONE:
                [_, *others] = await line_ids(rows, start.ref)
                await change_lines(db, removing(start.ref, others[number % len(others)]))

        await asyncio.gather(*map(come_and_go, range(TRIES)))
        held = await line_ids(rows, start.ref)
        assert (await rows.checkout(start.ref))["total"] == 1000 * len(held)
        for line in held[1:]:
            assert (await change_lines(db, removing(start.ref, line))).outcome is LinesOutcome.DONE
        assert await rows.value("SELECT held_lines FROM limit_counters") == 1
        await settle(db, cancel(start.ref))
    assert await deadlocks(rows) == 0
    assert await rows.value("SELECT sum(reserved) FROM stock_items") == 0


async def test_starts_changes_and_cancels_of_few_buyers_have_no_deadlock(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    """Each locks checkouts, counters, stock items; the items in every order there is, the counters the same three."""
    print("seed", SEED)
    dice = random.Random(SEED)
    products = [await shop.make_product(admin, tenant, stock=60) for _ in range(4)]
    _, seats = await make_seats(admin, tenant, rows=2, per_row=20)
    buyers = [BuyerKey(f"user:{number}") for number in range(3)]
    async with opened(database_url, size=12) as db:

        async def one(number: int) -> None:
            lines = [*(Line(product, 1) for product in dice.sample(products, 3)), a_seat(dice.choice(seats))]
            dice.shuffle(lines)
            start = a_start(tenant, {dice.choice(products): 1}, buyer=buyers[number % 3], patience=60)
            if (await reserve(db, start)).status is not CheckoutStatus.HELD:
                return
            await change_lines(db, adding(start.ref, *lines))
            held = await line_ids(rows, start.ref)
            await change_lines(db, removing(start.ref, dice.choice(held)))
            await settle(db, cancel(start.ref))

        places = asyncio.Semaphore(12)

        async def in_turn(number: int) -> None:
            async with places:
                await one(number)

        await asyncio.gather(*map(in_turn, range(90)))
    assert await deadlocks(rows) == 0
    assert await rows.value("SELECT sum(reserved) FROM stock_items") == 0
    assert await rows.value("SELECT sum(held_lines) FROM limit_counters") == 0


async def test_fifty_who_add_the_same_seat_get_it_once(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    base = await shop.make_product(admin, tenant, stock=TRIES)
    _, [seat, *_] = await make_seats(admin, tenant, rows=1, per_row=2)
    async with opened(database_url, size=AT_ONCE) as db:
        starts = [await held_by_somebody(db, tenant, base) for _ in range(TRIES)]
        changes = (change_lines(db, adding(start.ref, a_seat(seat))) for start in starts)
        outcomes = Counter(changed.outcome for changed in await asyncio.gather(*changes))
    assert outcomes == {LinesOutcome.DONE: 1, LinesOutcome.REFUSED: TRIES - 1}
    assert await rows.value("SELECT count(*) FROM checkout_lines WHERE seat_id IS NOT NULL") == 1


async def test_a_line_added_while_the_hold_is_cancelled_is_held_by_nobody(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=200)
    async with opened(database_url, size=AT_ONCE) as db:
        starts = [await held_by_somebody(db, tenant, product) for _ in range(TRIES)]
        asked = [
            work for start in starts for work in (change_lines(db, adding(start.ref, Line(product, 1))),
                                                  settle(db, cancel(start.ref)))
        ]  # fmt: skip
        await asyncio.gather(*asked)
    assert await rows.stock(tenant, product) == (200, 0, 0)
    assert await rows.value("SELECT count(*) FROM checkouts WHERE status = 'cancelled'") == TRIES
