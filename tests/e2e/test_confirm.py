"""The storefront's confirm, alone and beside the gateway's webhook."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import httpx
import pytest

from tests.support.buyers import Buyer, code
from tests.support.system import OTHER, QUICK, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def paid_unseen(system: System, buyer: Buyer, held: dict[str, object], **changes: object) -> str:
    """A captured payment whose webhook never comes."""
    payment = await system.payment(held, buyer.tenant, **changes)
    await system.gateway.pay(payment, drop=True)
    return payment


async def test_a_confirm_makes_the_order_though_no_webhook_came(system: System) -> None:
    coffee, buyer = await system.product(stock=3), system.buyer()
    held = await buyer.hold((coffee, 2))
    payment = await paid_unseen(system, buyer, held)
    answer = await buyer.confirm(held["id"], payment)
    assert answer.status_code == 200, answer.text
    order = answer.json()
    assert (order["checkout_id"], order["payment_id"], order["total"]) == (held["id"], payment, 2000)
    assert answer.headers["location"] == f"/v1/orders/{order['id']}"
    assert await system.stock(coffee) == (1, 0, 2)
    assert await buyer.orders() == [order]


async def test_a_confirm_and_a_webhook_at_once_make_one_order(system: System) -> None:
    coffee, buyer = await system.product(stock=50), system.buyer()
    for _ in range(8):
        held = await buyer.hold((coffee, 1))
        payment = await system.payment(held)
        await system.gateway.pay(payment, duplicate=2)
        answers = await asyncio.gather(*(buyer.confirm(held["id"], payment) for _ in range(3)))
        # 202 is true as well, on a machine too busy to decide in two seconds.
        assert {answer.status_code for answer in answers} <= {200, 202}, [answer.text for answer in answers]
        await system.gateway.settled(payment)
        order = (await buyer.until(held["id"], "confirmed"))["order_id"]
        assert {answer.json()["id"] for answer in answers if answer.status_code == 200} <= {order}
        assert (await buyer.confirm(held["id"], payment)).json()["id"] == order
        assert len((await buyer.read(held["id"]))["payments"]) == 1
    assert (await system.stock(coffee))[2] == 8
    assert len(await buyer.orders()) == 8


async def test_a_repeated_confirm_answers_the_same_order(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await paid_unseen(system, buyer, held)
    answers = [await buyer.confirm(held["id"], payment, key=key) for key in ("same", "same", "another")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].json() == answers[1].json() == answers[2].json()


async def test_respond_async_answers_202_at_once_and_the_order_follows(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await paid_unseen(system, buyer, held)
    answer = await buyer.confirm(held["id"], payment, prefer="respond-async")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["status_url"] == f"/v1/checkouts/{held['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    await buyer.until(held["id"], "confirmed")


async def test_a_payment_not_made_yet_is_a_409_and_the_hold_stays(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held)
    early = await buyer.confirm(held["id"], payment)
    assert (early.status_code, code(early), early.json()["payment_status"]) == (409, "payment_not_captured", "created")
    unknown = await buyer.confirm(held["id"], "pay_nobody_knows")
    assert (unknown.status_code, unknown.json()["payment_status"]) == (409, "not_found")
    assert (await buyer.read(held["id"]))["status"] == "held"
    await system.gateway.pay(payment, drop=True)
    assert (await buyer.confirm(held["id"], payment)).status_code == 200


async def test_a_gateway_that_is_down_is_a_503_and_the_same_request_succeeds_later(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await paid_unseen(system, buyer, held)
    await system.gateway.fail(fetch="down")
    for _ in range(2):
        answer = await once_asked(buyer, held, payment)
        assert (answer.status_code, code(answer)) == (503, "gateway_unavailable"), answer.text
        assert int(answer.headers["retry-after"]) >= 1
    assert (await buyer.read(held["id"]))["status"] == "held"
    await system.gateway.fail()
    again = await once_asked(buyer, held, payment)
    assert again.status_code == 200, again.text


async def once_asked(buyer: Buyer, held: dict[str, Any], payment: str) -> httpx.Response:
    """The answer once the gateway was asked: on a busy machine its tries take longer than a client waits (202)."""
    deadline = time.monotonic() + 30
    while (answer := await buyer.confirm(held["id"], payment, key="mine")).status_code == 202:
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.1)
    return answer


async def test_a_gateway_that_talks_nonsense_is_a_503(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await paid_unseen(system, buyer, held)
    await system.gateway.fail(fetch="garbage")
    answer = await once_asked(buyer, held, payment)
    assert (answer.status_code, code(answer)) == (503, "gateway_unavailable")
    await system.gateway.fail()
    assert (await once_asked(buyer, held, payment)).status_code == 200


async def test_a_slow_gateway_is_a_202_and_the_order_follows(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await paid_unseen(system, buyer, held)
    await system.gateway.fail(fetch="slow")
    began = time.monotonic()
    answer = await buyer.confirm(held["id"], payment, key="mine")
    assert answer.status_code == 202, answer.text
    assert 1.8 < time.monotonic() - began < 3
    await buyer.until(held["id"], "confirmed")
    again = await buyer.confirm(held["id"], payment, key="mine")
    assert again.status_code == 200, again.text


async def test_the_end_waits_for_a_gateway_that_was_asked_in_time(system: System) -> None:
    coffee, buyer = await system.product(stock=1, tenant=QUICK), system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    payment = await paid_unseen(system, buyer, held)
    await system.gateway.fail(fetch="slow")
    assert (await buyer.confirm(held["id"], payment)).status_code == 202
    await buyer.until(held["id"], "confirmed")
    assert await system.stock(coffee, QUICK) == (0, 0, 1)


async def test_a_payment_for_another_checkout_cannot_confirm_this_one(system: System) -> None:
    coffee, buyer, thief = await system.product(), system.buyer(), system.buyer()
    paid, unpaid = await buyer.hold((coffee, 1)), await thief.hold((coffee, 1))
    unseen = await paid_unseen(system, buyer, paid)
    answer = await thief.confirm(unpaid["id"], unseen)
    assert (answer.status_code, code(answer)) == (409, "payment_mismatch")
    assert (await buyer.confirm(paid["id"], unseen)).status_code == 200
    seen = await system.payment(paid)
    await system.gateway.pay(seen)
    await buyer.until_refunded(paid["id"], seen)
    answer = await thief.confirm(unpaid["id"], seen)
    assert (answer.status_code, code(answer)) == (409, "payment_mismatch")
    view = await thief.read(unpaid["id"])
    assert (view["status"], view["payments"]) == ("held", [])


async def test_another_tenants_payment_cannot_confirm(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    foreign = await system.payment(held, OTHER)
    await system.gateway.pay(foreign, drop=True)
    system.unmatched.add(foreign)
    answer = await buyer.confirm(held["id"], foreign)
    assert (answer.status_code, answer.json()["payment_status"]) == (409, "not_found")
    assert (await buyer.read(held["id"]))["status"] == "held"


@pytest.mark.parametrize("changes", [{"amount": 999}, {"amount": 1001}, {"currency": "USD"}], ids=str)
async def test_a_confirm_with_wrong_money_is_refused_and_the_money_goes_back(
    system: System, changes: dict[str, object]
) -> None:
    coffee, buyer = await system.product(stock=1), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await paid_unseen(system, buyer, held, **changes)
    answer = await buyer.confirm(held["id"], payment)
    assert (answer.status_code, code(answer)) == (409, "payment_mismatch")
    refund = await buyer.until_refunded(held["id"], payment)
    assert (refund["quarantined"], refund["reason"]) == (
        True,
        "wrong_amount" if "amount" in changes else "wrong_currency",
    )
    assert (await system.gateway.payment(payment))["status"] == "refunded"
    assert (await buyer.read(held["id"]))["status"] == "held"
    again = await buyer.confirm(held["id"], payment)
    assert (again.status_code, code(again)) == (409, "payment_refunded")


async def test_a_second_payment_cannot_confirm_again_and_is_refunded(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    first, second = await paid_unseen(system, buyer, held), await paid_unseen(system, buyer, held)
    assert (await buyer.confirm(held["id"], first)).status_code == 200
    answer = await buyer.confirm(held["id"], second)
    assert (answer.status_code, code(answer)) == (409, "already_confirmed")
    refund = await buyer.until_refunded(held["id"], second)
    assert (refund["reason"], refund["quarantined"]) == ("second_payment", False)
    assert (await buyer.confirm(held["id"], first)).status_code == 200


async def test_a_confirm_after_the_end_is_a_202_and_the_money_goes_back(system: System) -> None:
    coffee, buyer = await system.product(stock=1, tenant=QUICK), system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    payment = await paid_unseen(system, buyer, held)
    await buyer.until(held["id"], "expired", seconds=6)
    answer = await buyer.confirm(held["id"], payment)
    assert (answer.status_code, answer.json()["status"]) == (202, "expired")
    refund = await buyer.until_refunded(held["id"], payment)
    assert refund["reason"] == "late"
    again = await buyer.confirm(held["id"], payment)
    assert (again.status_code, code(again), again.json()["reason"]) == (409, "payment_refunded", "late")
    assert await system.stock(coffee, QUICK) == (1, 0, 0)


async def test_one_key_for_two_confirms_of_different_payments_is_a_422(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    key = uuid.uuid4().hex
    assert (await buyer.confirm(held["id"], await system.payment(held), key)).status_code == 409
    other = await buyer.confirm(held["id"], await system.payment(held), key)
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")


async def test_an_unknown_gateway_is_a_422(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    body = {"payment_id": "pay_1", "gateway": "nobody"}
    answer = await buyer.post(f"/v1/checkouts/{held['id']}/confirm", body, None)
    assert (answer.status_code, code(answer)) == (422, "invalid")
