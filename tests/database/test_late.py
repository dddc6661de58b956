"""Payments that come when the checkout is over: the same things again if they are free, or the money back."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest

from db.database import Database
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import ProductId, SeatId, TenantId, ZoneId
from domain.messages import Line, Ruling, Settled, StartCheckout
from tests.support import shop, venues
from tests.support.checkouts import BUYER, Rows, a_capture, a_start, again, cancel, confirm, expire
from tests.support.shop import make_product
from tests.support.venues import a_seat, places, start_of

PRICE = 1000


@pytest.fixture
async def product(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await make_product(admin, tenant, price=PRICE, stock=5)


@pytest.fixture
async def stalls(admin: shop.Connection, tenant: TenantId) -> tuple[ZoneId, list[SeatId]]:
    """Two rows of four seats."""
    return await venues.make_seats(admin, tenant, 2, 4, price=PRICE)


async def allow(admin: shop.Connection, policy: str) -> None:
    await admin.execute("UPDATE tenants SET late_payments = %s", (policy,))


async def over(db: Database, rows: Rows, start: StartCheckout, *, by: str = "expire") -> StartCheckout:
    """The start's hold, over by now."""
    assert (await reserve(db, again(start))).status is CheckoutStatus.HELD
    if by == "expire":
        await rows.end_now(start.ref)
    await settle(db, expire(start.ref) if by == "expire" else cancel(start.ref))
    return start


async def pay(db: Database, start: StartCheckout, amount: int) -> Settled:
    return await settle(db, confirm(start.ref, a_capture(start.checkout_id, amount)))


@pytest.mark.parametrize("by", ["expire", "cancel"])
@pytest.mark.parametrize("policy", ["reserve", "equivalent"])
async def test_what_is_free_is_held_again_and_sold(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId, by: str, policy: str
) -> None:
    await allow(admin, policy)
    start = await over(db, rows, a_start(tenant, {product: 2}), by=by)
    capture = a_capture(start.checkout_id, 2 * PRICE)
    settled = await settle(db, confirm(start.ref, capture))
    assert (settled.status, settled.ruling, settled.paid_by) == ("confirmed", Ruling.ORDER, capture.payment_id)
    assert await rows.stock(tenant, product) == (3, 0, 2)
    again_said = await settle(db, confirm(start.ref, capture))
    assert (again_said.status, again_said.ruling) == ("confirmed", Ruling.ORDER)
    second = await pay(db, start, 2 * PRICE)
    assert (second.ruling, second.reason) == (Ruling.REFUND, "second_payment")
    assert await rows.stock(tenant, product) == (3, 0, 2)


async def test_all_or_nothing_is_held_again(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    other = await make_product(admin, tenant, price=PRICE, stock=1)
    start = await over(db, rows, a_start(tenant, {product: 1, other: 1}))
    await reserve(db, a_start(tenant, {other: 1}))
    settled = await pay(db, start, 2 * PRICE)
    assert (settled.status, settled.ruling, settled.reason) == ("expired", Ruling.REFUND, "late")
    assert (await rows.stock(tenant, product), await rows.stock(tenant, other)) == ((5, 0, 0), (0, 1, 0))


@pytest.mark.parametrize("by", ["price", "unavailable", "gone"])
async def test_a_price_that_was_paid_stands_and_what_is_not_sold_any_more_is_refunded(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId, by: str
) -> None:
    start = await over(db, rows, a_start(tenant, {product: 1}))
    changes = {
        "price": "UPDATE products SET price = 9999",
        "unavailable": "UPDATE products SET available = false",
        "gone": "DELETE FROM products",
    }
    await admin.execute(changes[by])
    settled = await pay(db, start, PRICE)
    assert settled.ruling is (Ruling.ORDER if by == "price" else Ruling.REFUND)
    if by == "price":
        assert await rows.value("SELECT unit_price FROM order_lines") == PRICE


async def test_a_hold_that_is_over_does_not_stand_in_the_way(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    start = await over(db, rows, a_start(tenant, {product: 5}))
    other = a_start(tenant, {product: 5})
    await reserve(db, other)
    await rows.end_now(other.ref)
    assert (await pay(db, start, 5 * PRICE)).ruling is Ruling.ORDER
    assert (await rows.checkout(other.ref))["status"] == "expired"
    assert await rows.stock(tenant, product) == (0, 0, 5)


async def test_a_live_hold_does(db: Database, rows: Rows, tenant: TenantId, product: ProductId) -> None:
    start = await over(db, rows, a_start(tenant, {product: 5}))
    await reserve(db, a_start(tenant, {product: 1}))
    assert (await pay(db, start, 5 * PRICE)).reason == "late"
    assert await rows.stock(tenant, product) == (4, 1, 0)


async def test_lines_that_were_taken_out_are_not_held_again(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    other = await make_product(admin, tenant, price=PRICE, stock=1)
    start = a_start(tenant, {product: 1, other: 1})
    await reserve(db, start)
    await admin.execute(
        "WITH gone AS (UPDATE checkout_lines SET status = 'released', removed_at = clock_timestamp()"
        " WHERE product_id = %s RETURNING stock_item_id), freed AS ("
        " UPDATE stock_items SET reserved = 0 WHERE id = (SELECT stock_item_id FROM gone)), counted AS ("
        " UPDATE limit_counters SET held_lines = held_lines - 1)"
        " UPDATE checkouts SET subtotal = %s, total = %s",
        (other, PRICE, PRICE),
    )
    await settle(db, cancel(start.ref))
    assert (await pay(db, start, PRICE)).ruling is Ruling.ORDER
    assert (await rows.stock(tenant, product), await rows.stock(tenant, other)) == ((4, 0, 1), (1, 0, 0))


@pytest.mark.parametrize("policy", ["reserve", "equivalent"])
async def test_the_same_seats_are_had_again_when_they_are_free(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, stalls: tuple[ZoneId, list[SeatId]], policy: str
) -> None:
    await allow(admin, policy)
    _, seats = stalls
    start = await over(db, rows, start_of(tenant, a_seat(seats[1]), a_seat(seats[2])))
    assert (await pay(db, start, 2 * PRICE)).ruling is Ruling.ORDER
    assert await sold_seats(rows) == sorted(seats[1:3])


async def test_without_the_very_seats_the_money_goes_back(
    db: Database, rows: Rows, tenant: TenantId, stalls: tuple[ZoneId, list[SeatId]]
) -> None:
    _, seats = stalls
    start = await over(db, rows, start_of(tenant, a_seat(seats[1]), a_seat(seats[2])))
    await reserve(db, start_of(tenant, a_seat(seats[2])))
    assert (await pay(db, start, 2 * PRICE)).reason == "late"
    assert await sold_seats(rows) == []


async def test_other_seats_side_by_side_stand_in_for_them_where_the_tenant_allows_it(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, stalls: tuple[ZoneId, list[SeatId]]
) -> None:
    await allow(admin, "equivalent")
    _, seats = stalls
    hall = await venues.make_zone(admin, tenant, 3, price=PRICE)
    start = await over(db, rows, start_of(tenant, a_seat(seats[1]), a_seat(seats[2]), places(hall, 2)))
    await reserve(db, start_of(tenant, a_seat(seats[2])))
    assert (await pay(db, start, 4 * PRICE)).ruling is Ruling.ORDER
    assert await sold_seats(rows) == seats[:2]
    named = await rows.all("SELECT name FROM order_lines WHERE seat_id IS NOT NULL ORDER BY seat_id")
    assert [row["name"] for row in named] == ["Concert, Stalls, Row 1 1", "Concert, Stalls, Row 1 2"]


async def test_single_seats_apart_do_not_stand_in_for_two_together(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, stalls: tuple[ZoneId, list[SeatId]]
) -> None:
    await allow(admin, "equivalent")
    _, seats = stalls
    start = await over(db, rows, start_of(tenant, a_seat(seats[1]), a_seat(seats[2])))
    await reserve(db, start_of(tenant, *(a_seat(seats[place]) for place in (1, 3, 4, 6))))
    assert (await pay(db, start, 2 * PRICE)).reason == "late"
    assert await sold_seats(rows) == []


async def test_a_product_that_is_gone_is_not_made_up_for_by_other_seats(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId,
    stalls: tuple[ZoneId, list[SeatId]],
) -> None:  # fmt: skip
    await allow(admin, "equivalent")
    _, seats = stalls
    start = await over(db, rows, start_of(tenant, a_seat(seats[0]), Line(product, 5)))
    await reserve(db, start_of(tenant, a_seat(seats[0]), Line(product, 1)))
    assert (await pay(db, start, 6 * PRICE)).reason == "late"
    [line] = await rows.all("SELECT seat_id FROM checkout_lines WHERE checkout_id = %s AND seat_id IS NOT NULL",
                            start.checkout_id)  # fmt: skip
    assert line["seat_id"] == seats[0]


async def test_a_late_order_takes_its_things_out_of_the_cart_unless_another_checkout_has_it(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await shop.make_cart(admin, tenant, BUYER, {product: 2})
    first = await over(db, rows, replace(a_start(tenant, {}), from_cart=True))
    other = replace(a_start(tenant, {}), from_cart=True)
    await reserve(db, other)
    assert (await pay(db, first, 2 * PRICE)).ruling is Ruling.ORDER
    assert await rows.value("SELECT quantity FROM cart_lines") == 2
    await settle(db, cancel(other.ref))
    assert (await pay(db, other, 2 * PRICE)).ruling is Ruling.ORDER
    assert await rows.all("SELECT quantity FROM cart_lines") == []
    assert await rows.value("SELECT count(*) FROM audit_log WHERE action = 'cart.confirmed'") == 1


async def test_thirty_late_payments_for_five_units_sell_five_and_refund_the_rest(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    starts = [await over(db, rows, a_start(tenant, {product: 1})) for _ in range(30)]
    captures = [a_capture(start.checkout_id, PRICE) for start in starts]
    wishes = [confirm(start.ref, capture) for start, capture in zip(starts, captures, strict=True)] * 2
    random.Random(5).shuffle(wishes)
    answers = await asyncio.gather(*(settle(db, wish) for wish in wishes))
    assert Counter(answer.ruling for answer in answers) == {Ruling.ORDER: 10, Ruling.REFUND: 50}
    assert await rows.stock(tenant, product) == (0, 0, 5)
    assert await rows.value("SELECT count(*) FROM payment_outcomes") == 30


async def test_late_payments_beside_new_buyers_for_opposite_things_never_deadlock_or_oversell(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, stalls: tuple[ZoneId, list[SeatId]]
) -> None:
    await allow(admin, "equivalent")
    print("seed 11")
    dice, (zone, seats) = random.Random(11), stalls
    late = []
    for _ in range(12):
        pair = dice.sample(seats, 2)
        late.append(await over(db, rows, start_of(tenant, *(a_seat(seat) for seat in pair))))
    new = [start_of(tenant, *(a_seat(seat) for seat in dice.sample(seats, 2))) for _ in range(12)]
    new += [start_of(tenant, places(zone, 2)) for _ in range(4)]
    work = [pay(db, start, 2 * PRICE) for start in late] + [reserve(db, again(start)) for start in new]
    dice.shuffle(work)
    await asyncio.gather(*work)
    taken = await rows.value("SELECT sum(reserved + sold) FROM stock_items WHERE kind = 'seat'")
    assert 2 <= taken <= len(seats)
    orders = await rows.value("SELECT count(*) FROM orders")
    refunds = await rows.value("SELECT count(*) FROM payment_outcomes WHERE kind = 'refund'")
    assert orders + refunds == 12


async def sold_seats(rows: Rows) -> list[int]:
    """Ids of the seats that are sold, in order."""
    found = await rows.all(
        "SELECT s.id FROM seats s JOIN stock_items i ON i.id = s.stock_item_id WHERE i.sold = 1 ORDER BY s.id"
    )
    return [row["id"] for row in found]
