"""Lines of a live hold: added all or nothing, taken out one by one, once per request."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from db.database import Database
from db.lines import change_lines
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import BuyerKey, LineId, ProductId, TenantId
from domain.messages import CheckoutRef, Line, LinesOutcome, LinesRequest, Settled, StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, cancel, confirm, expire
from tests.support.lines import adding, line_ids, removing
from tests.support.venues import a_seat, make_seats, make_zone, places

DONE, REFUSED, OVER = LinesOutcome.DONE, LinesOutcome.REFUSED, LinesOutcome.OVER


@pytest.fixture
async def products(admin: shop.Connection, tenant: TenantId) -> list[ProductId]:
    """At 1000, and at 700 instead of 900; ten of each."""
    return [
        await shop.make_product(admin, tenant, price=1000),
        await shop.make_product(admin, tenant, price=900, offer_price=700),
    ]


@pytest.fixture
async def held(db: Database, tenant: TenantId, products: list[ProductId]) -> StartCheckout:
    """Two units of the first product."""
    start = a_start(tenant, {products[0]: 2})
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return start


async def totals(rows: Rows, start: StartCheckout) -> tuple[int, int, int]:
    row = await rows.checkout(start.ref)
    return row["subtotal"], row["discount"], row["total"]


async def test_added_lines_are_held_at_the_price_of_now_and_the_totals_follow(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout, products: list[ProductId]
) -> None:
    await admin.execute("UPDATE products SET price = 1500 WHERE id = %s", (products[0],))
    changed = await change_lines(db, adding(held.ref, Line(products[1], 3), Line(products[0], 1)))
    assert changed.outcome is DONE
    assert await totals(rows, held) == (2 * 1000 + 3 * 900 + 1500, 600, 2 * 1000 + 3 * 700 + 1500)
    assert await rows.stock(held.tenant, products[0]) == (7, 3, 0)
    assert await rows.stock(held.tenant, products[1]) == (7, 3, 0)
    lines = await rows.all("SELECT product_id, quantity, unit_price, locked_at FROM checkout_lines ORDER BY position")
    assert [(line["product_id"], line["quantity"], line["unit_price"]) for line in lines] == [
        (products[0], 2, 1000),
        (products[1], 3, 700),
        (products[0], 1, 1500),
    ]
    assert lines[0]["locked_at"] < lines[1]["locked_at"] == lines[2]["locked_at"]


async def test_adding_moves_the_end_of_all_lines_to_the_hold_time_from_now_and_removing_does_not(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    await rows.pass_time(held.ref, timedelta(minutes=10))
    changed = await change_lines(db, adding(held.ref, Line(products[1], 1)))
    assert 899_000 < changed.row.remaining_ms <= 900_000
    end = (await rows.checkout(held.ref))["expires_at"]
    assert await rows.all("SELECT DISTINCT expires_at FROM checkout_lines") == [{"expires_at": end}]
    await rows.pass_time(held.ref, timedelta(minutes=5))
    changed = await change_lines(db, removing(held.ref, (await line_ids(rows, held.ref))[0]))
    assert changed.outcome is DONE
    assert 598_000 < changed.row.remaining_ms <= 600_000


async def test_adding_never_moves_the_end_past_the_maximum_nor_back(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    for _ in range(5):
        await rows.pass_time(held.ref, timedelta(minutes=14))
        before = (await rows.checkout(held.ref))["expires_at"]
        assert (await change_lines(db, adding(held.ref, Line(products[1], 1)))).outcome is DONE
        row = await rows.checkout(held.ref)
        assert before <= row["expires_at"] <= row["held_at"] + timedelta(hours=1)
        if row["expires_at"] == row["held_at"] + timedelta(hours=1):
            return
    pytest.fail("the maximum was not reached")


async def test_a_shortage_adds_nothing_and_names_every_short_line(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout, products: list[ProductId]
) -> None:
    before = await rows.checkout(held.ref)
    gone = ProductId(999)
    request = adding(held.ref, Line(products[1], 1), Line(products[0], 9), Line(gone, 1))
    changed = await change_lines(db, request)
    assert (changed.outcome, changed.row.status) == (REFUSED, CheckoutStatus.HELD)
    assert await rows.checkout(held.ref) == before
    assert await rows.stock(held.tenant, products[1]) == (10, 0, 0)
    refusal = await rows.value("SELECT refusal FROM checkout_changes")
    end = before["expires_at"]
    assert refusal == {
        "code": "insufficient_stock",
        "shortages": [
            {"product_id": products[0], "requested": 9, "available": 8, "reason": "sold_out",
             "free_at": end.isoformat()},
            {"product_id": gone, "requested": 1, "available": 0, "reason": "gone", "free_at": None},
        ],
    }  # fmt: skip


async def test_lines_of_the_same_thing_are_summed_before_the_check(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    two = (Line(products[1], 6), Line(products[1], 5))
    assert (await change_lines(db, adding(held.ref, *two))).outcome is REFUSED
    [short] = (await rows.value("SELECT refusal FROM checkout_changes"))["shortages"]
    assert (short["requested"], short["available"]) == (11, 10)
    assert (await change_lines(db, adding(held.ref, Line(products[1], 6), Line(products[1], 4)))).outcome is DONE
    assert await rows.stock(held.tenant, products[1]) == (0, 10, 0)


async def test_a_line_taken_out_gives_its_units_back_and_the_totals_follow(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    await change_lines(db, adding(held.ref, Line(products[1], 3)))
    [_, added] = await line_ids(rows, held.ref)
    assert (await change_lines(db, removing(held.ref, added))).outcome is DONE
    assert await totals(rows, held) == (2000, 0, 2000)
    assert await rows.stock(held.tenant, products[1]) == (10, 0, 0)
    assert (await change_lines(db, removing(held.ref, added))).outcome is REFUSED
    assert await rows.stock(held.tenant, products[1]) == (10, 0, 0)
    confirmed = await settle(db, confirm(held.ref, a_capture(held.checkout_id, 2000)))
    assert confirmed.status is CheckoutStatus.CONFIRMED
    assert await rows.value("SELECT count(*) FROM order_lines") == 1
    assert await rows.stock(held.tenant, products[1]) == (10, 0, 0)


async def test_taking_the_last_line_out_cancels(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    [line] = await line_ids(rows, held.ref)
    request = removing(held.ref, line)
    changed = await change_lines(db, request)
    assert (changed.outcome, changed.row.status) == (DONE, CheckoutStatus.CANCELLED)
    assert await rows.stock(held.tenant, products[0]) == (10, 0, 0)
    assert await change_lines(db, request) == replace(changed, row=Settled(CheckoutStatus.CANCELLED))
    assert (await change_lines(db, adding(held.ref, Line(products[0], 1)))).outcome is OVER


async def test_a_line_of_another_checkout_is_not_taken_out(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    other = a_start(held.tenant, {products[1]: 1})
    await reserve(db, other)
    [line] = await line_ids(rows, other.ref)
    for unknown in (line, LineId(2**62)):
        assert (await change_lines(db, removing(held.ref, unknown))).outcome is REFUSED
    assert await rows.value('SELECT count(*) FROM checkout_changes WHERE refusal = \'{"code": "not_found"}\'') == 2
    assert await rows.stock(held.tenant, products[1]) == (9, 1, 0)


async def test_every_change_run_twice_or_eight_times_at_once_has_one_effect_and_the_same_answer(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    [first] = await line_ids(rows, held.ref)
    for request in (
        adding(held.ref, Line(products[1], 1)),
        adding(held.ref, Line(products[1], 100)),
        removing(held.ref, first),
        removing(held.ref, LineId(2**62)),
    ):
        answers = [*await asyncio.gather(*(change_lines(db, request) for _ in range(8)))]
        answers.append(await change_lines(db, request))
        assert len({(answer.outcome, answer.row.status) for answer in answers}) == 1
    assert await rows.value("SELECT count(*) FROM checkout_changes") == 4
    assert await rows.stock(held.tenant, products[0]) == (10, 0, 0)
    assert await rows.stock(held.tenant, products[1]) == (9, 1, 0)


async def test_what_is_over_does_not_change(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    [line] = await line_ids(rows, held.ref)
    await rows.end_now(held.ref)
    for request in (adding(held.ref, Line(products[1], 1)), removing(held.ref, line)):
        changed = await change_lines(db, request)
        assert (changed.outcome, changed.row) == (OVER, Settled(CheckoutStatus.HELD, remaining_ms=0))
    await settle(db, expire(held.ref))
    assert (await change_lines(db, adding(held.ref, Line(products[1], 1)))).row.status is CheckoutStatus.EXPIRED
    assert await rows.value("SELECT count(*) FROM checkout_changes") == 0
    assert await rows.stock(held.tenant, products[1]) == (10, 0, 0)


async def test_a_change_that_was_made_is_still_told_after_the_end(
    db: Database, held: StartCheckout, products: list[ProductId]
) -> None:
    request = adding(held.ref, Line(products[1], 1))
    await change_lines(db, request)
    await settle(db, confirm(held.ref, a_capture(held.checkout_id, 2700)))
    changed = await change_lines(db, request)
    assert (changed.outcome, changed.row.status) == (DONE, CheckoutStatus.CONFIRMED)


async def test_a_checkout_that_is_nowhere_or_another_tenants_does_not_change(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout, products: list[ProductId]
) -> None:
    other = await shop.make_tenant(admin)
    for request in (adding(held.ref, Line(products[1], 1)), removing(held.ref, (await line_ids(rows, held.ref))[0])):
        foreign = replace(request, ref=CheckoutRef(other, held.checkout_id))
        assert await change_lines(db, foreign) == replace(await change_lines(db, foreign), outcome=OVER)
        assert (await change_lines(db, foreign)).row.status is None
    assert await rows.value("SELECT count(*) FROM checkout_lines WHERE status = 'held'") == 1


async def test_overdue_holds_on_the_asked_items_are_ended_first(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    forgotten = a_start(held.tenant, {products[1]: 10})
    await reserve(db, forgotten)
    await rows.end_now(forgotten.ref)
    assert (await change_lines(db, adding(held.ref, Line(products[1], 4)))).outcome is DONE
    assert (await rows.checkout(forgotten.ref))["status"] == "expired"
    assert await rows.stock(held.tenant, products[1]) == (6, 4, 0)


async def test_seats_and_places_are_added_beside_products_and_a_seat_that_is_there_already_is_short(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout
) -> None:
    zone = await make_zone(admin, held.tenant, 5)
    _, seats = await make_seats(admin, held.tenant, rows=1, per_row=3)
    assert (await change_lines(db, adding(held.ref, a_seat(seats[0]), places(zone, 3)))).outcome is DONE
    again = adding(held.ref, a_seat(seats[1]), a_seat(seats[0]))
    assert (await change_lines(db, again)).outcome is REFUSED
    [short] = (await rows.value("SELECT refusal FROM checkout_changes WHERE refusal IS NOT NULL"))["shortages"]
    assert (short["seat_id"], short["requested"], short["available"]) == (seats[0], 1, 0)
    assert await rows.value("SELECT count(*) FROM checkout_lines WHERE seat_id IS NOT NULL") == 1


async def test_seats_together_are_picked_when_they_are_added(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout
) -> None:
    zone, seats = await make_seats(admin, held.tenant, rows=2, per_row=4)
    assert (await change_lines(db, adding(held.ref, places(zone, 3)))).outcome is DONE
    taken = {row["seat_id"] for row in await rows.all("SELECT seat_id FROM checkout_lines WHERE seat_id IS NOT NULL")}
    assert len(taken) == 3
    assert taken <= set(seats[:4])
    assert (await change_lines(db, adding(held.ref, places(zone, 5)))).outcome is REFUSED
    [short] = (await rows.value("SELECT refusal FROM checkout_changes WHERE refusal IS NOT NULL"))["shortages"]
    assert (short["zone_id"], short["largest_block"], short["reason"]) == (zone, 4, "not_together")


async def test_lines_of_one_checkout_and_of_one_buyer_are_limited(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout, products: list[ProductId]
) -> None:
    one = Line(products[1], 1)
    await admin.execute("UPDATE tenants SET max_lines = 2, max_held_lines = 100 WHERE id = %s", (held.tenant,))
    assert (await change_lines(db, adding(held.ref, one))).outcome is DONE
    assert (await change_lines(db, adding(held.ref, one))).outcome is REFUSED
    await admin.execute("UPDATE tenants SET max_lines = 100, max_held_lines = 2 WHERE id = %s", (held.tenant,))
    assert (await change_lines(db, adding(held.ref, one))).outcome is REFUSED
    limits = await rows.all(
        "SELECT refusal ->> 'limit' AS name, refusal ->> 'most' AS most, refusal ->> 'frees_at' AS frees_at"
        " FROM checkout_changes WHERE refusal IS NOT NULL ORDER BY changed_at"
    )
    assert [(limit["name"], limit["most"]) for limit in limits] == [("lines", "2"), ("held_lines", "2")]
    assert [limit["frees_at"] is None for limit in limits] == [True, False]
    assert await rows.value("SELECT held_lines FROM limit_counters") == 2
    await change_lines(db, removing(held.ref, (await line_ids(rows, held.ref))[1]))
    assert (await change_lines(db, adding(held.ref, one))).outcome is DONE
    assert await rows.value("SELECT held_lines FROM limit_counters") == 2


async def test_a_service_that_sells_for_many_has_no_limit_of_its_own(
    db: Database, admin: shop.Connection, tenant: TenantId, products: list[ProductId]
) -> None:
    await admin.execute("UPDATE tenants SET max_held_lines = 1 WHERE id = %s", (tenant,))
    start = replace(a_start(tenant, {products[0]: 1}), buyer=BuyerKey("service:storefront"))
    await reserve(db, start)
    assert (await change_lines(db, adding(start.ref, Line(products[1], 1)))).outcome is DONE


async def test_the_line_limit_holds_under_fifty_parallel_tries(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout, products: list[ProductId]
) -> None:
    await admin.execute("UPDATE stock_items SET total = 1000")
    await admin.execute("UPDATE tenants SET max_held_lines = 11 WHERE id = %s", (held.tenant,))
    second = a_start(held.tenant, {products[1]: 1})
    await reserve(db, second)
    tries = [adding(ref, Line(products[1], 1)) for ref in (held.ref, second.ref) for _ in range(25)]
    outcomes = [(await change).outcome for change in asyncio.as_completed([change_lines(db, one) for one in tries])]
    assert (outcomes.count(DONE), outcomes.count(REFUSED)) == (9, 41)
    assert await rows.value("SELECT held_lines FROM limit_counters") == 11


async def test_cancelling_gives_back_what_is_left_and_no_more(
    db: Database, rows: Rows, held: StartCheckout, products: list[ProductId]
) -> None:
    await change_lines(db, adding(held.ref, Line(products[1], 3)))
    await change_lines(db, removing(held.ref, (await line_ids(rows, held.ref))[0]))
    assert (await settle(db, cancel(held.ref))).status is CheckoutStatus.CANCELLED
    for product in products:
        assert await rows.stock(held.tenant, product) == (10, 0, 0)
    assert await rows.value("SELECT held_lines FROM limit_counters") == 0


async def test_lines_count_for_the_address_as_well_where_a_shop_limits_addresses(
    db: Database, rows: Rows, tenant: TenantId, products: list[ProductId]
) -> None:
    start = replace(a_start(tenant, {products[0]: 1}), address="hash-of-an-address")
    await reserve(db, start)
    await change_lines(db, adding(start.ref, Line(products[1], 1), Line(products[0], 1)))
    await change_lines(db, removing(start.ref, (await line_ids(rows, start.ref))[0]))
    counted = await rows.all("SELECT subject, held_lines FROM limit_counters ORDER BY subject")
    assert [row["held_lines"] for row in counted] == [2, 2]
    await settle(db, cancel(start.ref))
    assert await rows.value("SELECT sum(held_lines) FROM limit_counters") == 0


def test_a_request_names_no_more_than_it_must() -> None:
    assert set(LinesRequest.__dataclass_fields__) == {"ref", "request_id", "fingerprint", "add", "remove"}
