"""A checkout whose run an operator terminated in Temporal: its row decides, and the repair mends what is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from activities.delivery import Delivery
from activities.gateways.sandbox import SANDBOX
from domain.ids import PaymentId, ProductId, TenantId
from domain.messages import Repaired
from domain.naming import late_payment_workflow_id
from tests.support.buyers import Buyer, code, decided
from tests.support.system import DEMO, QUICK, System, repair_of
from tests.support.waiting import eventually, pausing

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def orphaned(system: System, tenant: TenantId = DEMO, key: str | None = None) -> tuple[Buyer, Any, ProductId]:
    """(buyer, held checkout without a run, product)."""
    coffee, buyer = await system.product(stock=5, tenant=tenant), system.buyer(tenant)
    held = await buyer.hold((coffee, 2), key=key)
    await system.terminate(held["id"], tenant)
    return buyer, held, coffee


async def repair(system: System, tenant: TenantId) -> Repaired:
    delivery = Delivery(system.database, system.client, system.settings.task_queue)
    return await repair_of(system, delivery).repair_tenant(tenant, hold_grace=0, event_grace=0)


async def test_a_cancel_still_gives_the_stock_back(system: System) -> None:
    buyer, held, coffee = await orphaned(system)
    answers = [await buyer.cancel(held["id"]) for _ in range(2)]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "cancelled")] * 2
    assert await system.stock(coffee) == (5, 0, 0)
    assert (await buyer.extend(held["id"])).status_code == 410


async def test_an_extend_still_extends_once_per_key(system: System) -> None:
    buyer, held, _ = await orphaned(system)
    await asyncio.sleep(0.2)
    first, again = [await buyer.extend(held["id"], key="one") for _ in range(2)]
    assert (first.status_code, again.status_code) == (200, 200)
    assert held["expires_at"] < first.json()["expires_at"] == again.json()["expires_at"]


async def test_a_confirm_still_makes_the_order(system: System) -> None:
    buyer, held, coffee = await orphaned(system)
    payment = await system.payment(held)
    await system.gateway.pay(payment, drop=True)
    answer = await buyer.confirm(held["id"], payment)
    assert answer.status_code == 202, answer.text
    await buyer.until(held["id"], "confirmed")
    assert (await buyer.confirm(held["id"], payment)).status_code == 200
    assert await system.stock(coffee) == (3, 0, 2)


async def test_a_confirm_of_nothing_paid_changes_nothing(system: System) -> None:
    buyer, held, _ = await orphaned(system)
    assert (await buyer.confirm(held["id"], await system.payment(held))).status_code == 202
    await system.end_well()
    view = await buyer.read(held["id"])
    assert (view["status"], view["payments"]) == ("held", [])


async def test_a_repeated_start_says_what_the_row_says(system: System) -> None:
    buyer, held, coffee = await orphaned(system, key="one")
    again = await buyer.start((coffee, 2), key="one")
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (201, held["id"], "held")
    assert (await buyer.start((coffee, 1), key="one")).status_code == 422


async def test_the_repair_expires_an_overdue_hold_that_nobody_waits_for(system: System) -> None:
    buyer, held, coffee = await orphaned(system, QUICK)
    await asyncio.sleep(2.1)
    assert (await buyer.read(held["id"]))["status"] == "held"
    assert (await repair(system, QUICK)).holds_settled == 1
    assert (await buyer.read(held["id"]))["status"] == "expired"
    assert await system.stock(coffee, QUICK) == (5, 0, 0)
    assert (await repair(system, QUICK)) == Repaired()


async def test_after_its_end_cancel_and_extend_answer_410_though_nobody_noticed_it(system: System) -> None:
    buyer, held, _ = await orphaned(system, QUICK)
    await asyncio.sleep(2.1)
    answer = await buyer.extend(held["id"])
    assert (answer.status_code, code(answer)) == (410, "hold_over")
    assert (await repair(system, QUICK)).holds_settled == 1
    assert (await buyer.cancel(held["id"])).status_code == 410


async def test_another_buyers_start_frees_the_overdue_hold(system: System) -> None:
    _, held, coffee = await orphaned(system, QUICK)
    await asyncio.sleep(2.1)
    other = await system.buyer(QUICK).hold((coffee, 5))
    assert other["status"] == "held"
    cursor = await system.admin.execute("SELECT status FROM checkouts WHERE id = %s", (held["id"],))
    assert await cursor.fetchone() == ("expired",)


async def test_a_refund_whose_run_was_ended_is_started_again_by_the_repair(system: System) -> None:
    coffee, buyer = await system.product(tenant=QUICK), system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    await buyer.until(held["id"], "expired", seconds=6)
    payment = await system.payment(held, QUICK)
    await system.gateway.fail(refund="down")
    await system.gateway.pay(payment)
    await buyer.when(held["id"], decided, "decided")
    run = system.client.get_workflow_handle(late_payment_workflow_id(QUICK, SANDBOX, PaymentId(payment)))
    await eventually(lambda: pausing(run))  # An attempt on its way would go on after the end of its run, and succeed.
    await run.terminate("a test")
    await system.gateway.fail()
    assert (await repair(system, QUICK)).refunds_started == 1
    await buyer.until_refunded(held["id"], payment)
