"""Fiscal numbers on real PostgreSQL: given by the confirm, from ranges that take turns, and waited for in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.database import Database
from db.fiscal import add_range, add_series, fill, list_ranges, list_series, new_alerts, waiting_series
from db.fiscal_report import report
from db.settle import settle
from db.tenant_settings import change_settings
from domain.errors import Conflict, Invalid, NotFound
from domain.fiscal import Alert, NewSeries
from domain.ids import ProductId, TenantId
from tests.support import shop
from tests.support.catalogue import audit
from tests.support.checkouts import Rows, a_capture, cancel, confirm
from tests.support.fiscal import BOSS, NUMBERS, SERIES, a_hold, a_range, numbers, sell, today, use_series


@pytest.fixture
async def product(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=1000)


async def test_a_confirm_gives_the_order_the_next_number_and_the_time_of_the_series(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await use_series(db, tenant, a_range(7, 100))
    before = datetime.now(UTC)
    for _ in range(3):
        await sell(db, tenant, product)
    found = await rows.all(NUMBERS, tenant)
    assert [row["number"] for row in found] == ["F-000007", "F-000008", "F-000009"]
    assert [row["sequence"] for row in found] == [7, 8, 9]
    assert [row["status"] for row in found] == ["issued"] * 3
    times = [row["at"] for row in found]
    assert before <= times[0] < times[1] < times[2] <= datetime.now(UTC)
    [made] = await rows.all("SELECT o.xmin::text AS o, s.xmin::text AS s FROM orders o, fiscal_series s"
                            " WHERE o.fiscal_sequence = 9")  # fmt: skip
    assert made["o"] == made["s"], "one transaction"


async def test_an_order_of_a_shop_without_a_series_has_none(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await add_series(db, tenant, BOSS, NewSeries(SERIES, "F-"))
    await sell(db, tenant, product)
    assert [(row["status"], row["number"]) for row in await rows.all(NUMBERS, tenant)] == [("none", None)]
    await use_series(db, tenant, a_range(1, 9), padding=0)
    assert await fill(db, tenant, SERIES) == 0, "what was sold before stays without"


async def test_a_second_payment_a_repeat_and_a_cancel_take_no_number(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await use_series(db, tenant, a_range(1, 9))
    start, other = await a_hold(db, tenant, product), await a_hold(db, tenant, product)
    request = confirm(start.ref, a_capture(start.checkout_id, 1000))
    for _ in range(2):
        await settle(db, request)
    await settle(db, confirm(start.ref, a_capture(start.checkout_id, 1000)))
    await settle(db, cancel(other.ref))
    assert await rows.value("SELECT next_number FROM fiscal_series") == 2


async def test_the_next_range_takes_over_where_one_is_used_up(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await use_series(db, tenant, a_range(1, 2), a_range(11, 12), a_range(21, 30))
    for _ in range(5):
        await sell(db, tenant, product)
    assert await numbers(rows, tenant) == ["F-000001", "F-000002", "F-000011", "F-000012", "F-000021"]
    assert [one.status for one in await list_ranges(db, tenant, SERIES)] == ["used", "used", "open"]
    [found] = await report(db, tenant)
    assert found.good
    assert (found.issued, found.first, found.last, found.series.remaining) == (5, 1, 21, 9)


async def test_the_next_range_takes_over_where_one_runs_out_of_time_and_its_rest_is_never_given(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await use_series(db, tenant, a_range(1, 100), a_range(101, 110))
    await sell(db, tenant, product)
    await admin.execute(
        "UPDATE fiscal_ranges SET valid_from = valid_from - 10, valid_until = valid_from - 1,"
        " starts_at = clock_timestamp() - interval '2 days', ends_at = clock_timestamp() WHERE first_number = 1"
    )
    await sell(db, tenant, product)
    assert await numbers(rows, tenant) == ["F-000001", "F-000101"]
    [found] = await report(db, tenant)
    assert found.good
    assert found.series.remaining == 9
    assert [one.status for one in await list_ranges(db, tenant, SERIES)] == ["used", "open"]


async def test_a_range_that_is_not_valid_yet_is_passed_over_for_one_that_is(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await use_series(db, tenant, a_range(1, 10, days=(5, 9)), a_range(11, 20, days=(0, 9)), a_range(21, 30))
    await sell(db, tenant, product)
    assert await numbers(rows, tenant) == ["F-000011"]
    assert [one.status for one in await list_ranges(db, tenant, SERIES)] == ["passed_over", "open", "prepared"]


async def test_without_a_number_left_the_order_is_made_and_waits_and_later_ones_wait_behind_it(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await use_series(db, tenant, a_range(1, 1))
    for _ in range(4):
        await sell(db, tenant, product)
    assert await numbers(rows, tenant) == ["F-000001", None, None, None]
    assert await waiting_series(db, tenant) == [SERIES]
    [found] = await report(db, tenant)
    assert (found.pending, found.good, found.series.remaining) == (3, True, 0)
    # A range that comes by another way: nobody goes before those that wait.
    await admin.execute(
        "INSERT INTO fiscal_ranges (tenant_id, series, first_number, last_number, valid_from, valid_until, starts_at,"
        " ends_at, authorisation) SELECT tenant_id, series, 2, 3, valid_from, valid_until, starts_at, ends_at, 'x'"
        " FROM fiscal_ranges"
    )
    await sell(db, tenant, product)
    assert await numbers(rows, tenant) == ["F-000001", None, None, None, None]
    assert await fill(db, tenant, SERIES) == 2
    assert await fill(db, tenant, SERIES) == 0
    assert await numbers(rows, tenant) == ["F-000001", "F-000002", "F-000003", None, None]
    await add_range(db, tenant, BOSS, SERIES, a_range(7, 7))
    await add_range(db, tenant, BOSS, SERIES, a_range(8, 9))
    await sell(db, tenant, product)
    wanted = ["F-000001", "F-000002", "F-000003", "F-000007", "F-000008", "F-000009"]
    assert await numbers(rows, tenant) == wanted
    times = [row["at"] for row in await rows.all(NUMBERS, tenant)]
    assert times == sorted(set(times))
    assert await waiting_series(db, tenant) == []


async def test_a_long_queue_is_filled_in_order_over_several_ranges(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await use_series(db, tenant)
    for _ in range(12):
        await sell(db, tenant, product)
    assert await numbers(rows, tenant) == [None] * 12
    await add_range(db, tenant, BOSS, SERIES, a_range(5, 8))
    await add_range(db, tenant, BOSS, SERIES, a_range(20, 99))
    assert await numbers(rows, tenant) == [f"F-{number:06d}" for number in [*range(5, 9), *range(20, 28)]]


async def test_a_clock_that_is_put_back_does_not_put_the_dates_back(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await use_series(db, tenant, a_range(1, 9))
    await sell(db, tenant, product)
    ahead = datetime.now(UTC) + timedelta(hours=1)
    await admin.execute("UPDATE fiscal_series SET last_at = %s", (ahead,))
    await sell(db, tenant, product)
    await sell(db, tenant, product)
    _, second, third = [row["at"] for row in await rows.all(NUMBERS, tenant)]
    assert ahead < second < third < ahead + timedelta(seconds=1)


async def test_two_series_count_apart_and_a_change_is_for_orders_after_it(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    await use_series(db, tenant, a_range(1, 9))
    await sell(db, tenant, product)
    await use_series(db, tenant, a_range(1, 9), name="online", prefix="ON-", padding=0)
    await sell(db, tenant, product)
    await change_settings(db, tenant, BOSS, {"fiscal_series": SERIES})
    await sell(db, tenant, product)
    assert await numbers(rows, tenant) == ["F-000001", "ON-1", "F-000002"]
    assert [(one.series.name, one.issued, one.good) for one in await report(db, tenant)] == [
        (SERIES, 2, True),
        ("online", 1, True),
    ]


async def test_adding_the_same_again_finds_it_and_another_is_refused(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    for _ in range(2):
        assert (await add_series(db, tenant, BOSS, NewSeries("a", "A-", 4))).prefix == "A-"
        assert (await add_range(db, tenant, BOSS, "a", a_range(1, 10))).first == 1
    for other in (NewSeries("a", "B-"), NewSeries("b", "A-")):
        with pytest.raises(Conflict):
            await add_series(db, tenant, BOSS, other)
    with pytest.raises(NotFound):
        await add_range(db, tenant, BOSS, "none", a_range(1, 10))
    with pytest.raises(NotFound):
        await list_ranges(db, tenant, "none")
    for bad in (a_range(10, 20), a_range(5, 4), replace(a_range(11, 20), valid_until=today() - timedelta(days=9))):
        with pytest.raises(Invalid):
            await add_range(db, tenant, BOSS, "a", bad)
    actions = [(action, subject) for action, subject, *_ in await audit(rows, tenant, BOSS)]
    assert actions == [("fiscal.series_added", "fiscal-series:a"), ("fiscal.range_added", "fiscal-series:a")]


async def test_a_setting_that_names_no_series_is_refused(db: Database, tenant: TenantId) -> None:
    with pytest.raises(Invalid, match="no such series"):
        await change_settings(db, tenant, BOSS, {"fiscal_series": "none"})


async def test_the_days_of_a_range_are_those_of_the_tenants_time_zone(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    await change_settings(db, tenant, BOSS, {"time_zone": "America/Bogota"})
    await use_series(db, tenant, a_range(1, 9, days=(0, 0)))
    [row] = await rows.all("SELECT starts_at, ends_at FROM fiscal_ranges")
    assert (row["starts_at"].hour, row["ends_at"] - row["starts_at"]) == (5, timedelta(days=1))


async def test_somebody_is_told_once_when_numbers_days_or_patience_run_out(
    db: Database, tenant: TenantId, product: ProductId
) -> None:
    await add_series(db, tenant, BOSS, NewSeries(SERIES, "F-", alert_percent=50, alert_days=30))
    await add_range(db, tenant, BOSS, SERIES, a_range(1, 4, days=(0, 40)))
    assert await new_alerts(db, tenant) == [], "nobody uses it"
    await change_settings(db, tenant, BOSS, {"fiscal_series": SERIES})
    for _ in range(2):
        await sell(db, tenant, product)
    assert await new_alerts(db, tenant) == []
    await sell(db, tenant, product)
    assert [alert for _, alert in await new_alerts(db, tenant)] == [Alert.NUMBERS]
    assert await new_alerts(db, tenant) == [], "told once"
    await add_range(db, tenant, BOSS, SERIES, a_range(5, 6, days=(0, 10)))
    assert await new_alerts(db, tenant) == [], "prepared"
    for _ in range(4):
        await sell(db, tenant, product)
    told = [alert for _, alert in await new_alerts(db, tenant)]
    assert told == [Alert.NUMBERS, Alert.DAYS, Alert.WAITING]
    [series] = await list_series(db, tenant)
    assert (series.alerts, series.waiting) == (told, 1)
    assert await new_alerts(db, tenant) == []


async def test_the_report_finds_what_must_never_be(
    db: Database,
    admin: shop.Connection,
    rows: Rows,
    tenant: TenantId,
    product: ProductId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("db.fiscal_report.A_PAGE", 2)
    await use_series(db, tenant, a_range(1, 50))
    for _ in range(7):
        await sell(db, tenant, product)
    [found] = await report(db, tenant, SERIES)
    assert (found.good, found.issued, found.first, found.last) == (True, 7, 1, 7)
    swap = "UPDATE orders SET fiscal_issued_at = fiscal_issued_at + %s WHERE fiscal_sequence = 3"
    move = "UPDATE orders SET fiscal_sequence = fiscal_sequence + %s WHERE fiscal_sequence >= %s"
    await admin.execute(swap, (timedelta(hours=1),))
    [found] = await report(db, tenant)
    assert (found.disordered, found.good) == (1, False)
    await admin.execute(swap, (timedelta(hours=-1),))
    await admin.execute(move, (10, 6))
    [found] = await report(db, tenant)
    assert (found.missing, found.first_missing, found.wrong, found.good) == (10, 6, 2, False)
    await admin.execute(move, (-10, 16))
    [found] = await report(db, tenant)
    assert found.good
