"""Administration against buyers at the same moment: no seat is blocked and held, no zone withdrawn and held."""

from __future__ import annotations

import asyncio
import random

import pytest

from db.database import Database
from db.event_admin import NewEvent, create_event
from db.reserve import reserve
from db.seat_admin import set_blocked
from db.settle import settle
from db.zone_admin import NewZone, ZoneChanges, change_zone, create_zone
from domain.checkout import CheckoutStatus
from domain.errors import SeatsCommitted, ZoneCommitted
from domain.ids import EventKey, SeatId, TenantId, ZoneId
from domain.venue import SeatRow
from tests.support import shop
from tests.support.catalogue import ADMIN
from tests.support.checkouts import Rows, cancel, opened
from tests.support.races import AT_ONCE, deadlocks
from tests.support.venues import a_seat, make_seats, make_zone, places, start_of

BLOCKED_AND_TAKEN = """
    SELECT count(*) FROM seats s JOIN stock_items i ON i.tenant_id = s.tenant_id AND i.id = s.stock_item_id
    WHERE i.total = 0 AND (i.reserved > 0 OR i.sold > 0)
"""


async def test_blocks_race_with_buyers_and_each_seat_is_either_blocked_or_taken(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    """The constraint would say so too, with an error: there is none."""
    zone, seats = await make_seats(admin, tenant, 4, 25)
    dice = random.Random(11)
    outcomes: list[str] = []
    async with opened(database_url, size=AT_ONCE) as db:

        async def buy(seat: SeatId) -> None:
            started = await reserve(db, start_of(tenant, a_seat(seat), patience=60))
            outcomes.append("held" if started.status is CheckoutStatus.HELD else "refused")

        async def buy_two() -> None:
            started = await reserve(db, start_of(tenant, places(zone, 2), patience=60))
            outcomes.append("two" if started.status is CheckoutStatus.HELD else "refused")

        async def block(some: list[SeatId]) -> None:
            try:
                await set_blocked(db, tenant, ADMIN, zone, some, blocked=True)
                outcomes.append("blocked")
            except SeatsCommitted:
                outcomes.append("kept")

        work = [buy(seat) for seat in dice.sample(seats, 50)] + [buy_two() for _ in range(25)]
        work += [block(dice.sample(seats, 2)) for _ in range(40)]
        dice.shuffle(work)
        await asyncio.gather(*work)
    assert {"held", "two", "blocked", "kept"} <= set(outcomes)
    assert await rows.value(BLOCKED_AND_TAKEN) == 0
    assert await deadlocks(rows) == 0


@pytest.mark.parametrize("kind", ["numbered", "general"])
async def test_a_zone_that_is_withdrawn_amid_buyers_ends_withdrawn_with_nothing_held_or_on_sale(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, kind: str
) -> None:
    """Until it succeeds: buyers hold and give back all the while."""
    seats: list[SeatId] = []
    if kind == "numbered":
        zone, seats = await make_seats(admin, tenant, 1, 4)
    else:
        zone = await make_zone(admin, tenant, 4)
    dice, over = random.Random(5), asyncio.Event()
    withdrawn, refused = 0, 0
    async with opened(database_url, size=12) as db:

        async def buyer() -> None:
            while not over.is_set():
                line = a_seat(dice.choice(seats)) if seats else places(zone, 1)
                start = start_of(tenant, line, patience=60)
                if (await reserve(db, start)).status is CheckoutStatus.HELD:
                    await settle(db, cancel(start.ref))
                await asyncio.sleep(dice.uniform(0, 0.02))

        buyers = [asyncio.create_task(buyer()) for _ in range(4)]
        try:
            while withdrawn < 5:
                try:
                    await change_zone(db, tenant, ADMIN, zone, ZoneChanges(on_sale=False))
                except ZoneCommitted:
                    refused += 1
                    assert await rows.value("SELECT available FROM zones")
                    continue
                withdrawn += 1
                assert await held_in(rows) == 0
                await asyncio.sleep(0.05)
                assert await held_in(rows) == 0, "a reserve that began before has come after"
                await change_zone(db, tenant, ADMIN, zone, ZoneChanges(on_sale=True))
        finally:
            over.set()
            await asyncio.gather(*buyers)
    print(f"withdrawn {withdrawn}, refused {refused}")


async def test_zones_that_are_made_at_once_get_numbers_and_seats_of_their_own(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    event: EventKey = (await create_event(db, tenant, ADMIN, NewEvent("Concert"))).id
    new = NewZone("Stalls", 5000, rows=[SeatRow("A", 1, 50)])
    made = await asyncio.gather(*(create_zone(db, tenant, ADMIN, event, new) for _ in range(6)))
    assert sorted(zone.id for zone in made) == list(map(ZoneId, range(1, 7)))
    assert await rows.value("SELECT count(DISTINCT id) FROM seats") == 300
    assert [zone.total for zone in made] == [50] * 6


async def held_in(rows: Rows) -> int:
    """Tickets that anybody holds."""
    held: int = await rows.value("SELECT sum(reserved) FROM stock_items")
    return held
