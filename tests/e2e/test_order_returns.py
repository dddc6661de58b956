"""Putting an order's things on sale again, over HTTP: a choice of its own, never part of a refund."""

from __future__ import annotations

import pytest

from tests.support.buyers import code
from tests.support.operator import Operator, refunds_at_the_gateway, sell
from tests.support.system import DEMO, System
from tests.support.visits import a_venue

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_units_go_back_on_sale_line_by_line_then_all_that_is_left(system: System) -> None:
    coffee, tea = await system.product(), await system.product()
    sold, keeper = await sell(system, (coffee, 3), (tea, 2)), Operator.of(system)
    line = next(one["line"] for one in (await sold.read())["lines"] if one["product_id"] == coffee)
    answer = await keeper.give_back(sold.order, [{"line": line, "quantity": 2}], key="k")
    assert answer.status_code == 200, answer.text
    assert {one["product_id"]: one["returned"] for one in answer.json()["lines"]} == {coffee: 2, tea: 0}
    assert await system.stock(coffee) == (9, 0, 1)
    again = await keeper.give_back(sold.order, [{"line": line, "quantity": 2}], key="k")
    assert (again.status_code, again.json()) == (200, answer.json())
    assert await system.stock(coffee) == (9, 0, 1), "a repeat has no effect"

    over = await keeper.give_back(sold.order, [{"line": line, "quantity": 2}])
    assert (over.status_code, code(over), over.json()["left"]) == (409, "return_exceeds_order", 1)
    assert (await keeper.give_back(sold.order)).status_code == 200
    assert [await system.stock(each) for each in (coffee, tea)] == [(10, 0, 0)] * 2
    order = await sold.read()
    assert (order["refunded"], [one["returned"] for one in order["lines"]]) == (0, [3, 2])
    assert await refunds_at_the_gateway(system, sold.payment) == []


async def test_a_seat_that_was_given_back_is_shown_free_and_is_sold_to_somebody_else(system: System) -> None:
    venue, keeper = await a_venue(system), Operator.of(system)
    orders, path = [], f"/v1/zones/{venue.numbered}/seats"
    for buyer in (system.buyer(), system.buyer()):
        held = await buyer.post("/v1/checkouts", {"lines": [{"seat_id": venue.seats[0]}]}, None)
        assert held.status_code == 201, held.text
        await system.gateway.pay(await system.payment(held.json()))
        orders.append((await buyer.until(held.json()["id"], "confirmed"))["order_id"])
        seats = (await system.http.get(path, headers=dict(buyer.headers))).json()["seats"]
        assert seats[0]["status"] == "sold"
        if len(orders) == 1:
            assert (await keeper.give_back(orders[0])).status_code == 200
            seats = (await system.http.get(path, headers=dict(buyer.headers))).json()["seats"]
            assert seats[0]["status"] == "free"
    late = await keeper.give_back(orders[0])
    assert (late.status_code, late.json()["lines"][0]["returned"]) == (200, 1), "nothing was left of the first order"
    seats = (await system.http.get(path, headers=dict(buyer.headers))).json()["seats"]
    assert seats[0]["status"] == "sold"


@pytest.mark.parametrize(
    "body",
    [{"lines": []}, {"lines": None}, {"lines": [{"line": 0, "quantity": 1}]}, {"lines": [{"line": 1, "quantity": 0}]},
     {"lines": [{"line": 9, "quantity": 1}]}, {"lines": [{"line": 1}]}, {"all": True},
     {"lines": [{"line": 1, "quantity": 1}, {"line": 1, "quantity": 1}]}],
    ids=str,
)  # fmt: skip
async def test_a_return_that_makes_no_sense_is_a_422_and_nothing_goes_back(
    system: System, body: dict[str, object]
) -> None:
    coffee = await system.product()
    sold, keeper = await sell(system, (coffee, 2)), Operator.of(system)
    answer = await keeper.who.post(f"/v1/ops/orders/{sold.order}/return", body, None)
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text
    assert await system.stock(coffee, DEMO) == (8, 0, 2)
