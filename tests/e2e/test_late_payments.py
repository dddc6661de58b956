"""Captured money always ends in an order or in a refund that the buyer can see."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.buyers import Buyer, decided
from tests.support.system import DEMO, QUICK, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def expired(system: System) -> tuple[Buyer, dict[str, Any]]:
    """(buyer, expired checkout)."""
    coffee, buyer = await system.product(stock=1, tenant=QUICK), system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    return buyer, await buyer.until(held["id"], "expired", seconds=6)


async def refunded_at_the_gateway(system: System, payment: str) -> bool:
    found = await system.gateway.payment(payment)
    return (found["status"], found["refunded_amount"]) == ("refunded", found["amount"])


async def test_a_payment_after_expiry_is_refunded_visibly(system: System) -> None:
    buyer, over = await expired(system)
    payment = await system.payment(over, QUICK)
    await system.gateway.pay(payment)
    refund = await buyer.until_refunded(over["id"], payment)
    assert (refund["outcome"], refund["reason"], refund["quarantined"]) == ("refund", "late", False)
    assert refund["refunded_at"] >= refund["decided_at"]
    assert await refunded_at_the_gateway(system, payment)
    view = await buyer.read(over["id"])
    assert (view["status"], view["order_id"]) == ("expired", None)
    assert await buyer.orders() == []


async def test_a_refund_shows_as_intended_while_the_gateway_is_down_and_is_made_when_it_is_back(system: System) -> None:
    buyer, over = await expired(system)
    payment = await system.payment(over, QUICK)
    await system.gateway.fail(refund="down")
    await system.gateway.pay(payment)
    view = await buyer.when(over["id"], decided, "decided")
    assert (view["payments"][0]["refund_status"], view["payments"][0]["refunded_at"]) == ("intended", None)
    await system.gateway.fail()
    await buyer.until_refunded(over["id"], payment, seconds=15)
    assert await refunded_at_the_gateway(system, payment)


async def test_a_refund_whose_answer_was_lost_is_made_once(system: System) -> None:
    buyer, over = await expired(system)
    payment = await system.payment(over, QUICK)
    await system.gateway.fail(refund="timeout_after_acting")
    await system.gateway.pay(payment)
    await asyncio.sleep(0.5)
    await system.gateway.fail()
    await buyer.until_refunded(over["id"], payment, seconds=15)
    movements = [one for one in await system.gateway.ledger(QUICK) if one["payment_id"] == payment]
    assert [one["kind"] for one in movements] == ["capture", "refund"]


async def test_a_refund_made_by_hand_at_the_gateway_counts(system: System) -> None:
    buyer, over = await expired(system)
    payment = await system.payment(over, QUICK)
    await system.gateway.pay(payment, drop=True)
    await system.gateway.refund(payment)
    [dropped] = [one for one in await system.gateway.webhooks(payment) if one["type"] == "payment.captured"]
    await system.gateway.resend(dropped["event_id"])
    await buyer.until_refunded(over["id"], payment)


async def test_a_payment_after_a_cancel_is_refunded(system: System) -> None:
    coffee, buyer = await system.product(stock=1), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held)
    await buyer.cancel(held["id"])
    await system.admin.execute("UPDATE products SET available = false WHERE id = %s", (coffee,))
    await system.gateway.pay(payment)
    assert (await buyer.until_refunded(held["id"], payment))["reason"] == "late"
    assert await system.stock(coffee) == (1, 0, 0)


async def test_a_payment_after_a_cancel_takes_the_same_things_while_they_are_free(system: System) -> None:
    coffee, buyer = await system.product(stock=1), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held)
    await buyer.cancel(held["id"])
    await system.gateway.pay(payment)
    view = await buyer.until(held["id"], "confirmed")
    assert [one["outcome"] for one in view["payments"]] == ["order"]
    assert view["order_id"] is not None
    assert await system.stock(coffee) == (0, 0, 1)


async def test_of_two_late_payments_for_the_last_unit_one_makes_an_order_and_one_goes_back(system: System) -> None:
    coffee = await system.product(stock=1)
    buyers = [system.buyer() for _ in range(2)]
    paid = []
    for buyer in buyers:
        held = await buyer.hold((coffee, 1))
        await buyer.cancel(held["id"])
        paid.append((held["id"], await system.payment(held)))
    await asyncio.gather(*(system.gateway.pay(payment) for _, payment in paid))
    views = [await buyer.when(checkout, decided, "decided") for buyer, (checkout, _) in zip(buyers, paid, strict=True)]
    assert sorted((view["status"], view["payments"][0]["outcome"]) for view in views) == [
        ("cancelled", "refund"), ("confirmed", "order")
    ]  # fmt: skip
    await system.end_well()


async def test_a_second_payment_is_refunded_and_the_first_stands(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    first, second = await system.payment(held), await system.payment(held)
    await system.gateway.pay(first)
    await buyer.until(held["id"], "confirmed")
    await system.gateway.pay(second)
    refund = await buyer.until_refunded(held["id"], second)
    assert (refund["reason"], refund["quarantined"]) == ("second_payment", False)
    outcomes = {one["payment_id"]: one["outcome"] for one in (await buyer.read(held["id"]))["payments"]}
    assert outcomes == {first: "order", second: "refund"}


async def test_two_payments_at_once_make_one_order_and_one_refund(system: System) -> None:
    coffee, buyer = await system.product(stock=20), system.buyer()
    for _ in range(5):
        held = await buyer.hold((coffee, 1))
        payments = [await system.payment(held) for _ in range(2)]
        await asyncio.gather(*(system.gateway.pay(payment) for payment in payments))
        view = await buyer.until(held["id"], "confirmed")
        [order] = [one for one in (await buyer.orders()) if one["id"] == view["order_id"]]
        loser = next(payment for payment in payments if payment != order["payment_id"])
        assert (await buyer.until_refunded(held["id"], loser))["reason"] == "second_payment"
    assert (await system.stock(coffee))[2] == 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"amount": 1}, "wrong_amount"), ({"amount": 2001}, "wrong_amount"), ({"currency": "USD"}, "wrong_currency")],
    ids=str,
)
async def test_wrong_money_never_makes_an_order_and_is_quarantined(
    system: System, changes: dict[str, Any], reason: str
) -> None:
    coffee, buyer = await system.product(stock=2), system.buyer()
    held = await buyer.hold((coffee, 2))
    payment = await system.payment(held, **changes)
    await system.gateway.pay(payment)
    refund = await buyer.until_refunded(held["id"], payment)
    assert (refund["reason"], refund["quarantined"]) == (reason, True)
    assert await refunded_at_the_gateway(system, payment)
    assert (await buyer.read(held["id"]))["status"] == "held"
    await system.gateway.pay(await system.payment(held))
    await buyer.until(held["id"], "confirmed")


async def test_a_late_payment_is_refunded_though_no_worker_ran_when_it_came(system: System) -> None:
    buyer, over = await expired(system)
    await system.worker.stop()
    payment = await system.payment(over, QUICK)
    await system.gateway.pay(payment)
    [copy] = await system.gateway.settled(payment)
    assert copy["last_status"] == 200
    await system.worker.start()
    await buyer.until_refunded(over["id"], payment)


async def test_a_payment_in_time_wins_though_the_worker_comes_back_after_the_end(system: System) -> None:
    coffee, buyer = await system.product(stock=1, tenant=QUICK), system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    await system.worker.stop()
    payment = await system.payment(held, QUICK)
    await system.gateway.pay(payment)
    await system.gateway.settled(payment)
    await asyncio.sleep(2.3)
    assert (await buyer.read(held["id"]))["status"] == "held"
    await system.worker.start()
    await buyer.until(held["id"], "confirmed")
    assert await system.stock(coffee, QUICK) == (0, 0, 1)


async def test_an_overdue_hold_blocks_nobody_with_no_worker_running(system: System) -> None:
    coffee, slow = await system.product(stock=1, tenant=QUICK), system.buyer(QUICK)
    held = await slow.hold((coffee, 1))
    await system.worker.stop()
    assert await shown_free(system, slow, coffee) == 0
    await asyncio.sleep(2.1)
    assert await shown_free(system, slow, coffee) == 1, "reads show an overdue hold's stock as free"
    view = await slow.read(held["id"])
    assert (view["status"], view["remaining_seconds"]) == ("held", 0)
    quick, key = system.buyer(QUICK), "mine"
    assert (await quick.start((coffee, 1), key=key)).status_code == 503
    await system.worker.start()
    taken = await quick.start((coffee, 1), key=key)
    assert (taken.status_code, taken.json()["status"]) == (201, "held"), taken.text
    assert (await slow.read(held["id"]))["status"] == "expired"


async def shown_free(system: System, buyer: Buyer, product: int) -> int:
    answer = await system.http.get(f"/v1/products/{product}", headers=buyer.headers)
    assert answer.status_code == 200
    free: int = answer.json()["stock_available"]
    return free


async def test_a_checkout_whose_run_an_operator_ended_is_still_confirmed_by_a_webhook(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    await system.terminate(held["id"])
    await system.gateway.pay(await system.payment(held))
    await buyer.until(held["id"], "confirmed")
    assert (await system.stock(coffee, DEMO))[2] == 1
