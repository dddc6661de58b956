"""Best available: seats together in a numbered zone, held and refused as one reservation with any other lines."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from db.database import Database
from db.reserve import reserve
from db.settle import settle
from db.start_look import look_before_start
from domain.checkout import CheckoutStatus
from domain.ids import SeatId, TenantId, ZoneId
from domain.messages import CheckoutRef, Line, StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, again, cancel, opened
from tests.support.races import AT_ONCE, deadlocks
from tests.support.venues import a_seat, make_seats, make_zone, places, start_of

Place = tuple[int, int]


async def held_by(rows: Rows, ref: CheckoutRef) -> list[Place]:
    """(rank, number) of each seat that the checkout holds."""
    found = await rows.all(
        "SELECT s.rank, s.number FROM checkout_lines l JOIN seats s ON s.tenant_id = l.tenant_id AND s.id = l.seat_id"
        " WHERE l.tenant_id = %s AND l.checkout_id = %s AND l.status = 'held' ORDER BY 1, 2",
        ref.tenant,
        ref.checkout_id,
    )
    return [(row["rank"], row["number"]) for row in found]


async def hold(db: Database, rows: Rows, start: StartCheckout) -> list[Place]:
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return await held_by(rows, start.ref)


async def shortage(db: Database, rows: Rows, start: StartCheckout) -> dict[str, Any]:
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    [short] = (await rows.checkout(start.ref))["refusal"]["shortages"]
    return dict(short)


async def test_seats_together_are_the_middle_of_the_best_row_and_then_what_is_nearest(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, _ = await make_seats(admin, tenant, 2, 10)
    picked = [await hold(db, rows, start_of(tenant, places(zone, 3))) for _ in range(4)]
    assert picked == [
        [(1, 4), (1, 5), (1, 6)],
        [(1, 7), (1, 8), (1, 9)],
        [(1, 1), (1, 2), (1, 3)],
        [(2, 4), (2, 5), (2, 6)],
    ]


async def test_a_pick_is_one_reservation_with_the_other_lines_at_their_prices(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    shirt = await shop.make_product(admin, tenant, price=2000)
    zone, seats = await make_seats(admin, tenant, 1, 6, price=5000)
    standing = await make_zone(admin, tenant, 10, price=3000)
    lines = [places(zone, 2), places(standing, 3), Line(shirt, 1), a_seat(seats[2])]
    start = replace(start_of(tenant, *lines), expected_total=5000 * 3 + 3000 * 3 + 2000)
    started = await reserve(db, start)
    assert (started.status, started.total) == (CheckoutStatus.HELD, 5000 * 3 + 3000 * 3 + 2000)
    assert await held_by(rows, start.ref) == [(1, 3), (1, 4), (1, 5)], "the seat that was asked for is not picked"
    found = await rows.all("SELECT product_id, zone_id, seat_id, quantity FROM checkout_lines ORDER BY position")
    assert [(row["product_id"], row["zone_id"], row["seat_id"], row["quantity"]) for row in found] == [
        (None, zone, seats[3], 1),
        (None, zone, seats[4], 1),
        (None, standing, None, 3),
        (shirt, None, None, 1),
        (None, zone, seats[2], 1),
    ]


async def test_the_same_start_again_holds_nothing_more(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, _ = await make_seats(admin, tenant, 1, 6)
    start = start_of(tenant, places(zone, 2))
    first = await hold(db, rows, start)
    results = await asyncio.gather(*(reserve(db, again(start)) for _ in range(5)))
    assert {result.status for result in results} == {CheckoutStatus.HELD}
    assert await held_by(rows, start.ref) == first


async def test_after_the_deadline_nothing_is_picked(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, _ = await make_seats(admin, tenant, 1, 6)
    start = start_of(tenant, places(zone, 2), patience=-1)
    assert (await reserve(db, start)).start == "not_attempted"
    assert await rows.value("SELECT count(*) FROM checkout_lines") == 0


async def test_a_refusal_says_the_largest_block_that_is_left(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, seats = await make_seats(admin, tenant, 2, 7)
    # Left are 1, 2, 3 of the first row, and 1, 2, 4, 5, 7 of the second.
    taken = start_of(tenant, *map(a_seat, [*seats[3:7], seats[9], seats[12]]))
    await reserve(db, taken)
    short = await shortage(db, rows, start_of(tenant, places(zone, 4)))
    free_at = (await rows.checkout(taken.ref))["expires_at"].isoformat()
    assert short == {
        "zone_id": zone,
        "requested": 4,
        "available": 8,
        "largest_block": 3,
        "reason": "not_together",
        "free_at": free_at,
    }
    short = await shortage(db, rows, start_of(tenant, places(zone, 9)))
    assert (short["reason"], short["available"], short["largest_block"]) == ("sold_out", 8, 3)
    assert await hold(db, rows, start_of(tenant, places(zone, 3))) == [(1, 1), (1, 2), (1, 3)]


async def test_a_refusal_names_the_other_short_lines_too_and_holds_nothing(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    shirt = await shop.make_product(admin, tenant, stock=1)
    zone, _ = await make_seats(admin, tenant, 1, 4)
    other, _ = await make_seats(admin, tenant, 1, 4)
    start = start_of(tenant, places(zone, 2), Line(shirt, 2), places(other, 5))
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    shortages = (await rows.checkout(start.ref))["refusal"]["shortages"]
    assert [(short.get("product_id"), short.get("zone_id"), short["available"]) for short in shortages] == [
        (shirt, None, 1),
        (None, other, 4),
    ]
    assert await rows.value("SELECT sum(reserved) FROM stock_items") == 0


async def test_no_more_are_picked_than_a_checkout_may_have_lines(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    await admin.execute("UPDATE tenants SET max_held_lines = 1000")
    zone, _ = await make_seats(admin, tenant, 1, 120)
    short = await shortage(db, rows, start_of(tenant, places(zone, 101)))
    assert (short["available"], short["largest_block"], short["reason"]) == (120, 100, "not_together")
    assert len(await hold(db, rows, start_of(tenant, places(zone, 100)))) == 100


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE zones SET available = false", "unavailable"),
        ("UPDATE zones SET price = 0", "no_price"),
        ("UPDATE stock_items SET total = 0", "sold_out"),
    ],
)
async def test_what_is_withdrawn_or_blocked_is_not_picked(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, change: str, reason: str
) -> None:
    zone, _ = await make_seats(admin, tenant, 1, 4)
    await admin.execute(change)
    assert (await shortage(db, rows, start_of(tenant, places(zone, 2))))["reason"] == reason


async def test_holds_that_are_over_are_ended_when_they_are_in_the_way_and_not_before(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, seats = await make_seats(admin, tenant, 1, 6)
    late = start_of(tenant, *map(a_seat, seats[1:3]))
    await reserve(db, late)
    await rows.end_now(late.ref)
    assert await hold(db, rows, start_of(tenant, places(zone, 2))) == [(1, 4), (1, 5)]
    assert (await rows.checkout(late.ref))["status"] == "held"
    assert await hold(db, rows, start_of(tenant, places(zone, 3))) == [(1, 1), (1, 2), (1, 3)]
    assert (await rows.checkout(late.ref))["status"] == "expired"


async def test_seats_that_others_are_locking_are_passed_over_without_waiting(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, seats = await make_seats(admin, tenant, 1, 6)
    async with admin.transaction():
        await admin.execute(
            "SELECT FROM stock_items WHERE id = (SELECT stock_item_id FROM seats WHERE id = %s) FOR NO KEY UPDATE",
            (seats[2],),
        )
        async with asyncio.timeout(0.9):  # A lock's timeout is a second.
            assert await hold(db, rows, start_of(tenant, places(zone, 2))) == [(1, 4), (1, 5)]


async def test_before_it_refuses_it_waits_once_for_those_who_have_the_seats_locked(
    db: Database, database_url: str, rows: Rows, tenant: TenantId, admin: shop.Connection
) -> None:
    zone, _ = await make_seats(admin, tenant, 1, 4)
    async with shop.connect(database_url) as other, other.transaction():
        await other.execute("SELECT FROM stock_items FOR NO KEY UPDATE")
        start = start_of(tenant, places(zone, 3))
        asked = asyncio.create_task(reserve(db, start))
        await rows.until_somebody_waits_for_a_lock()
    assert (await asked).status is CheckoutStatus.HELD
    assert len(await held_by(rows, start.ref)) == 3


async def test_what_was_sold_while_it_waited_is_refused(
    db: Database, database_url: str, rows: Rows, tenant: TenantId, admin: shop.Connection
) -> None:
    zone, seats = await make_seats(admin, tenant, 1, 4)
    async with shop.connect(database_url) as other, other.transaction():
        await other.execute("SELECT FROM stock_items FOR NO KEY UPDATE")
        start = start_of(tenant, places(zone, 3))
        asked = asyncio.create_task(reserve(db, start))
        await rows.until_somebody_waits_for_a_lock()
        await other.execute(
            "UPDATE stock_items SET total = 0 WHERE id = (SELECT stock_item_id FROM seats WHERE id = %s)", (seats[1],)
        )
    assert (await asked).status is CheckoutStatus.REFUSED
    [short] = (await rows.checkout(start.ref))["refusal"]["shortages"]
    assert (short["available"], short["largest_block"]) == (3, 2)


async def race(url: str, starts: list[StartCheckout]) -> list[CheckoutStatus]:
    """All starts, AT_ONCE at a time, over connections that are closed at the end."""
    async with opened(url, size=AT_ONCE) as db:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(start: StartCheckout) -> CheckoutStatus:
            async with gate:
                return (await reserve(db, start)).status

        return list(await asyncio.gather(*map(one, starts)))


async def test_100_buyers_at_once_who_want_two_together_get_pairs_that_share_no_seat(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, _ = await make_seats(admin, tenant, 10, 26)
    starts = [start_of(tenant, places(zone, 2), patience=60) for _ in range(100)]
    assert set(await race(database_url, starts)) == {CheckoutStatus.HELD}
    pairs = [await held_by(rows, start.ref) for start in starts]
    assert all(one[0] == other[0] and one[1] + 1 == other[1] for one, other in pairs)
    assert len({place for pair in pairs for place in pair}) == 200
    assert await deadlocks(rows) == 0


async def test_when_more_want_two_together_than_there_are_the_rest_is_refused_and_no_pair_is_left(
    database_url: str, db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, _ = await make_seats(admin, tenant, 6, 9)
    starts = [start_of(tenant, places(zone, 2), patience=60) for _ in range(100)]
    outcomes = await race(database_url, starts)
    held = [start for start, outcome in zip(starts, outcomes, strict=True) if outcome is CheckoutStatus.HELD]
    taken = [place for start in held for place in await held_by(rows, start.ref)]
    assert len(taken) == len(set(taken)) == 2 * len(held)
    left = {(rank, number) for rank in range(1, 7) for number in range(1, 10)} - set(taken)
    assert not [place for place in left if (place[0], place[1] + 1) in left], "somebody was refused a pair that is free"
    for start in held:
        await settle(db, cancel(start.ref))
    await db.close()
    assert await deadlocks(rows) == 0
    assert await rows.value("SELECT count(*) FROM stock_items WHERE free_in_zone = %s", zone) == 54


async def test_seats_picked_and_seats_chosen_with_products_in_any_order_have_no_deadlock(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    """Products and a zone with higher and with lower stock item ids than the seats."""
    before = await shop.make_product(admin, tenant, stock=500)
    zone, seats = await make_seats(admin, tenant, 8, 20)
    after = await shop.make_product(admin, tenant, stock=500)
    standing = await make_zone(admin, tenant, 500)
    starts = []
    for number in range(60):
        lines = [places(zone, 2), Line(before, 1), Line(after, 1), places(standing, 1)]
        starts.append(start_of(tenant, *lines[:: 1 if number % 2 else -1], patience=60))
        starts.append(start_of(tenant, a_seat(seats[number * 2]), Line(after, 1), Line(before, 1), patience=60))
    outcomes = Counter(await race(database_url, starts))
    assert outcomes[CheckoutStatus.HELD] >= 60
    assert outcomes[CheckoutStatus.NEW] == 0
    held = await rows.all("SELECT seat_id FROM checkout_lines WHERE seat_id IS NOT NULL AND status = 'held'")
    sold: list[SeatId] = [row["seat_id"] for row in held]
    assert len(sold) == len(set(sold))
    assert await deadlocks(rows) == 0


async def test_a_general_zone_is_never_picked(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    standing = await make_zone(admin, tenant, 3)
    assert await hold(db, rows, start_of(tenant, places(standing, 2))) == []
    assert (await shortage(db, rows, start_of(tenant, places(standing, 2))))["available"] == 1
    assert (await shortage(db, rows, start_of(tenant, places(ZoneId(99), 1))))["reason"] == "gone"


async def test_the_look_before_a_start_refuses_only_when_there_are_fewer_free_seats_at_all(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, seats = await make_seats(admin, tenant, 1, 5, price=5000)
    late = start_of(tenant, a_seat(seats[1]), a_seat(seats[3]))
    await reserve(db, late)

    async def look(quantity: int) -> tuple[int, list[dict[str, Any]]]:
        start = start_of(tenant, places(zone, quantity))
        seen = await look_before_start(db, tenant, start.checkout_id, start.buyer, start.lines)
        assert seen is not None
        return seen.total, seen.shortages

    assert await look(3) == (15000, []), "whether they are together, the reserve finds out"
    total, [short] = await look(4)
    assert (short["zone_id"], short["requested"], short["available"], short["largest_block"]) == (zone, 4, 3, 1)
    assert (total, short["reason"]) == (20000, "sold_out")
    await rows.end_now(late.ref)
    assert await look(4) == (20000, []), "the reserve will end the hold that is over"
