"""Creating and changing events, zones and seats, on real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from db.database import Database
from db.event_admin import EventChanges, NewEvent, change_event, create_event
from db.events import NO_SEAT, find_event, list_seats, zones_of
from db.reserve import reserve
from db.seat_admin import set_blocked
from db.settle import settle
from db.zone_admin import NewZone, ZoneChanges, change_zone, create_zone
from domain.checkout import CheckoutStatus
from domain.errors import EventExists, Invalid, NotFound, SeatsCommitted, TotalBelowCommitted, ZoneCommitted, ZoneExists
from domain.ids import EventKey, SeatId, TenantId, ZoneId
from domain.messages import StartCheckout
from domain.venue import MAX_SEATS, SeatRow
from tests.support import shop
from tests.support.catalogue import ADMIN, audit
from tests.support.checkouts import Rows, a_capture, cancel, confirm
from tests.support.venues import a_seat, make_seats, make_zone, places, start_of

OPENING = datetime(2027, 3, 1, 20, tzinfo=UTC)
STALLS = NewZone("Stalls", 5000, rows=[SeatRow("A", 1, 3), SeatRow("B", 1, 2), SeatRow("A", 5, 6)])


@pytest.fixture
async def event(db: Database, tenant: TenantId) -> EventKey:
    return (await create_event(db, tenant, ADMIN, NewEvent("Concert"))).id


async def seats_of(db: Database, tenant: TenantId, zone: ZoneId) -> list[tuple[int, str, int, str]]:
    page = await list_seats(db, tenant, zone, NO_SEAT, 5000)
    assert page is not None
    return [(seat["id"], seat["row_name"], seat["number"], seat["status"]) for seat in page.seats]


async def test_an_event_is_created_and_changed_with_audit_rows_of_what_differs(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    made = await create_event(db, tenant, ADMIN, NewEvent("Concert", starts_at=OPENING, id=EventKey(7)))
    assert await find_event(db, tenant, EventKey(7)) == made
    changed = await change_event(db, tenant, ADMIN, made.id, EventChanges(venue="Park", on_sale=False, starts_at=None))
    assert (changed.name, changed.venue, changed.on_sale, changed.starts_at) == ("Concert", "Park", False, None)
    await change_event(db, tenant, ADMIN, made.id, EventChanges(venue="Park"))
    [created, change] = await audit(rows, tenant)
    assert created[:2] == ("event.created", "event:7")
    before = {"venue": "", "on_sale": True, "starts_at": OPENING.isoformat()}
    assert change == ("event.changed", "event:7", before, {"venue": "Park", "on_sale": False, "starts_at": None})


async def test_ids_are_chosen_or_the_next_and_a_taken_one_is_refused(
    db: Database, tenant: TenantId, event: EventKey
) -> None:
    assert (await create_event(db, tenant, ADMIN, NewEvent("B", id=EventKey(10)))).id == 10
    assert (await create_event(db, tenant, ADMIN, NewEvent("C"))).id == 11
    with pytest.raises(EventExists):
        await create_event(db, tenant, ADMIN, NewEvent("D", id=EventKey(10)))
    zone = await create_zone(db, tenant, ADMIN, event, NewZone("Floor", 1, capacity=5, id=ZoneId(3)))
    assert (zone.id, (await create_zone(db, tenant, ADMIN, event, STALLS)).id) == (3, 4)
    with pytest.raises(ZoneExists):
        await create_zone(db, tenant, ADMIN, event, NewZone("Floor", 1, capacity=5, id=ZoneId(3)))
    with pytest.raises(NotFound):
        await create_zone(db, tenant, ADMIN, EventKey(99), STALLS)
    with pytest.raises(NotFound):
        await create_event(db, TenantId("nowhere"), ADMIN, NewEvent("E"))


async def test_a_numbered_zone_has_its_rows_in_their_order_with_a_gap_where_one_is_left(
    db: Database, rows: Rows, tenant: TenantId, event: EventKey
) -> None:
    zone = await create_zone(db, tenant, ADMIN, event, STALLS)
    assert (zone.kind, zone.total, zone.available, zone.price) == ("numbered", 7, 7, 5000)
    expected = [("A", 1), ("A", 2), ("A", 3), ("A", 5), ("A", 6), ("B", 1), ("B", 2)]
    seats = await seats_of(db, tenant, zone.id)
    assert [seat[1:3] for seat in seats] == expected
    ids = await rows.all("SELECT id, stock_item_id FROM seats ORDER BY rank, number")
    assert [row["id"] for row in ids] == sorted(row["id"] for row in ids) == [seat[0] for seat in seats]
    items = [row["stock_item_id"] for row in ids]
    assert items == sorted(items), "who picks the best seats reads the stock items by id"
    start = start_of(tenant, places(zone.id, 4))
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    assert (await rows.checkout(start.ref))["refusal"]["shortages"][0]["largest_block"] == 3
    _, (action, subject, _, after) = await audit(rows, tenant)
    assert (action, subject, after["rows"]) == ("zone.created", f"zone:{zone.id}", ["A 1-3", "B 1-2", "A 5-6"])


async def test_a_zone_of_50000_seats_is_made_whole_and_more_are_refused(
    db: Database, rows: Rows, tenant: TenantId, event: EventKey
) -> None:
    big = [SeatRow(f"R{row}", 1, 100) for row in range(500)]
    zone = await create_zone(db, tenant, ADMIN, event, NewZone("Stadium", 5000, rows=big))
    assert (zone.total, zone.available) == (MAX_SEATS, MAX_SEATS)
    assert await rows.value("SELECT count(*) FROM (SELECT rank, number FROM seats GROUP BY 1, 2) places") == MAX_SEATS
    with pytest.raises(Invalid):
        await create_zone(db, tenant, ADMIN, event, NewZone("More", 5000, rows=[*big, SeatRow("x", 1, 1)]))


@pytest.mark.parametrize(
    "bad",
    [[SeatRow("A", 2, 1)], [SeatRow("A", 1, 5), SeatRow("A", 5, 6)], [SeatRow("A", 1, MAX_SEATS + 1)]],
)
async def test_rows_that_make_no_sense_are_refused_and_nothing_is_written(
    db: Database, rows: Rows, tenant: TenantId, event: EventKey, bad: list[SeatRow]
) -> None:
    with pytest.raises(Invalid) as refused:
        await create_zone(db, tenant, ADMIN, event, NewZone("Stalls", 5000, rows=bad))
    assert refused.value.extra["errors"][0]["field"] == "rows"
    assert await rows.value("SELECT count(*) FROM zones") == await rows.value("SELECT count(*) FROM stock_items") == 0


async def test_a_general_zones_capacity_changes_but_not_below_what_is_held_and_sold(
    db: Database, rows: Rows, tenant: TenantId, event: EventKey
) -> None:
    zone = await create_zone(db, tenant, ADMIN, event, NewZone("Floor", 3000, capacity=10))
    held, sold, late = (start_of(tenant, places(zone.id, quantity)) for quantity in (2, 3, 4))
    for start in (held, sold, late):
        await reserve(db, start)
    await settle(db, confirm(sold.ref, a_capture(sold.checkout_id, 9000)))
    await rows.end_now(late.ref)
    with pytest.raises(TotalBelowCommitted) as refused:
        await change_zone(db, tenant, ADMIN, zone.id, ZoneChanges(capacity=4, name="Pit"))
    assert (refused.value.extra["reserved"], refused.value.extra["sold"]) == (2, 3), "what was overdue is free"
    changed = await change_zone(db, tenant, ADMIN, zone.id, ZoneChanges(capacity=5, price=4000, offer_price=3500))
    assert (changed.total, changed.available, changed.price, changed.offer_price) == (5, 0, 4000, 3500)
    before = {"price": 3000, "offer_price": None, "capacity": 10}
    after = {"price": 4000, "offer_price": 3500, "capacity": 5}
    assert (await audit(rows, tenant))[-1] == ("zone.changed", f"zone:{zone.id}", before, after)


async def test_a_numbered_zone_takes_no_capacity_and_no_zone_an_offer_above_its_price(
    db: Database, tenant: TenantId, event: EventKey
) -> None:
    zone = await create_zone(db, tenant, ADMIN, event, STALLS)
    for changes, field in ((ZoneChanges(capacity=5), "capacity"), (ZoneChanges(offer_price=5000), "offer_price")):
        with pytest.raises(Invalid) as refused:
            await change_zone(db, tenant, ADMIN, zone.id, changes)
        assert refused.value.extra["errors"][0]["field"] == field
    with pytest.raises(Invalid):
        await create_zone(db, tenant, ADMIN, event, NewZone("Floor", 10, 10, capacity=5))


async def test_a_zone_is_withdrawn_only_while_nothing_of_it_is_held_or_sold(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    numbered, seats = await make_seats(admin, tenant, 1, 3)
    standing = await make_zone(admin, tenant, 5)
    for zone, line in ((numbered, a_seat(seats[0])), (standing, places(standing, 1))):
        start = start_of(tenant, line)
        await reserve(db, start)
        with pytest.raises(ZoneCommitted) as refused:
            await change_zone(db, tenant, ADMIN, zone, ZoneChanges(on_sale=False))
        assert (refused.value.extra["reserved"], refused.value.extra["sold"]) == (1, 0)
        await rows.end_now(start.ref)
        assert not (await change_zone(db, tenant, ADMIN, zone, ZoneChanges(on_sale=False))).on_sale
        assert (await rows.checkout(start.ref))["status"] == "expired"
        assert (await reserve(db, start_of(tenant, line))).status is CheckoutStatus.REFUSED
        await change_zone(db, tenant, ADMIN, zone, ZoneChanges(on_sale=True))
        again = start_of(tenant, line)
        total = (await reserve(db, again)).total
        await settle(db, confirm(again.ref, a_capture(again.checkout_id, total)))
        with pytest.raises(ZoneCommitted):
            await change_zone(db, tenant, ADMIN, zone, ZoneChanges(on_sale=False))


async def test_an_event_off_sale_takes_no_more_holds_and_keeps_those_it_has(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    standing = await make_zone(admin, tenant, 5, price=3000)
    start = start_of(tenant, places(standing, 1))
    await reserve(db, start)
    await change_event(db, tenant, ADMIN, EventKey(1), EventChanges(on_sale=False))
    assert (await reserve(db, start_of(tenant, places(standing, 1)))).status is CheckoutStatus.REFUSED
    settled = await settle(db, confirm(start.ref, a_capture(start.checkout_id, 3000)))
    assert settled.status is CheckoutStatus.CONFIRMED


async def hold(db: Database, tenant: TenantId, *seats: SeatId) -> StartCheckout:
    start = start_of(tenant, *map(a_seat, seats))
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return start


async def test_seats_are_blocked_all_or_none_and_freed_again(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, seats = await make_seats(admin, tenant, 1, 6)
    assert await set_blocked(db, tenant, ADMIN, zone, [seats[1], seats[0], seats[1]], blocked=True) == seats[:2]
    assert await set_blocked(db, tenant, ADMIN, zone, seats[:3], blocked=True) == [seats[2]], "the others were so"
    assert [seat[3] for seat in await seats_of(db, tenant, zone)] == ["blocked"] * 3 + ["free"] * 3
    assert (await reserve(db, start_of(tenant, a_seat(seats[0])))).status is CheckoutStatus.REFUSED
    held, sold = await hold(db, tenant, seats[3]), await hold(db, tenant, seats[4])
    await settle(db, confirm(sold.ref, a_capture(sold.checkout_id, 5000)))
    with pytest.raises(SeatsCommitted) as refused:
        await set_blocked(db, tenant, ADMIN, zone, seats, blocked=True)
    assert (refused.value.extra["held"], refused.value.extra["sold"]) == ([seats[3]], [seats[4]])
    assert [seat[3] for seat in await seats_of(db, tenant, zone)][5] == "free"
    assert await set_blocked(db, tenant, ADMIN, zone, seats, blocked=False) == seats[:3]
    assert [seat[3] for seat in await seats_of(db, tenant, zone)] == ["free"] * 3 + ["held", "sold", "free"]
    await settle(db, cancel(held.ref))
    changes = [(row[0], row[1], row[3]["seats"]) for row in await audit(rows, tenant)]
    assert changes == [
        ("seats.blocked", f"zone:{zone}", seats[:2]),
        ("seats.blocked", f"zone:{zone}", [seats[2]]),
        ("seats.unblocked", f"zone:{zone}", seats[:3]),
    ]


async def test_a_seat_whose_hold_is_over_is_freed_and_blocked(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    zone, seats = await make_seats(admin, tenant, 1, 2)
    late = await hold(db, tenant, seats[0])
    await rows.end_now(late.ref)
    assert await set_blocked(db, tenant, ADMIN, zone, seats, blocked=True) == seats
    assert (await rows.checkout(late.ref))["status"] == "expired"


async def test_what_is_not_of_the_zone_or_the_tenant_is_refused(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    other = await shop.make_tenant(admin)
    theirs, their_seats = await make_seats(admin, other, 1, 1)
    _, seats = await make_seats(admin, tenant, 1, 2)
    zone, _ = await make_seats(admin, tenant, 1, 2)
    with pytest.raises(Invalid) as refused:
        await set_blocked(db, tenant, ADMIN, zone, [*seats, SeatId(99)], blocked=True)
    assert refused.value.extra["unknown"] == [*seats, 99]
    with pytest.raises(NotFound):
        await set_blocked(db, tenant, ADMIN, ZoneId(99), seats, blocked=True)
    with pytest.raises(NotFound):
        await change_zone(db, tenant, ADMIN, ZoneId(99), ZoneChanges(name="Mine"))
    with pytest.raises(NotFound):
        await change_event(db, tenant, ADMIN, EventKey(99), EventChanges(name="Mine"))
    zones = await zones_of(db, other, EventKey(1))
    assert zones is not None
    assert [(one.id, one.available) for one in zones] == [(theirs, len(their_seats))]
