"""The run that makes an order's refunds: an activity may run twice or lose its result, a signal may come late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast

import pytest
from temporalio.client import WorkflowExecutionStatus

from activities.gateways.interface import Gateway
from activities.order_refunds import OrderRefundActivities
from db.order_refunds import decide_order_refund
from domain.ids import GatewayName, OrderId
from domain.naming import order_refunds_workflow_id
from domain.refund_messages import OrderRefundMade, OrderRefunds, OrderRefundsResult
from tests.support import faults
from tests.support.checkouts import SANDBOX
from tests.support.faults import Fault
from tests.support.sales import OPERATOR, a_refund
from tests.support.till import PATIENCE, Till
from tests.support.waiting import eventually


@pytest.fixture
async def order(till: Till) -> AsyncIterator[OrderId]:
    """An order of 1000; whatever a test left owed of it is made at the end."""
    held = await till.start()
    await till.pay(held)
    made = (await till.result(held)).order_id
    assert made is not None
    yield made
    till.faults.plan.clear()
    till.gateway.down = till.gateway.refuses_refunds = False
    await eventually(lambda: _all_made(till), PATIENCE.total_seconds())


async def _all_made(till: Till) -> bool:
    return not await till.rows.value("SELECT count(*) FROM order_refunds WHERE status = 'intended'")


async def decide(till: Till, order: OrderId, *amounts: int) -> None:
    for amount in amounts:
        await decide_order_refund(till.db, till.tenant, OPERATOR, a_refund(till.tenant, order, amount))


async def result(till: Till, order: OrderId) -> OrderRefundsResult:
    run = till.client.get_workflow_handle(order_refunds_workflow_id(till.tenant, order), result_type=OrderRefundsResult)
    async with asyncio.timeout(PATIENCE.total_seconds()):
        ended: OrderRefundsResult = await run.result()
    return ended


def given_back(till: Till) -> list[int]:
    """What the gateway gave back: once for each idempotency key."""
    return [one.amount for one in till.gateway.refunds.values()]


async def test_what_is_owed_is_made_in_its_order_by_one_run(till: Till, order: OrderId) -> None:
    await decide(till, order, 100, 300, 200)
    await till.delivery.start_order_refunds(till.tenant, order)
    assert await result(till, order) == OrderRefundsResult(refunds=3, amount=600)
    assert given_back(till) == [100, 300, 200]
    assert await till.rows.value("SELECT bool_and(status = 'refunded' AND refund_id IS NOT NULL) FROM order_refunds")


@pytest.mark.parametrize("fault", [faults.twice, faults.overlapping, faults.lost_once], ids=lambda one: one.__name__)
async def test_an_activity_that_runs_twice_or_whose_result_is_lost_gives_back_once(
    till: Till, order: OrderId, fault: Fault
) -> None:
    till.faults.plan["refund_order"] = fault
    await decide(till, order, 100, 300, 200)
    await till.delivery.start_order_refunds(till.tenant, order)
    await result(till, order)
    assert sorted(given_back(till)) == [100, 200, 300]
    assert await _all_made(till)


async def test_starting_it_many_times_is_one_run_and_changes_nothing(till: Till, order: OrderId) -> None:
    await decide(till, order, 100)
    await asyncio.gather(*(till.delivery.start_order_refunds(till.tenant, order) for _ in range(10)))
    await result(till, order)
    await till.delivery.start_order_refunds(till.tenant, order)
    assert (await result(till, order)).refunds == 0, "nothing is owed any more"
    assert given_back(till) == [100]


async def test_a_refund_decided_while_another_waits_for_the_gateway_is_made_by_the_same_run(
    till: Till, order: OrderId
) -> None:
    till.gateway.down = True
    await decide(till, order, 100)
    await till.delivery.start_order_refunds(till.tenant, order)
    await eventually(lambda: _tried(till, 2))
    await decide(till, order, 200)
    await till.delivery.start_order_refunds(till.tenant, order)
    till.gateway.down = False
    assert await result(till, order) == OrderRefundsResult(refunds=2, amount=300)
    assert given_back(till) == [100, 200]


async def test_a_signal_that_comes_while_the_run_is_ending_is_not_lost(till: Till, order: OrderId) -> None:
    till.faults.plan["refund_order"] = faults.slow(0.0, 0.05)
    for amount in range(1, 16):
        await decide(till, order, amount)
        await till.delivery.start_order_refunds(till.tenant, order)
        await asyncio.sleep(0.013 * amount)
    await eventually(lambda: _all_made(till), PATIENCE.total_seconds())
    assert given_back(till) == list(range(1, 16))


async def test_a_gateway_that_refuses_is_asked_again_and_shows_why(till: Till, order: OrderId) -> None:
    till.gateway.refuses_refunds = True
    await decide(till, order, 100)
    await till.delivery.start_order_refunds(till.tenant, order)
    await eventually(lambda: _tried(till, 2))
    run = till.client.get_workflow_handle(order_refunds_workflow_id(till.tenant, order))
    described = await run.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    [pending] = described.raw_description.pending_activities
    assert "refuses the refund" in pending.last_failure.message
    till.gateway.refuses_refunds = False
    assert (await result(till, order)).amount == 100


async def test_the_repair_starts_what_no_run_makes_and_only_that(till: Till, order: OrderId) -> None:
    await decide(till, order, 100)
    assert (await till.repair.repair_tenant(till.tenant)).refunds_started == 0, "too young"
    assert (await till.repair.repair_tenant(till.tenant, event_grace=0)).refunds_started == 1
    await result(till, order)
    assert (await till.repair.repair_tenant(till.tenant, event_grace=0)).refunds_started == 0


async def test_with_nothing_owed_the_activity_asks_no_gateway(till: Till, order: OrderId) -> None:
    asked = till.gateway.asked
    activities = OrderRefundActivities(till.db, {SANDBOX: cast("Gateway", till.gateway)})
    assert await activities.refund_order(OrderRefunds(till.tenant, order)) == OrderRefundMade("", 0, 0)
    assert till.gateway.asked == asked


async def test_a_gateway_that_is_not_configured_any_more_leaves_the_refund_owed(till: Till, order: OrderId) -> None:
    await decide(till, order, 100)
    activities = OrderRefundActivities(till.db, {GatewayName("other"): cast("Gateway", till.gateway)})
    with pytest.raises(Exception, match="no gateway 'sandbox'") as raised:
        await activities.refund_order(OrderRefunds(till.tenant, order))
    assert not getattr(raised.value, "non_retryable", True), "it is asked again"
    await till.delivery.start_order_refunds(till.tenant, order)
    await result(till, order)


async def _tried(till: Till, times: int) -> bool:
    await asyncio.sleep(timedelta(milliseconds=50).total_seconds())
    return till.faults.seen["refund_order"] >= times
