"""Starting a payment through the API, ending it, and what the end of a hold does with one that is open."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from typing import Any

import httpx
import pytest

from activities.closing import Closing
from activities.gateways.registry import gateways_from
from activities.gateways.sandbox import SANDBOX
from api.fingerprint import fingerprint, key_digest
from api.payment_models import StartPaymentIn
from db.payment_starts import PaymentWish, begin_payment
from domain.ids import BuyerKey, CheckoutId
from domain.messages import CheckoutRef
from tests.support.buyers import Buyer, code, insist
from tests.support.system import DEMO, QUICK, System, second_api
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAULT_DELAY = 3.6
"""Seconds: longer than our side waits for the gateway's answer."""
OFFSETS = [*(number * 0.05 for number in range(24)), *(1.5 + number * 0.5 for number in range(6))]
"""Seconds, from half a second before a hold's end until well after it."""


async def a_hold(
    system: System, tenant: Any = DEMO, quantity: int = 1, **more: Any
) -> tuple[Buyer, dict[str, Any], Any]:
    """(buyer, what it holds, the product)."""
    product, buyer = await system.product(tenant=tenant, **more), system.buyer(tenant)
    return buyer, await buyer.hold((product, quantity)), product


async def status_at(system: System, payment: str) -> str:
    return str((await system.gateway.payment(payment))["status"])


async def until_expired_at(system: System, payment: str) -> None:
    async def expired() -> bool:
        return await status_at(system, payment) == "expired"

    await eventually(expired)


async def test_a_started_payment_that_is_paid_becomes_the_order(system: System) -> None:
    buyer, held, product = await a_hold(system, quantity=2)
    started = await buyer.pay(held["id"])
    assert (started["gateway"], started["status"], started["amount"]) == ("sandbox", "created", held["total"])
    assert started["url"].startswith(system.gateway.url)
    [shown] = started["checkout"]["payments"]
    assert (shown["payment_id"], shown["status"], shown["outcome"]) == (started["payment_id"], "created", None)
    await system.gateway.pay(started["payment_id"])
    view = await buyer.until(held["id"], "confirmed")
    [paid] = view["payments"]
    assert (paid["payment_id"], paid["status"], paid["outcome"]) == (started["payment_id"], "captured", "order")
    assert (await system.stock(product))[2] == 2


async def test_the_same_key_is_the_same_payment_even_eight_at_once_and_another_body_is_a_422(system: System) -> None:
    buyer, held, _ = await a_hold(system)
    answers = await asyncio.gather(*(buyer.pay(held["id"], key="once") for _ in range(8)))
    assert len({answer["payment_id"] for answer in answers}) == 1
    assert len({answer["url"] for answer in answers}) == 1
    assert len(await system.gateway.payments_of(held["id"])) == 1
    other = await buyer.start_payment(held["id"], {"return_url": "https://shop.example.com/"}, key="once")
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")


async def test_a_start_extends_the_hold_once_and_says_until_when(system: System) -> None:
    buyer, held, _ = await a_hold(system)
    await asyncio.sleep(0.2)
    first = await buyer.pay(held["id"])
    assert datetime.fromisoformat(first["checkout"]["expires_at"]) > datetime.fromisoformat(held["expires_at"])
    await asyncio.sleep(0.2)
    second = await buyer.pay(held["id"])
    assert second["payment_id"] != first["payment_id"]
    assert second["checkout"]["expires_at"] == first["checkout"]["expires_at"]


@pytest.mark.parametrize("fault", ["down", "garbage", "timeout_after_acting"])
async def test_a_start_that_the_gateway_did_not_answer_is_a_503_and_the_same_key_resumes(
    system: System, fault: str
) -> None:
    buyer, held, _ = await a_hold(system)
    await system.gateway.fail(start=fault)
    answer = await buyer.start_payment(held["id"], key="once")
    assert (answer.status_code, code(answer)) == (503, "gateway_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    await system.gateway.fail()
    resumed = await insist(lambda: buyer.start_payment(held["id"], key="once"))
    assert resumed.status_code == 201, resumed.text
    [made] = await system.gateway.payments_of(held["id"])
    assert made["id"] == resumed.json()["payment_id"]
    await system.gateway.pay(made["id"])
    await buyer.until(held["id"], "confirmed")


@pytest.mark.parametrize("died", ["before the gateway was asked", "before its answer was noted", "before it was told"])
async def test_the_repeat_goes_on_where_an_api_process_died(system: System, died: str) -> None:
    """The steps of the request that died are taken here, one after the other, up to its death."""
    buyer, held, _ = await a_hold(system)
    ref = CheckoutRef(DEMO, CheckoutId(held["id"]))
    wish = PaymentWish(
        ref, BuyerKey(f"user:{buyer.subject}"), key_digest("once"), fingerprint(StartPaymentIn()), SANDBOX
    )
    start = (await begin_payment(system.database, wish)).start
    assert start is not None
    async with httpx.AsyncClient(trust_env=False) as outgoing:
        gateways = gateways_from(system.settings.gateways, outgoing)
        if died == "before its answer was noted":
            await gateways[SANDBOX].start(DEMO, start.to_start)
        elif died == "before it was told":
            await Closing(system.database, gateways).start(start)
    started = await buyer.pay(held["id"], key="once")
    [made] = await system.gateway.payments_of(held["id"])
    assert (made["id"], made["amount"]) == (started["payment_id"], held["total"])
    assert started["checkout"]["expires_at"] > held["expires_at"]
    await system.gateway.pay(made["id"])
    await buyer.until(held["id"], "confirmed")


async def test_two_started_payments_that_are_made_at_once_are_one_order_and_one_refund(system: System) -> None:
    buyer, held, product = await a_hold(system)
    payments = [(await buyer.pay(held["id"]))["payment_id"] for _ in range(2)]
    await asyncio.gather(*(system.gateway.pay(payment) for payment in payments))
    view = await buyer.until(held["id"], "confirmed")
    [order] = await buyer.orders()
    [other] = set(payments) - {order["payment_id"]}
    assert (await buyer.until_refunded(held["id"], other))["reason"] == "second_payment"
    assert (view["order_id"], (await system.stock(product))[2]) == (order["id"], 1)


async def test_a_payment_is_started_though_the_workflow_engine_is_down(system: System) -> None:
    buyer, held, _ = await a_hold(system)
    async with second_api(system, "127.0.0.1:9") as http:
        beside = Buyer(http, buyer.tenant, buyer.subject, buyer.headers)
        started = await beside.pay(held["id"])
    assert started["checkout"]["expires_at"] > held["expires_at"]
    await system.gateway.pay(started["payment_id"])
    await buyer.until(held["id"], "confirmed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"gateway": "nowhere"}, "gateway"),
        ({"return_url": "http://shop.example.com/"}, "return_url"),
        ({"return_url": "https://"}, "return_url"),
        ({"return_url": "https://ana:secret@shop.example.com/"}, "return_url"),
        ({"return_url": "https://[::1"}, "return_url"),
        ({"return_url": "javascript:alert(1)"}, "return_url"),
        ({"return_url": "https://shop.example.com/" + "a" * 2000}, "return_url"),
        ({"return_url": "https://shop.example.com/a b"}, "return_url"),
        ({"amount": 1}, "body"),
    ],
    ids=str,
)
async def test_a_wish_that_makes_no_sense_is_a_422_that_names_the_field(
    system: System, body: dict[str, Any], field: str
) -> None:
    buyer, held, _ = await a_hold(system)
    answer = await buyer.start_payment(held["id"], body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert "secret" not in answer.text
    assert await system.gateway.payments_of(held["id"]) == []


async def test_lines_do_not_change_while_a_payment_is_open_and_do_once_it_is_ended(system: System) -> None:
    buyer, held, product = await a_hold(system)
    started = await buyer.pay(held["id"], key="first")
    more = {"lines": [{"product_id": product}]}
    refused = await buyer.post(f"/v1/checkouts/{held['id']}/lines", more, None)
    assert (refused.status_code, code(refused)) == (409, "payment_in_flight")
    [named] = refused.json()["payments"]
    assert named == {"gateway": "sandbox", "payment_id": started["payment_id"], "status": "created"}
    for _ in range(2):
        ended = await buyer.end_payment(held["id"], started["payment_id"])
        assert (ended.status_code, ended.json()["payments"][0]["status"]) == (200, "expired"), ended.text
    assert await status_at(system, started["payment_id"]) == "expired"
    changed = await buyer.post(f"/v1/checkouts/{held['id']}/lines", more, None)
    assert (changed.status_code, changed.json()["total"]) == (200, 2000), changed.text
    repeated = await buyer.start_payment(held["id"], key="first")
    assert (repeated.status_code, code(repeated), repeated.json()["total"]) == (409, "price_changed", 2000)
    again = await buyer.pay(held["id"])
    assert again["amount"] == 2000
    await system.gateway.pay(again["payment_id"])
    await buyer.until(held["id"], "confirmed")


async def test_a_start_that_was_never_answered_does_not_keep_the_lines_from_changing(system: System) -> None:
    buyer, held, product = await a_hold(system)
    await system.gateway.fail(start="timeout_after_acting")
    assert (await buyer.start_payment(held["id"], key="first")).status_code == 503
    await system.gateway.fail()
    changed = await buyer.post(f"/v1/checkouts/{held['id']}/lines", {"lines": [{"product_id": product}]}, None)
    assert changed.status_code == 200, changed.text
    repeated = await buyer.start_payment(held["id"], key="first")
    assert (repeated.status_code, code(repeated)) == (409, "price_changed")
    await system.gateway.pay((await buyer.pay(held["id"]))["payment_id"])
    await buyer.until(held["id"], "confirmed")


async def test_the_repeat_of_a_start_whose_payment_was_ended_gives_nothing_to_pay_with(system: System) -> None:
    buyer, held, _ = await a_hold(system)
    started = await buyer.pay(held["id"], key="first")
    await buyer.end_payment(held["id"], started["payment_id"])
    repeated = await buyer.pay(held["id"], key="first")
    assert (repeated["payment_id"], repeated["status"], repeated["url"]) == (started["payment_id"], "expired", None)


async def test_a_payment_that_was_made_cannot_be_ended_and_is_the_order_though_its_webhook_was_lost(
    system: System,
) -> None:
    buyer, held, _ = await a_hold(system)
    started = await buyer.pay(held["id"])
    await system.gateway.pay(started["payment_id"], drop=True)
    answer = await buyer.end_payment(held["id"], started["payment_id"])
    assert (answer.status_code, code(answer), answer.json()["payment_status"]) == (
        409, "payment_in_flight", "captured",
    )  # fmt: skip
    await buyer.until(held["id"], "confirmed")


async def test_lines_do_not_change_between_a_capture_and_its_order(system: System) -> None:
    buyer, held, product = await a_hold(system)
    started = await buyer.pay(held["id"])
    await system.worker.stop()
    await system.gateway.pay(started["payment_id"])
    await buyer.when(held["id"], lambda view: view["payments"][0]["status"] == "captured", "known as captured")
    refused = await buyer.post(f"/v1/checkouts/{held['id']}/lines", {"lines": [{"product_id": product}]}, None)
    assert (refused.status_code, code(refused)) == (409, "payment_in_flight")
    await system.worker.start()
    await buyer.until(held["id"], "confirmed")


async def test_nobody_ends_anothers_payment(system: System) -> None:
    buyer, held, _ = await a_hold(system)
    other, others, _ = await a_hold(system)
    payment = (await buyer.pay(held["id"]))["payment_id"]
    for who, checkout in ((other, held["id"]), (other, others["id"]), (buyer, others["id"])):
        assert (await who.end_payment(checkout, payment)).status_code == 404
    assert (await buyer.end_payment(held["id"], payment, "nowhere")).status_code == 404
    assert await status_at(system, payment) == "created"


async def test_a_payment_is_only_started_for_a_live_hold(system: System) -> None:
    buyer, held, _ = await a_hold(system)
    await buyer.cancel(held["id"])
    gone = await buyer.start_payment(held["id"])
    assert (gone.status_code, code(gone)) == (410, "hold_over")
    buyer, sold, _ = await a_hold(system)
    started = await buyer.pay(sold["id"], key="first")
    await system.gateway.pay(started["payment_id"])
    await buyer.until(sold["id"], "confirmed")
    for key in ("first", "second"):
        late = await buyer.start_payment(sold["id"], key=key)
        assert (late.status_code, code(late)) == (409, "already_confirmed")


async def test_a_checkout_has_no_more_than_twenty_payments(system: System) -> None:
    buyer, held, _ = await a_hold(system)
    for _ in range(20):
        await buyer.pay(held["id"])
    answer = await buyer.start_payment(held["id"])
    assert (answer.status_code, code(answer), answer.json()["most"]) == (429, "limit_reached", 20)
    await buyer.cancel(held["id"])


async def test_a_cancel_answers_at_once_and_ends_the_open_payment_afterwards(system: System) -> None:
    buyer, held, product = await a_hold(system)
    started = await buyer.pay(held["id"])
    await system.gateway.fail(expire="slow")
    async with asyncio.timeout(2):
        assert (await buyer.cancel(held["id"])).status_code == 200
    assert (await system.stock(product))[1] == 0
    await system.gateway.fail()
    await until_expired_at(system, started["payment_id"])


async def test_of_two_started_payments_one_makes_the_order_and_the_other_is_ended(system: System) -> None:
    buyer, held, _ = await a_hold(system)
    first, second = await buyer.pay(held["id"]), await buyer.pay(held["id"])
    await system.gateway.pay(second["payment_id"])
    await buyer.until(held["id"], "confirmed")
    await until_expired_at(system, first["payment_id"])


async def test_the_end_of_a_hold_ends_its_open_payment_before_the_stock_is_free(system: System) -> None:
    buyer, held, product = await a_hold(system, QUICK)
    started = await buyer.pay(held["id"])
    await buyer.until(held["id"], "expired", seconds=8)
    assert await status_at(system, started["payment_id"]) == "expired"
    assert (await system.stock(product, QUICK))[1] == 0
    with pytest.raises(httpx.HTTPStatusError):
        await system.gateway.pay(started["payment_id"])


async def test_a_capture_of_which_no_webhook_came_is_the_order_at_the_end_of_the_hold(system: System) -> None:
    buyer, held, product = await a_hold(system, QUICK)
    started = await buyer.pay(held["id"])
    await system.gateway.pay(started["payment_id"], drop=True)
    await buyer.until(held["id"], "confirmed", seconds=8)
    assert (await system.stock(product, QUICK))[2] == 1


async def test_a_payment_on_its_way_keeps_the_stock_past_the_end_until_it_is_made(system: System) -> None:
    buyer, held, product = await a_hold(system, QUICK, stock=1)
    started = await buyer.pay(held["id"])
    await system.gateway.process(started["payment_id"])
    left = (await buyer.read(held["id"]))["remaining_seconds"]
    await asyncio.sleep(left + 1.5)
    view = await buyer.read(held["id"])
    assert (view["status"], view["remaining_seconds"]) == ("held", 0)
    assert view["payments"][0]["status"] == "processing"
    shown = await system.http.get(f"/v1/products/{product}", headers=dict(buyer.headers))
    assert shown.json()["stock_available"] == 0
    assert (await system.buyer(QUICK).start((product, 1))).status_code == 409
    await system.gateway.pay(started["payment_id"])
    await buyer.until(held["id"], "confirmed")


async def test_a_payment_that_fails_past_the_end_is_ended_and_frees_the_stock(system: System) -> None:
    buyer, held, product = await a_hold(system, QUICK, stock=1)
    started = await buyer.pay(held["id"])
    await system.gateway.process(started["payment_id"])
    await asyncio.sleep((await buyer.read(held["id"]))["remaining_seconds"] + 0.5)
    await system.gateway.decline(started["payment_id"])
    await buyer.until(held["id"], "expired")
    assert await status_at(system, started["payment_id"]) == "expired"
    assert (await system.stock(product, QUICK)) == (1, 0, 0)


async def test_whoever_pays_around_the_end_has_an_order_or_all_of_it_back(system: System) -> None:
    """At each of 30 moments: the gateway refuses, because the payment was ended; or the money has its outcome."""
    product, places = await system.product(stock=100, tenant=QUICK), asyncio.Semaphore(3)

    async def one(offset: float) -> str:
        buyer = system.buyer(QUICK)
        async with places:  # A hold lasts 2 s; all 30 at once would take as long on a busy machine, and end unpaid.
            held = await buyer.hold((product, 1))
            started = await buyer.pay(held["id"])
        end = datetime.fromisoformat(started["checkout"]["expires_at"])
        await asyncio.sleep(max(0.0, (end - datetime.now(end.tzinfo)).total_seconds() - 0.5 + offset))
        try:
            await system.gateway.pay(started["payment_id"])
        except httpx.HTTPStatusError:
            await buyer.until(held["id"], "expired")
            return "ended"
        view = await buyer.when(held["id"], lambda view: bool(view["payments"][0]["outcome"]), "decided")
        return str(view["payments"][0]["outcome"])

    outcomes = Counter(await asyncio.gather(*map(one, OFFSETS)))
    print(dict(outcomes))
    assert outcomes["order"]
    assert outcomes["ended"]
    assert (await system.stock(product, QUICK))[1:] == (0, outcomes["order"])
