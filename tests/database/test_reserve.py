"""Reserve: all or nothing, once, at the price of its moment, and never held up by a hold that is over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from db.database import Database
from db.inbox import record_event
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import ProductId, TenantId
from domain.messages import Line, StartStatus
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, again, an_event, cancel, confirm, opened


async def test_a_reserve_holds_every_line_and_answers_with_the_row(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    coffee = await shop.make_product(admin, tenant, stock=10, price=1000)
    mug = await shop.make_product(admin, tenant, stock=5, price=2000, offer_price=1500)
    start = a_start(tenant, {coffee: 3, mug: 2})
    started = await reserve(db, start)
    assert (started.start, started.status) == (StartStatus.STORED, CheckoutStatus.HELD)
    assert (started.total, started.currency, started.deadline) == (6000, "COP", start.deadline)
    assert 899_000 < started.remaining_ms <= 900_000
    assert await rows.stock(tenant, coffee) == (7, 3, 0)
    assert await rows.stock(tenant, mug) == (3, 2, 0)
    row = await rows.checkout(start.ref)
    assert (row["subtotal"], row["discount"], row["total"]) == (7000, 1000, 6000)
    assert row["expires_at"] - row["held_at"] == timedelta(seconds=900)
    lines = await rows.all("SELECT * FROM checkout_lines ORDER BY position")
    assert [(line["quantity"], line["list_price"], line["unit_price"]) for line in lines] == [
        (3, 1000, 1000),
        (2, 2000, 1500),
    ]
    assert {(line["locked_at"], line["expires_at"]) for line in lines} == {(row["held_at"], row["expires_at"])}


async def test_a_refusal_holds_nothing_and_names_every_short_line(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    plenty = await shop.make_product(admin, tenant, stock=10)
    few = await shop.make_product(admin, tenant, stock=2)
    none = await shop.make_product(admin, tenant, stock=0)
    withdrawn = await shop.make_product(admin, tenant, stock=9, available=False)
    free_of_charge = await shop.make_product(admin, tenant, stock=9, price=0)
    gone = ProductId(404)
    other = a_start(tenant, {few: 1})
    await reserve(db, other)
    start = a_start(tenant, {plenty: 1, few: 2, none: 1, withdrawn: 1, free_of_charge: 1, gone: 1})
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    refusal = (await rows.checkout(start.ref))["refusal"]
    soon = await rows.value("SELECT to_json(expires_at) FROM checkouts WHERE status = 'held'")
    assert refusal == {
        "code": "insufficient_stock",
        "shortages": [
            {"product_id": few, "requested": 2, "available": 1, "reason": "sold_out", "free_at": soon},
            {"product_id": none, "requested": 1, "available": 0, "reason": "sold_out", "free_at": None},
            {"product_id": withdrawn, "requested": 1, "available": 0, "reason": "unavailable", "free_at": None},
            {"product_id": free_of_charge, "requested": 1, "available": 0, "reason": "no_price", "free_at": None},
            {"product_id": gone, "requested": 1, "available": 0, "reason": "gone", "free_at": None},
        ],
    }
    assert await rows.stock(tenant, plenty) == (10, 0, 0)
    assert await rows.value("SELECT count(*) FROM checkout_lines WHERE checkout_id = %s", start.checkout_id) == 0


async def test_free_at_is_when_the_earliest_competing_hold_ends(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=2)
    first, second = a_start(tenant, {product: 1}), a_start(tenant, {product: 1})
    await reserve(db, first)
    await reserve(db, second)
    end = await rows.end_now(second.ref, ago=-5)
    start = a_start(tenant, {product: 1})
    await reserve(db, start)
    [short] = (await rows.checkout(start.ref))["refusal"]["shortages"]
    assert short["free_at"] == await rows.value("SELECT to_json(%s::timestamptz)", end)


@pytest.mark.parametrize(("stock", "status"), [(5, CheckoutStatus.HELD), (4, CheckoutStatus.REFUSED)])
async def test_lines_that_name_one_product_are_summed(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, stock: int, status: CheckoutStatus
) -> None:
    product = await shop.make_product(admin, tenant, stock=stock)
    start = replace(a_start(tenant, {}), lines=[Line(product, 2), Line(product, 3)])
    assert (await reserve(db, start)).status is status
    held = 5 if status is CheckoutStatus.HELD else 0
    assert await rows.stock(tenant, product) == (stock - held, held, 0)
    if not held:
        [short] = (await rows.checkout(start.ref))["refusal"]["shortages"]
        assert (short["requested"], short["available"]) == (5, 4)


async def test_prices_and_offers_are_fixed_at_the_lock_and_honoured_in_the_order(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, price=2000, offer_price=1500)
    start = a_start(tenant, {product: 2})
    await reserve(db, start)
    await admin.execute("UPDATE products SET price = 9000, offer_price = NULL")
    assert (await reserve(db, again(start))).total == 3000
    settled = await settle(db, confirm(start.ref, a_capture(start.checkout_id, 3000)))
    assert settled.status is CheckoutStatus.CONFIRMED
    [line] = await rows.all("SELECT quantity, list_price, unit_price FROM order_lines")
    assert line == {"quantity": 2, "list_price": 2000, "unit_price": 1500}


async def test_another_total_than_expected_is_refused_and_says_the_new_one(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, price=1000)
    start = a_start(tenant, {product: 2}, expected_total=1999)
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    assert (await rows.checkout(start.ref))["refusal"] == {"code": "price_changed", "total": 2000}
    assert await rows.stock(tenant, product) == (10, 0, 0)
    assert (await reserve(db, a_start(tenant, {product: 2}, expected_total=2000))).status is CheckoutStatus.HELD


async def test_reached_after_its_deadline_a_start_writes_nothing_and_may_be_tried_again(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant)
    late = a_start(tenant, {product: 1}, patience=-0.001)
    started = await reserve(db, late)
    assert (started.start, started.status) == (StartStatus.NOT_ATTEMPTED, CheckoutStatus.NEW)
    assert await rows.value("SELECT count(*) FROM checkouts") == 0
    assert (await reserve(db, again(late))).status is CheckoutStatus.HELD


async def test_a_start_for_a_tenant_that_is_not_there_writes_nothing(db: Database, rows: Rows) -> None:
    started = await reserve(db, a_start(TenantId("nobody"), {ProductId(1): 1}))
    assert started.start is StartStatus.NOT_ATTEMPTED
    assert await rows.value("SELECT count(*) FROM checkouts") == 0


async def test_a_repeat_finds_what_the_first_one_did_even_after_its_deadline(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=1)
    start = a_start(tenant, {product: 1})
    first = await reserve(db, start)
    repeat = await reserve(db, again(start, patience=-60))
    assert (repeat.start, repeat.status) == (StartStatus.STORED, first.status)
    assert 0 < repeat.remaining_ms <= first.remaining_ms
    await settle(db, cancel(start.ref))
    assert (await reserve(db, again(start))).status is CheckoutStatus.CANCELLED
    assert await rows.stock(tenant, product) == (1, 0, 0)


@pytest.mark.parametrize("stock", [0, 1, 8])
async def test_eight_at_once_with_one_id_are_one_reserve(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, stock: int
) -> None:
    product = await shop.make_product(admin, tenant, stock=stock)
    start = a_start(tenant, {product: 1})
    answers = await asyncio.gather(*(reserve(db, start) for _ in range(8)))
    held = 1 if stock else 0
    assert {answer.status for answer in answers} == {CheckoutStatus.HELD if held else CheckoutStatus.REFUSED}
    assert await rows.stock(tenant, product) == (stock - held, held, 0)
    assert await rows.value("SELECT count(*) FROM checkout_lines") == held


async def test_a_hold_past_its_end_blocks_nobody_with_no_worker_running(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=3)
    overdue = [a_start(tenant, {product: 1}) for _ in range(3)]
    for start in overdue:
        await reserve(db, start)
        await rows.end_now(start.ref)
    winner = a_start(tenant, {product: 2})
    assert (await reserve(db, winner)).status is CheckoutStatus.HELD
    assert await rows.stock(tenant, product) == (1, 2, 0)
    statuses = {(await rows.checkout(start.ref))["status"] for start in overdue}
    assert statuses == {"expired"}


async def test_a_live_hold_is_not_expired_by_somebody_who_falls_short(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=2)
    live, overdue = a_start(tenant, {product: 1}), a_start(tenant, {product: 1})
    await reserve(db, live)
    await reserve(db, overdue)
    await rows.end_now(overdue.ref)
    refused = a_start(tenant, {product: 2})
    assert (await reserve(db, refused)).status is CheckoutStatus.REFUSED
    assert (await rows.checkout(live.ref))["status"] == "held"
    [short] = (await rows.checkout(refused.ref))["refusal"]["shortages"]
    assert (short["requested"], short["available"]) == (2, 1)


async def test_an_overdue_hold_that_was_paid_in_time_is_sold_not_given_to_the_next(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=1)
    paid = a_start(tenant, {product: 1})
    await reserve(db, paid)
    capture = a_capture(paid.checkout_id, 1000)
    await record_event(db, tenant, an_event(capture), b"{}")
    await rows.end_now(paid.ref)
    assert (await reserve(db, a_start(tenant, {product: 1}))).status is CheckoutStatus.REFUSED
    assert (await rows.checkout(paid.ref))["status"] == "confirmed"
    assert await rows.stock(tenant, product) == (0, 0, 1)


async def test_many_buyers_who_free_the_same_overdue_holds_at_once_share_the_stock(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=5)
    async with opened(database_url, size=12) as db:
        for _ in range(5):
            overdue = a_start(tenant, {product: 1})
            await reserve(db, overdue)
            await rows.end_now(overdue.ref)
        answers = await asyncio.gather(*(reserve(db, a_start(tenant, {product: 1})) for _ in range(12)))
    statuses = [answer.status for answer in answers]
    assert statuses.count(CheckoutStatus.HELD) == 5
    assert statuses.count(CheckoutStatus.REFUSED) == 7
    assert await rows.stock(tenant, product) == (0, 5, 0)


GIVE_BACK = {
    "restocked": ["UPDATE stock_items SET total = total + 1"],
    "cancelled": [
        "UPDATE checkouts SET status = 'cancelled', ended_at = clock_timestamp() WHERE status = 'held'",
        "UPDATE checkout_lines SET status = 'released' WHERE status = 'held'",
        "UPDATE limit_counters SET live_checkouts = 0, held_lines = 0",
        "UPDATE stock_items SET reserved = reserved - 1",
    ],
    "returned": ["UPDATE order_lines SET returned = 1", "UPDATE stock_items SET sold = sold - 1"],
}


@pytest.mark.parametrize("how", list(GIVE_BACK))
async def test_a_unit_given_back_while_a_buyer_waits_for_the_lock_can_be_had(
    database_url: str, db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, how: str
) -> None:
    product = await shop.make_product(admin, tenant, stock=2)
    sold, held = a_start(tenant, {product: 1}), a_start(tenant, {product: 1})
    await reserve(db, sold)
    await settle(db, confirm(sold.ref, a_capture(sold.checkout_id, 1000)))
    await reserve(db, held)
    async with shop.connect(database_url) as other:
        async with other.transaction():
            for statement in GIVE_BACK[how]:
                await other.execute(statement)
            waiting = asyncio.create_task(reserve(db, a_start(tenant, {product: 1})))
            await rows.until_somebody_waits_for_a_lock()
        assert (await waiting).status is CheckoutStatus.HELD
    assert (await rows.stock(tenant, product))[0] == 0
