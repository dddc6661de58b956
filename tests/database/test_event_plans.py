"""What reading tickets reads: the index of the free seats to count them, a page's seats to show them, and no more."""

from __future__ import annotations

import pytest

from db.database import Database
from db.events import NO_SEAT, free_seats, list_seats, zones_of
from db.reserve import reserve
from domain.checkout import CheckoutStatus
from domain.ids import EventKey, SeatId, TenantId, ZoneId
from tests.support import shop
from tests.support.checkouts import Rows, opened
from tests.support.plans import looked_over, rows_read
from tests.support.venues import make_seats, make_zone, places, start_of

ROWS, PER_ROW = 100, 100
SEATS = ROWS * PER_ROW
TABLES = ("stock_items", "seats", "checkout_lines")
PLANS = ("force_generic_plan", "force_custom_plan", "auto")


@pytest.fixture
async def zone(admin: shop.Connection, tenant: TenantId) -> ZoneId:
    """A numbered zone of 10,000 seats, beside as many of other zones, and a general one."""
    zone, _ = await make_seats(admin, tenant, ROWS, PER_ROW)
    await make_seats(admin, tenant, ROWS, PER_ROW, event=2)
    await make_zone(admin, tenant, 50)
    await looked_over(admin)
    return zone


@pytest.mark.parametrize("plans", PLANS)
async def test_counting_free_seats_reads_no_row_of_them(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, zone: ZoneId, plans: str
) -> None:
    name = await rows.value("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET plan_cache_mode = {plans}")
    before = await rows_read(rows, TABLES)
    async with opened(database_url, size=1) as db:
        for _ in range(4):
            zones = await zones_of(db, tenant, EventKey(1))
            assert zones is not None
            assert [one.available for one in zones] == [SEATS, 50]
            assert await free_seats(db, tenant, [zone]) == {zone: SEATS}
    after = await rows_read(rows, TABLES)
    assert {table: after[table] - before[table] < 100 for table in TABLES} == dict.fromkeys(TABLES, True), after


@pytest.mark.parametrize("plans", PLANS)
async def test_a_page_of_seats_and_a_pick_read_what_they_show_and_little_more(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, zone: ZoneId, plans: str
) -> None:
    name = await rows.value("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET plan_cache_mode = {plans}")
    last = SeatId(await rows.value("SELECT id FROM seats WHERE zone_id = %s AND rank = 90 AND number = 1", zone))
    before = await rows_read(rows, TABLES)
    async with opened(database_url, size=1) as db:
        for after in (NO_SEAT, last):
            page = await list_seats(db, tenant, zone, after, 500)
            assert page is not None
            assert len(page.seats) == 500
        assert await pick(db, tenant, zone) is CheckoutStatus.HELD
    read = {table: count - before[table] for table, count in (await rows_read(rows, TABLES)).items()}
    assert read["stock_items"] < 2 * 500 + 1000, read
    assert read["seats"] < 2 * 500 + 1000, read
    assert read["checkout_lines"] < 100, read


async def pick(db: Database, tenant: TenantId, zone: ZoneId) -> CheckoutStatus:
    return (await reserve(db, start_of(tenant, places(zone, 4)))).status
