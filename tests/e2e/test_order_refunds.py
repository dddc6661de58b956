"""Refunds of orders over the whole system: the gateway's ledger shows each exactly once, whatever fails on the way."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from temporalio.client import Client

from activities.delivery import Delivery
from api.tokens import Scope
from domain.ids import OrderId
from domain.naming import order_refunds_workflow_id
from local.ports import free_port
from tests.support.buyers import code
from tests.support.operator import Operator, refunds_at_the_gateway, sell
from tests.support.system import DEMO, OTHER, System, repair_of, second_api

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("scope", [Scope.OPERATOR, Scope.ADMIN])
async def test_an_order_is_refunded_in_part_and_then_wholly_and_says_so(system: System, scope: Scope) -> None:
    coffee = await system.product()
    sold, keeper = await sell(system, (coffee, 2)), Operator.of(system, DEMO, scope)
    assert ((await sold.read())["refunded"], (await sold.read())["refunds"]) == (0, [])

    answer = await keeper.refund(sold.order, 500)
    assert answer.status_code == 201, answer.text
    part = answer.json()
    assert (part["amount"], part["currency"], part["order_id"]) == (500, "COP", sold.order)
    assert (part["actor"], part["reason"]) == (f"user:{keeper.who.subject}", "The buyer cannot come")
    await keeper.until_refunded(sold.payment)
    assert await refunds_at_the_gateway(system, sold.payment) == [500]

    rest = await keeper.refund(sold.order)
    assert (rest.status_code, rest.json()["amount"]) == (201, 1500)
    await keeper.until_refunded(sold.payment)
    assert await refunds_at_the_gateway(system, sold.payment) == [500, 1500]
    order = await sold.read()
    assert order["refunded"] == 2000
    assert [(one["amount"], one["status"]) for one in order["refunds"]] == [(500, "refunded"), (1500, "refunded")]
    assert all(one["refunded_at"] >= one["decided_at"] for one in order["refunds"])
    assert "reason" not in order["refunds"][0], "the buyer is not told what operators write"
    assert await system.stock(coffee) == (8, 0, 2), "stock stays sold"
    assert [one["id"] for one in await sold.buyer.orders()] == [sold.order]
    over = await keeper.refund(sold.order)
    assert (over.status_code, code(over), over.json()["left"]) == (409, "refund_exceeds_order", 0)


async def test_the_same_key_is_one_refund_whoever_sends_it_and_another_body_is_a_422(system: System) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    first = await keeper.refund(sold.order, 400, key="k")
    again = await Operator.of(system, DEMO, Scope.ADMIN).refund(sold.order, 400, key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"]
    other = await keeper.refund(sold.order, 401, key="k")
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    await keeper.until_refunded(sold.payment)
    assert await refunds_at_the_gateway(system, sold.payment) == [400]


async def test_twenty_operators_at_once_never_give_back_more_than_the_order(system: System) -> None:
    sold = await sell(system, (await system.product(price=1000), 2))
    keepers = [Operator.of(system) for _ in range(20)]
    answers = await asyncio.gather(*(keeper.refund(sold.order, 150) for keeper in keepers))
    assert Counter(answer.status_code for answer in answers) == {201: 13, 409: 7}
    assert {code(answer) for answer in answers if answer.status_code == 409} == {"refund_exceeds_order"}
    await keepers[0].until_refunded(sold.payment)
    assert await refunds_at_the_gateway(system, sold.payment) == [150] * 13
    assert (await sold.read())["refunded"] == 1950


@pytest.mark.parametrize("fault", ["down", "slow", "garbage", "timeout_after_acting"])
async def test_whatever_the_gateway_does_its_ledger_shows_exactly_one_refund(system: System, fault: str) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    await system.gateway.fail(refund=fault)
    answer = await keeper.refund(sold.order, 600)
    assert (answer.status_code, answer.json()["status"]) == (201, "intended")
    await asyncio.sleep(1.0)
    view = await keeper.look(sold.payment)
    if fault != "slow":
        assert (view["refund_status"], view["refunded"]) == ("intended", 600)
        assert "is being given back" in view["why"]
    await system.gateway.fail()
    await keeper.until_refunded(sold.payment)
    await asyncio.sleep(0.2)
    assert await refunds_at_the_gateway(system, sold.payment) == [600]


@pytest.mark.parametrize("fault", ["down", "garbage"])
async def test_a_gateway_that_cannot_be_asked_what_went_back_is_not_asked_to_give_back(
    system: System, fault: str
) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    await system.gateway.fail(fetch=fault)
    await keeper.refund(sold.order, 600)
    await asyncio.sleep(0.5)
    assert await refunds_at_the_gateway(system, sold.payment) == []
    await system.gateway.fail()
    await keeper.until_refunded(sold.payment)
    assert await refunds_at_the_gateway(system, sold.payment) == [600]


async def test_a_refund_made_at_the_gateways_own_desk_counts(system: System) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    await system.gateway.refund(sold.payment)
    await keeper.refund(sold.order)
    view = await keeper.until_refunded(sold.payment)
    assert view["refunds"][0]["refund_id"] == "refunded-at-the-gateway"
    assert await refunds_at_the_gateway(system, sold.payment) == [1000]


async def test_several_refunds_wait_together_for_a_gateway_and_are_made_in_their_order(system: System) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    await system.gateway.fail(refund="down")
    for amount in (300, 100, 200):
        assert (await keeper.refund(sold.order, amount)).status_code == 201
    assert (await keeper.look(sold.payment))["refund_status"] == "intended"
    await system.gateway.fail()
    await keeper.until_refunded(sold.payment)
    assert await refunds_at_the_gateway(system, sold.payment) == [300, 100, 200]


async def test_a_refund_decided_while_temporal_is_down_stands_and_the_repair_starts_it(system: System) -> None:
    sold = await sell(system, (await system.product(), 1))
    async with second_api(system, f"127.0.0.1:{free_port()}") as http:
        keeper = Operator(system.buyer(DEMO, None, Scope.OPERATOR))
        away = Operator(type(keeper.who)(http, DEMO, keeper.who.subject, keeper.who.headers))
        answer = await away.refund(sold.order, 250, key="k")
    assert (answer.status_code, answer.json()["status"]) == (201, "intended")
    assert await refunds_at_the_gateway(system, sold.payment) == []
    delivery = Delivery(system.database, system.client, system.settings.task_queue)
    repair = repair_of(system, delivery)
    assert (await repair.repair_tenant(DEMO, event_grace=0)).refunds_started == 1
    await keeper.until_refunded(sold.payment)
    assert (await repair.repair_tenant(DEMO, event_grace=0)).refunds_started == 0
    assert await refunds_at_the_gateway(system, sold.payment) == [250]


async def test_a_run_that_an_operator_ended_is_started_again(system: System) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    await system.gateway.fail(refund="down")
    await keeper.refund(sold.order, 250, key="k")
    run = system.client.get_workflow_handle(order_refunds_workflow_id(DEMO, OrderId(sold.order)))
    await run.terminate("a test")
    await system.gateway.fail()
    assert (await keeper.refund(sold.order, 250, key="k")).status_code == 201, "a repeat starts it too"
    await keeper.until_refunded(sold.payment)
    assert await refunds_at_the_gateway(system, sold.payment) == [250]


async def test_what_temporal_shows_of_a_refund_names_ids_and_amounts_only(system: System) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    await keeper.refund(sold.order, 250)
    await keeper.until_refunded(sold.payment)
    client: Client = system.client
    run = client.get_workflow_handle(order_refunds_workflow_id(DEMO, OrderId(sold.order)))
    history = str((await run.fetch_history()).to_json_dict())
    assert "The buyer cannot come" not in history
    assert keeper.who.subject not in history


@pytest.mark.parametrize(
    "body",
    [{}, {"reason": ""}, {"reason": "a\nb"}, {"reason": "x" * 501}, {"reason": "x", "amount": 0},
     {"reason": "x", "amount": -1}, {"reason": "x", "amount": "5"}, {"reason": "x", "amount": 1.5},
     {"reason": "x", "amount": True}, {"reason": "x", "amount": 10**16}, {"reason": "x", "more": 1}],
    ids=str,
)  # fmt: skip
async def test_a_refund_that_makes_no_sense_is_a_422_and_nothing_is_decided(
    system: System, body: dict[str, object]
) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    answer = await keeper.who.post(f"/v1/ops/orders/{sold.order}/refunds", body, None)
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text
    assert (await sold.read())["refunded"] == 0


async def test_another_tenants_operator_finds_no_order(system: System) -> None:
    sold = await sell(system, (await system.product(), 1))
    for answer in (
        await Operator.of(system, OTHER).refund(sold.order),
        await Operator.of(system, OTHER).give_back(sold.order),
        await Operator.of(system).refund("x"),
    ):
        assert (answer.status_code, code(answer)) == (404, "not_found")
    missing = await system.http.post(
        f"/v1/ops/orders/{sold.order}/refunds", json={"reason": "x"}, headers=dict(Operator.of(system).who.headers)
    )
    assert (missing.status_code, code(missing)) == (400, "idempotency_key_missing")
