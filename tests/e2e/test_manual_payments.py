"""Payments that an operator records by hand, over the whole system."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from activities.delivery import Delivery
from api.tokens import Scope
from local.ports import free_port
from tests.support.buyers import code
from tests.support.operator import Operator
from tests.support.system import DEMO, QUICK, System, repair_of, second_api
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_bank_transfer_makes_the_order_of_a_live_hold(system: System) -> None:
    coffee, buyer, keeper = await system.product(), system.buyer(), Operator.of(system)
    held = await buyer.hold((coffee, 2))
    answer = await keeper.record(held["id"], key="k")
    assert answer.status_code == 201, answer.text
    paid = answer.json()
    assert (paid["gateway"], paid["amount"], paid["currency"]) == ("manual", 2000, "COP")
    assert (paid["name"], paid["reason"], paid["refunded_amount"]) == ("Transfer 1", "Seen on the account", 0)
    view = await buyer.until(held["id"], "confirmed")
    [order] = await buyer.orders()
    assert (order["id"], order["gateway"], order["payment_id"]) == (view["order_id"], "manual", paid["payment_id"])
    assert await system.stock(coffee) == (8, 0, 2)
    assert (await keeper.record(held["id"], key="k")).json() == paid
    seen = await keeper.look(paid["payment_id"], "manual")
    assert (seen["outcome"], seen["by_hand"]["name"], seen["by_hand"]["actor"]) == (
        "order", "Transfer 1", f"user:{keeper.who.subject}",
    )  # fmt: skip
    audit = (await keeper.get("/v1/ops/audit", actor=f"user:{keeper.who.subject}")).json()["items"]
    assert [entry["action"] for entry in audit] == ["payment.recorded_by_hand"]


async def test_the_same_transfer_recorded_twice_is_named(system: System) -> None:
    buyer, keeper = system.buyer(), Operator.of(system)
    held = await buyer.hold((await system.product(), 1))
    first = await keeper.record(held["id"])
    again = await Operator.of(system).record(held["id"])
    assert (again.status_code, code(again)) == (409, "manual_payment_exists")
    assert again.json()["payment_id"] == first.json()["payment_id"]
    other = await keeper.record(held["id"], key="k2", name="x")
    same_key = await keeper.record(held["id"], key="k2", name="y")
    assert (same_key.status_code, code(same_key)) == (422, "idempotency_key_reused")
    assert (await keeper.returned(other.json()["payment_id"])).status_code == 200
    await keeper.when(other.json()["payment_id"], lambda view: view["outcome"] == "refund", "manual")
    assert (await keeper.returned(other.json()["payment_id"])).json()["refunded_amount"] == 1000


@pytest.mark.parametrize("amount", [1, 999, 1001])
async def test_another_amount_than_the_checkouts_total_is_a_422_that_names_the_field(
    system: System, amount: int
) -> None:
    buyer, keeper = system.buyer(), Operator.of(system)
    held = await buyer.hold((await system.product(), 1))
    answer = await keeper.record(held["id"], amount=amount)
    assert (answer.status_code, code(answer)) == (422, "invalid")
    assert (answer.json()["errors"][0]["field"], answer.json()["total"]) == ("amount", 1000)
    assert (await buyer.read(held["id"]))["payments"] == []
    assert (await keeper.record(held["id"], amount=1000)).status_code == 201
    await buyer.until(held["id"], "confirmed")


@pytest.mark.parametrize(
    "more", [{"name": ""}, {"name": "x" * 101}, {"name": "a\tb"}, {"reason": ""}, {"amount": 0}, {"who": "me"}], ids=str
)
async def test_a_payment_that_makes_no_sense_is_a_422(system: System, more: dict[str, Any]) -> None:
    held = await system.buyer().hold((await system.product(), 1))
    answer = await Operator.of(system).record(held["id"], **more)
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text


async def test_a_transfer_after_the_end_makes_the_order_when_the_things_are_still_to_be_had(system: System) -> None:
    coffee, buyer, keeper = await system.product(stock=1), system.buyer(), Operator.of(system)
    held = await buyer.hold((coffee, 1))
    await buyer.cancel(held["id"])
    paid = (await keeper.record(held["id"])).json()
    view = await keeper.when(paid["payment_id"], lambda view: view["outcome"] is not None, "manual")
    assert (view["outcome"], view["order_id"] is not None) == ("order", True)
    assert await system.stock(coffee) == (0, 0, 1)


async def test_a_transfer_after_the_end_of_what_is_gone_is_owed_by_hand_until_it_is_returned(system: System) -> None:
    coffee, buyer, keeper = await system.product(stock=1), system.buyer(), Operator.of(system)
    held = await buyer.hold((coffee, 1))
    await buyer.cancel(held["id"])
    other = system.buyer()
    taken = await other.hold((coffee, 1))
    paid = (await keeper.record(held["id"])).json()
    view = await keeper.when(paid["payment_id"], lambda view: view["outcome"] is not None, "manual")
    assert (view["outcome"], view["reason"], view["refund_status"]) == ("refund", "late", "intended")
    assert f"`holdfast payments refunded {paid['payment_id']}`" in view["why"]
    answer = await keeper.returned(paid["payment_id"])
    assert (answer.status_code, answer.json()["refunded_amount"]) == (200, 1000)
    view = await keeper.look(paid["payment_id"], "manual")
    assert (view["status"], view["refund_status"], view["refund_id"]) == ("refunded", "refunded", "by-hand")
    await other.cancel(taken["id"])


async def test_an_order_paid_by_hand_is_refunded_by_hand_and_the_waiting_run_ends(system: System) -> None:
    buyer, keeper = system.buyer(), Operator.of(system)
    held = await buyer.hold((await system.product(), 2))
    paid = (await keeper.record(held["id"])).json()
    order = (await buyer.until(held["id"], "confirmed"))["order_id"]
    assert (await keeper.refund(order, 700)).status_code == 201
    assert (await keeper.refund(order, 300)).status_code == 201
    too_much = await keeper.returned(paid["payment_id"], amount=1001)
    assert (too_much.status_code, code(too_much), too_much.json()["owed"]) == (409, "conflict", 1000)
    assert (await keeper.returned(paid["payment_id"], amount=700)).json()["refunded_amount"] == 700
    view = await keeper.look(paid["payment_id"], "manual")
    assert [one["status"] for one in view["refunds"]] == ["refunded", "intended"]
    assert view["refund_status"] == "intended"
    for _ in range(2):
        assert (await keeper.returned(paid["payment_id"])).json()["refunded_amount"] == 1000
    assert (await keeper.look(paid["payment_id"], "manual"))["refund_status"] == "refunded"
    sold = await buyer.http.get(f"/v1/orders/{order}", headers=dict(buyer.headers))
    assert [one["status"] for one in sold.json()["refunds"]] == ["refunded"] * 2


async def test_while_temporal_is_down_it_is_a_503_and_the_repeat_goes_on(system: System) -> None:
    buyer, keeper = system.buyer(), Operator.of(system)
    held = await buyer.hold((await system.product(), 1))
    async with second_api(system, f"127.0.0.1:{free_port()}") as http:
        away = Operator(type(keeper.who)(http, DEMO, keeper.who.subject, keeper.who.headers))
        answer = await away.record(held["id"], key="k")
        assert (answer.status_code, code(answer)) == (503, "unavailable")
    assert (await buyer.read(held["id"]))["status"] == "held"
    assert (await keeper.record(held["id"], key="k")).status_code == 201
    await buyer.until(held["id"], "confirmed")


async def test_what_was_recorded_while_temporal_was_down_is_handed_over_by_the_repair(system: System) -> None:
    buyer, keeper = system.buyer(), Operator.of(system)
    held = await buyer.hold((await system.product(), 1))
    async with second_api(system, f"127.0.0.1:{free_port()}") as http:
        away = Operator(type(keeper.who)(http, DEMO, keeper.who.subject, keeper.who.headers))
        assert (await away.record(held["id"])).status_code == 503
    delivery = Delivery(system.database, system.client, system.settings.task_queue)
    await repair_of(system, delivery).repair_tenant(DEMO, hold_grace=0, event_grace=0)
    await buyer.until(held["id"], "confirmed")


async def test_a_transfer_recorded_just_before_the_end_wins_though_no_worker_runs(system: System) -> None:
    coffee, buyer = await system.product(stock=1, tenant=QUICK), system.buyer(QUICK)
    keeper = Operator.of(system, QUICK)
    held = await buyer.hold((coffee, 1))
    await system.worker.stop()
    assert (await keeper.record(held["id"])).status_code == 201
    await asyncio.sleep(2.1)
    await system.worker.start()
    await buyer.until(held["id"], "confirmed")


async def test_buyers_can_neither_confirm_with_nor_start_nor_send_webhooks_of_payments_by_hand(system: System) -> None:
    buyer, keeper = system.buyer(), Operator.of(system)
    held, other = await buyer.hold((await system.product(), 1)), await buyer.hold((await system.product(), 1))
    paid = (await keeper.record(held["id"])).json()
    await buyer.until(held["id"], "confirmed")
    body = {"payment_id": paid["payment_id"], "gateway": "manual"}
    claimed = await buyer.post(f"/v1/checkouts/{other['id']}/confirm", body, None)
    assert claimed.status_code in (404, 422), claimed.text
    started = await buyer.post(f"/v1/checkouts/{other['id']}/payments", {"gateway": "manual"}, None)
    assert 400 <= started.status_code < 500, started.text
    hooked = await system.http.post(f"/v1/webhooks/{DEMO}/manual", json={})
    assert hooked.status_code == 404
    assert (await buyer.read(other["id"]))["status"] == "held"
    await buyer.cancel(other["id"])


async def test_nobody_but_operators_and_administrators_records_payments(system: System) -> None:
    held = await system.buyer().hold((await system.product(), 1))
    for scope in (Scope.BUYER, Scope.SERVICE):
        answer = await Operator.of(system, DEMO, scope).record(held["id"])
        assert (answer.status_code, code(answer)) == (403, "forbidden")
    await eventually(lambda: _is_held(system, held["id"]))


async def _is_held(system: System, checkout: str) -> bool:
    cursor = await system.admin.execute("SELECT status FROM checkouts WHERE id = %s", (checkout,))
    return await cursor.fetchone() == ("held",)
