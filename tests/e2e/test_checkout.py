"""The main job over real HTTP: hold, extend, pay, cancel, expire."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from tests.support.buyers import code
from tests.support.system import QUICK, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_start_holds_the_stock_and_answers_the_whole_checkout(system: System) -> None:
    coffee, tea = await system.product(stock=5, price=1000), await system.product(stock=3, price=2000, offer_price=1500)
    buyer = system.buyer()
    answer = await buyer.start((coffee, 2), (tea, 1), (coffee, 1))
    assert answer.status_code == 201
    held = answer.json()
    assert answer.headers["location"] == f"/v1/checkouts/{held['id']}"
    assert (held["status"], held["subtotal"], held["discount"], held["total"]) == ("held", 5000, 500, 4500)
    assert 895 <= held["remaining_seconds"] <= 900
    lines = [(line["product_id"], line["quantity"], line["unit_price"], line["status"]) for line in held["lines"]]
    assert lines == [(coffee, 3, 1000, "held"), (tea, 1, 1500, "held")]
    assert await system.stock(coffee) == (2, 3, 0)
    assert await buyer.read(held["id"]) == {
        **held,
        "remaining_seconds": (await buyer.read(held["id"]))["remaining_seconds"],
    }


async def test_a_payment_confirms_the_checkout_with_no_client_present(system: System) -> None:
    coffee = await system.product(stock=5)
    buyer = system.buyer()
    held = await buyer.hold((coffee, 2))
    payment = await system.payment(held)
    await system.gateway.pay(payment)
    view = await buyer.until(held["id"], "confirmed")
    assert await system.stock(coffee) == (3, 0, 2)
    [order] = await buyer.orders()
    assert view["order_id"] == order["id"]
    assert (order["checkout_id"], order["total"], order["payment_id"]) == (held["id"], 2000, payment)
    assert [(line["product_id"], line["quantity"], line["unit_price"]) for line in order["lines"]] == [
        (coffee, 2, 1000)
    ]
    [paid] = view["payments"]
    assert (paid["outcome"], paid["amount"], paid["refund_status"]) == ("order", 2000, None)
    assert {line["status"] for line in view["lines"]} == {"sold"}


async def test_the_price_at_the_lock_is_honoured_when_it_changes_later(system: System) -> None:
    coffee = await system.product(price=1000)
    buyer = system.buyer()
    held = await buyer.hold((coffee, 1))
    await system.admin.execute("UPDATE products SET price = 7777 WHERE tenant_id = 'demo' AND id = %s", (coffee,))
    await system.gateway.pay(await system.payment(held))
    await buyer.until(held["id"], "confirmed")
    assert (await buyer.orders())[0]["total"] == 1000


async def test_a_cancel_gives_the_stock_back_and_a_repeat_is_no_error(system: System) -> None:
    coffee = await system.product(stock=1)
    buyer = system.buyer()
    held = await buyer.hold((coffee, 1))
    first = await buyer.cancel(held["id"])
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert await system.stock(coffee) == (1, 0, 0)
    again, with_key = await buyer.cancel(held["id"]), await buyer.cancel(held["id"], key="one")
    assert [one.status_code for one in (again, with_key)] == [200, 200]
    assert again.json() == first.json()
    await buyer.hold((coffee, 1))


async def test_a_hold_ends_by_itself_and_its_stock_is_free_again(system: System) -> None:
    coffee = await system.product(stock=1, tenant=QUICK)
    buyer = system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    view = await buyer.until(held["id"], "expired", seconds=6)
    assert view["remaining_seconds"] == 0
    ended, end = (datetime.fromisoformat(view[name]) for name in ("ended_at", "expires_at"))
    assert 0 <= (ended - end).total_seconds() < 2
    assert await system.stock(coffee, QUICK) == (1, 0, 0)


async def test_after_the_end_extend_and_cancel_answer_410(system: System) -> None:
    coffee = await system.product(tenant=QUICK)
    buyer = system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    await buyer.until(held["id"], "expired", seconds=6)
    for answer in (await buyer.extend(held["id"]), await buyer.cancel(held["id"])):
        assert (answer.status_code, code(answer), answer.json()["checkout_status"]) == (410, "hold_over", "expired")
    cancelled = await buyer.hold((coffee, 1))
    await buyer.cancel(cancelled["id"])
    assert (await buyer.extend(cancelled["id"])).status_code == 410


async def test_an_extended_hold_outlives_its_first_end(system: System) -> None:
    coffee = await system.product(stock=1, tenant=QUICK)
    buyer = system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    await asyncio.sleep(1)
    extended = await buyer.extend(held["id"])
    assert extended.status_code == 200, extended.text
    gained = _end(extended.json()) - _end(held)
    assert 0.9 <= gained <= 1.7
    await asyncio.sleep(1.3)
    assert (await buyer.read(held["id"]))["status"] == "held"
    view = await buyer.until(held["id"], "expired", seconds=6)
    assert _end(view) == _end(extended.json())


async def test_no_number_of_extensions_passes_the_maximum(system: System) -> None:
    coffee = await system.product(tenant=QUICK)
    buyer = system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    began, end = datetime.fromisoformat(held["created_at"]).timestamp(), _end(held)
    while end < began + 5.9:
        await asyncio.sleep(0.7)
        answer = await buyer.extend(held["id"])
        assert answer.status_code == 200, answer.text
        assert _end(answer.json()) >= end
        end = _end(answer.json())
    assert end <= began + 6.1
    assert _end((await buyer.extend(held["id"])).json()) == end
    await buyer.until(held["id"], "expired", seconds=6)


async def test_a_checkout_is_paid_after_a_decline(system: System) -> None:
    coffee = await system.product()
    buyer = system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held)
    await system.gateway.decline(payment)
    await system.gateway.settled(payment)
    assert (await buyer.read(held["id"]))["status"] == "held"
    await system.gateway.pay(payment)
    await buyer.until(held["id"], "confirmed")


async def test_five_declines_do_not_prolong_the_hold(system: System) -> None:
    coffee = await system.product(stock=1, tenant=QUICK)
    buyer = system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held, QUICK)
    for _ in range(5):
        await asyncio.sleep(0.3)
        await system.gateway.decline(payment)
    view = await buyer.until(held["id"], "expired", seconds=4)
    assert _end(view) == _end(held)
    assert 0 <= datetime.fromisoformat(view["ended_at"]).timestamp() - _end(held) < 1.5
    assert [(one["status"], one["outcome"]) for one in view["payments"]] == [("expired", None)]


async def test_a_refused_start_names_every_short_line_and_when_it_may_be_free(system: System) -> None:
    scarce, plenty, gone = await system.product(stock=2), await system.product(stock=9), await system.product(stock=0)
    off = await system.product(available=False)
    held = await system.buyer().hold((scarce, 1))
    answer = await system.buyer().start((scarce, 2), (plenty, 1), (gone, 1), (off, 1), (999_999, 3))  # type: ignore[arg-type]
    assert (answer.status_code, code(answer)) == (409, "insufficient_stock")
    short = {one["product_id"]: one for one in answer.json()["shortages"]}
    facts = {key: (one["requested"], one["available"], one["reason"]) for key, one in short.items()}
    assert facts == {
        scarce: (2, 1, "sold_out"),
        gone: (1, 0, "sold_out"),
        off: (1, 0, "unavailable"),
        999_999: (3, 0, "gone"),
    }
    assert datetime.fromisoformat(short[scarce]["free_at"]).timestamp() == _end(held)
    assert short[gone]["free_at"] is None
    assert await system.stock(plenty) == (9, 0, 0)


async def test_an_expected_total_that_differs_is_refused_with_the_new_one(system: System) -> None:
    coffee = await system.product(stock=5, price=1000)
    buyer = system.buyer()
    wrong = await buyer.start((coffee, 2), expected_total=1999)
    assert (wrong.status_code, code(wrong), wrong.json()["total"]) == (409, "price_changed", 2000)
    assert await system.stock(coffee) == (5, 0, 0)
    assert (await buyer.start((coffee, 2), expected_total=2000)).status_code == 201


async def test_a_confirmed_checkout_is_neither_cancelled_nor_extended(system: System) -> None:
    coffee = await system.product()
    buyer = system.buyer()
    held = await buyer.hold((coffee, 1))
    await system.gateway.pay(await system.payment(held))
    await buyer.until(held["id"], "confirmed")
    for answer in (await buyer.cancel(held["id"]), await buyer.extend(held["id"])):
        assert (answer.status_code, code(answer)) == (409, "already_confirmed")
    assert (await system.stock(coffee))[2] == 1


async def test_orders_are_listed_a_page_at_a_time_and_read_one_by_one(system: System) -> None:
    coffee = await system.product()
    buyer = system.buyer()
    for _ in range(3):
        held = await buyer.hold((coffee, 1))
        await system.gateway.pay(await system.payment(held))
        await buyer.until(held["id"], "confirmed")
    listed = await buyer.orders()
    assert len(listed) == 3
    first = (await system.http.get("/v1/orders?limit=2", headers=buyer.headers)).json()
    rest = await system.http.get(f"/v1/orders?limit=2&before={first['next_before']}", headers=buyer.headers)
    assert [*first["items"], *rest.json()["items"]] == listed
    one = await system.http.get(f"/v1/orders/{listed[0]['id']}", headers=buyer.headers)
    assert one.json() == listed[0]


def _end(view: dict[str, object]) -> float:
    return datetime.fromisoformat(str(view["expires_at"])).timestamp()
