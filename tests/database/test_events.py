"""What buyers see of events: zones with what is available, and seats with their state. Overdue holds are free."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from db.database import Database
from db.events import NO_SEAT, find_event, free_seats, list_events, list_seats, zones_of
from db.reserve import reserve
from db.settle import settle
from domain.errors import Invalid
from domain.ids import EventKey, SeatId, TenantId, ZoneId
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, confirm
from tests.support.venues import a_seat, make_seats, make_zone, places, start_of

CONCERT = EventKey(1)


async def hold(db: Database, tenant: TenantId, *seats: SeatId) -> StartCheckout:
    start = start_of(tenant, *map(a_seat, seats))
    await reserve(db, start)
    return start


async def every_state(db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId) -> list[SeatId]:
    """Seats 0 to 5 of one row of eight: held, sold, blocked, overdue, and the rest free."""
    _, seats = await make_seats(admin, tenant, 1, 8)
    await hold(db, tenant, seats[0])
    sold = await hold(db, tenant, seats[1])
    await settle(db, confirm(sold.ref, a_capture(sold.checkout_id, 5000)))
    await admin.execute(
        "UPDATE stock_items SET total = 0 WHERE id = (SELECT stock_item_id FROM seats WHERE id = %s)", (seats[2],)
    )
    await rows.end_now((await hold(db, tenant, seats[3])).ref)
    return seats


async def statuses(db: Database, tenant: TenantId, zone: ZoneId) -> list[str]:
    page = await list_seats(db, tenant, zone, NO_SEAT, 100)
    assert page is not None
    return [seat["status"] for seat in page.seats]


async def available(db: Database, tenant: TenantId) -> dict[str, tuple[int, int]]:
    zones = await zones_of(db, tenant, CONCERT)
    assert zones is not None
    return {zone.name: (zone.total, zone.available) for zone in zones}


async def test_seats_show_every_state_and_a_zone_counts_those_that_are_free(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    await every_state(db, admin, rows, tenant)
    assert await statuses(db, tenant, ZoneId(1)) == ["held", "sold", "blocked", *["free"] * 5]
    assert await available(db, tenant) == {"Stalls": (8, 5)}
    assert await free_seats(db, tenant, [ZoneId(1), ZoneId(9)]) == {1: 5, 9: 0}


async def test_a_general_zone_counts_places_and_its_overdue_ones_as_free(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone = await make_zone(admin, tenant, 10)
    two, three = (start_of(tenant, places(zone, quantity)) for quantity in (2, 3))
    await reserve(db, two)
    await reserve(db, three)
    assert await available(db, tenant) == {"Standing": (10, 5)}
    await rows.end_now(three.ref)
    assert await available(db, tenant) == {"Standing": (10, 8)}
    page = await list_seats(db, tenant, zone, NO_SEAT, 10)
    assert page is not None
    assert (page.seats, page.last) == ([], None)


async def test_a_zone_says_what_it_costs_and_whether_it_or_its_event_is_off_sale(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    await make_zone(admin, tenant, 10, price=3000)
    await admin.execute("UPDATE zones SET offer_price = 2500, available = false")
    await admin.execute("UPDATE events SET venue = 'Park', available = false")
    zones = await zones_of(db, tenant, CONCERT)
    assert zones is not None
    [zone] = zones
    assert (zone.kind, zone.currency, zone.price, zone.offer_price) == ("general", "COP", 3000, 2500)
    assert (zone.on_sale, zone.event_on_sale) == (False, False)
    event = await find_event(db, tenant, CONCERT)
    assert event is not None
    assert (event.name, event.venue, event.on_sale) == ("Concert", "Park", False)


@pytest.mark.parametrize("limit", [1, 3, 4, 10])
@pytest.mark.parametrize("only_free", [False, True])
async def test_the_pages_of_a_zone_hold_each_seat_once_in_order_of_row_and_number(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, limit: int, only_free: bool
) -> None:
    zone, seats = await make_seats(admin, tenant, 3, 4)
    await make_seats(admin, tenant, 1, 4)
    # Seats need not have been made in their order.
    await admin.execute("UPDATE seats SET rank = 10 - rank WHERE zone_id = %s", (zone,))
    order = [seat for row in (2, 1, 0) for seat in seats[row * 4 : row * 4 + 4]]
    taken: Sequence[SeatId] = [seats[0], seats[5], *seats[8:]]
    await hold(db, tenant, *taken)
    seen: list[SeatId] = []
    after: SeatId | None = NO_SEAT
    while after is not None:
        page = await list_seats(db, tenant, zone, after, limit, only_free=only_free)
        assert page is not None
        assert len(page.seats) <= limit
        seen += [SeatId(seat["id"]) for seat in page.seats]
        after = page.last
    assert seen == [seat for seat in order if not only_free or seat not in taken]


async def test_a_page_after_a_seat_of_another_zone_is_refused(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    zone, _ = await make_seats(admin, tenant, 1, 2)
    _, others = await make_seats(admin, tenant, 1, 2)
    for after in (others[0], SeatId(99)):
        with pytest.raises(Invalid) as refused:
            await list_seats(db, tenant, zone, after, 10)
        assert refused.value.extra["errors"][0]["field"] == "after"


async def test_what_is_not_the_tenants_is_not_there(db: Database, admin: shop.Connection, tenant: TenantId) -> None:
    other = await shop.make_tenant(admin)
    zone, _ = await make_seats(admin, other, 1, 2)
    assert await list_events(db, tenant, EventKey(0), 10) == []
    assert await find_event(db, tenant, CONCERT) is None
    assert await zones_of(db, tenant, CONCERT) is None
    assert await list_seats(db, tenant, zone, NO_SEAT, 10) is None
    assert await free_seats(db, tenant, [zone]) == {zone: 0}


async def test_events_come_in_pages(db: Database, admin: shop.Connection, tenant: TenantId) -> None:
    for event in (5, 3, 8):
        await make_zone(admin, tenant, 1, event=event)
    assert [event.id for event in await list_events(db, tenant, EventKey(0), 2)] == [3, 5]
    assert [event.id for event in await list_events(db, tenant, EventKey(5), 2)] == [8]
