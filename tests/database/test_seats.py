"""Seats and zones: the same stock items and the same reserve as products, in one reservation with them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from db.database import Database
from db.orders import read_order
from db.reserve import reserve
from db.settle import settle
from db.start_look import look_before_start
from domain.checkout import CheckoutStatus
from domain.ids import SeatId, TenantId, order_id_for
from domain.messages import Line, StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, cancel, confirm, opened
from tests.support.races import AT_ONCE, deadlocks
from tests.support.venues import a_seat, make_seats, make_zone, places, start_of


async def states(rows: Rows) -> Counter[tuple[int, int]]:
    """How many seats have each (reserved, sold)."""
    found = await rows.all("SELECT reserved, sold, count(*) AS n FROM stock_items WHERE kind = 'seat' GROUP BY 1, 2")
    return Counter({(row["reserved"], row["sold"]): row["n"] for row in found})


async def test_seats_places_and_a_product_are_one_reservation_and_one_order(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    shirt = await shop.make_product(admin, tenant, price=2000, offer_price=1500, name="T-shirt")
    zone, seats = await make_seats(admin, tenant, 2, 3, price=5000)
    standing = await make_zone(admin, tenant, 10, price=3000)
    start = start_of(tenant, a_seat(seats[0]), a_seat(seats[1]), places(standing, 3), Line(shirt, 1))
    started = await reserve(db, start)
    assert (started.status, started.total) == (CheckoutStatus.HELD, 5000 * 2 + 3000 * 3 + 1500)
    assert await states(rows) == {(1, 0): 2, (0, 0): 4}
    await settle(db, confirm(start.ref, a_capture(start.checkout_id, started.total)))
    assert await states(rows) == {(0, 1): 2, (0, 0): 4}
    order = await read_order(db, tenant, order_id_for(tenant, start.checkout_id), buyer=None)
    assert order is not None
    assert [(line["name"], line["seat_id"], line["zone_id"], line["quantity"]) for line in order.lines] == [
        ("Concert, Stalls, Row 1 1", seats[0], zone, 1),
        ("Concert, Stalls, Row 1 2", seats[1], zone, 1),
        ("Concert, Standing", None, standing, 3),
        ("T-shirt", None, None, 1),
    ]


async def test_one_short_line_holds_nothing_and_is_named_by_its_own_id(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    shirt = await shop.make_product(admin, tenant, stock=1)
    _, seats = await make_seats(admin, tenant, 1, 3)
    standing = await make_zone(admin, tenant, 2)
    await reserve(db, start_of(tenant, a_seat(seats[0])))
    start = start_of(
        tenant, a_seat(seats[0]), a_seat(seats[1]), places(standing, 3), Line(shirt, 1), a_seat(SeatId(999))
    )
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    shortages = (await rows.checkout(start.ref))["refusal"]["shortages"]
    assert [
        {key: short[key] for key in short if key.endswith("_id")} | {"why": short["reason"]} for short in shortages
    ] == [
        {"seat_id": seats[0], "zone_id": 1, "why": "sold_out"},
        {"zone_id": standing, "why": "sold_out"},
        {"seat_id": 999, "why": "gone"},
    ]
    assert (shortages[1]["requested"], shortages[1]["available"]) == (3, 2)
    assert await states(rows) == {(1, 0): 1, (0, 0): 2}
    look = await look_before_start(db, tenant, start_of(tenant).checkout_id, start.buyer, start.lines)
    assert look is not None
    assert [short["reason"] for short in look.shortages] == ["sold_out", "sold_out", "gone"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE zones SET available = false", "unavailable"),
        ("UPDATE events SET available = false", "unavailable"),
        ("UPDATE zones SET price = 0", "no_price"),
        ("UPDATE stock_items SET total = 0 WHERE kind = 'seat'", "sold_out"),
    ],
)
async def test_what_is_withdrawn_or_blocked_cannot_be_held(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, change: str, reason: str
) -> None:
    _, seats = await make_seats(admin, tenant, 1, 1)
    await admin.execute(change)
    start = start_of(tenant, a_seat(seats[0]))
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    [short] = (await rows.checkout(start.ref))["refusal"]["shortages"]
    assert (short["reason"], short["available"]) == (reason, 0)


async def test_a_seat_whose_hold_is_over_is_free(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    _, seats = await make_seats(admin, tenant, 1, 1)
    late = start_of(tenant, a_seat(seats[0]))
    await reserve(db, late)
    await rows.end_now(late.ref)
    assert (await reserve(db, start_of(tenant, a_seat(seats[0])))).status is CheckoutStatus.HELD
    assert (await rows.checkout(late.ref))["status"] == "expired"


async def run(url: str, starts: list[StartCheckout]) -> list[CheckoutStatus]:
    """All starts, AT_ONCE at a time, over connections that are closed at the end."""
    async with opened(url, size=AT_ONCE) as db:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(start: StartCheckout) -> CheckoutStatus:
            async with gate:
                return (await reserve(db, start)).status

        return list(await asyncio.gather(*map(one, starts)))


async def test_1000_buyers_of_500_seats_who_all_want_the_front_row_buy_each_seat_once(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    """Each buyer asks for a seat as near to the front as he believes is left, and again when it is gone."""
    _, seats = await make_seats(admin, tenant, 20, 25)
    seed = 20261122
    print(f"seed {seed}")
    dice = random.Random(seed)
    front: list[SeatId] = list(seats)
    sold: list[SeatId] = []
    async with opened(database_url, size=AT_ONCE) as db:
        gate = asyncio.Semaphore(AT_ONCE)

        async def buy(_: int) -> bool:
            async with gate:
                while front:
                    seat = dice.choice(front[:25])
                    start = start_of(tenant, a_seat(seat))
                    started = await reserve(db, start)
                    if started.status is CheckoutStatus.HELD:
                        await settle(db, confirm(start.ref, a_capture(start.checkout_id, started.total)))
                        sold.append(seat)
                    if seat in front:
                        front.remove(seat)
                    if started.status is CheckoutStatus.HELD:
                        return True
                return False

        bought = sum(await asyncio.gather(*map(buy, range(1000))))
    assert await deadlocks(rows) == 0
    assert bought == len(set(sold)) == len(sold) == 500
    assert await states(rows) == {(0, 1): 500}


async def test_general_admission_sells_to_the_last_place(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    standing = await make_zone(admin, tenant, 100)
    outcomes = await run(database_url, [start_of(tenant, places(standing, 1)) for _ in range(300)])
    assert Counter(outcomes) == {CheckoutStatus.HELD: 100, CheckoutStatus.REFUSED: 200}
    assert await rows.value("SELECT total - reserved FROM stock_items WHERE kind = 'zone'") == 0


async def test_a_stampede_on_seats_places_and_products_in_opposite_orders_has_no_deadlock(
    database_url: str, db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    shirts = [await shop.make_product(admin, tenant, stock=30) for _ in range(2)]
    _, seats = await make_seats(admin, tenant, 3, 10)
    standing = await make_zone(admin, tenant, 40)
    dice = random.Random(7)
    starts = []
    for _ in range(250):
        lines = [*map(a_seat, dice.sample(seats, 2)), places(standing, 1), Line(dice.choice(shirts), 1)]
        dice.shuffle(lines)
        starts.append(start_of(tenant, *lines))
    outcomes = await run(database_url, starts)
    held = [start for start, outcome in zip(starts, outcomes, strict=True) if outcome is CheckoutStatus.HELD]
    taken = [line.seat_id for start in held for line in start.lines if line.seat_id]
    assert len(taken) == len(set(taken))
    assert len(held) >= 8
    for start in held:
        await settle(db, cancel(start.ref))
    await db.close()
    assert await deadlocks(rows) == 0
    assert await states(rows) == {(0, 0): 30}


async def test_the_free_seats_of_a_zone_are_what_its_index_says(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, seats = await make_seats(admin, tenant, 2, 5)
    count = "SELECT count(*) FROM stock_items WHERE free_in_zone = %s"
    assert await rows.value(count, zone) == 10
    start = start_of(tenant, a_seat(seats[0]), a_seat(seats[1]))
    await reserve(db, start)
    assert await rows.value(count, zone) == 8
    await settle(db, cancel(start.ref))
    assert await rows.value(count, zone) == 10
