"""The checks that end every end-to-end test see what they are there to see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from db.settle import settle
from domain.ids import CheckoutId
from domain.messages import CheckoutRef, SettleRequest, Wanted
from domain.naming import checkout_workflow_id
from tests.support.system import DEMO, System, faults_now

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def faults_while(system: System, spoil: Callable[[], Awaitable[object]]) -> str:
    """What the checks say once something was spoilt; all was well before."""
    await system.end_well()
    await spoil()
    return "\n".join(await faults_now(system))


async def test_a_lost_unit_is_seen(system: System) -> None:
    coffee = await system.product(stock=5)
    await system.buyer().hold((coffee, 2))
    change = (
        "UPDATE stock_items s SET reserved = reserved + %s FROM products p"
        " WHERE p.tenant_id = s.tenant_id AND p.stock_item_id = s.id AND p.tenant_id = 'demo' AND p.id = %s"
    )
    assert "I1: reserved is the sum of the held lines" in await faults_while(
        system, lambda: system.admin.execute(change, (1, coffee))
    )
    await system.admin.execute(change, (-1, coffee))


async def test_money_without_an_outcome_is_seen(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held)
    assert f"payment {payment} of sandbox (demo) was captured and has no outcome" in await faults_while(
        system, lambda: system.gateway.pay(payment, drop=True)
    )
    assert (await buyer.confirm(held["id"], payment)).status_code == 200


async def test_money_given_back_at_the_gateway_alone_is_seen(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held)
    await system.gateway.pay(payment)
    await buyer.until(held["id"], "confirmed")
    found = await faults_while(system, lambda: system.gateway.refund(payment))
    assert f"I4: payment {payment}: captured 1000, refunded 1000" in found
    system.unmatched.add(payment)


async def test_a_hold_without_its_run_and_a_run_without_its_hold_are_seen(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    await system.end_well()
    await system.terminate(held["id"])
    await system.end_well()
    system.without_run.discard(held["id"])
    assert f"{held['id']} does not run, and its checkout is held" in "\n".join(await faults_now(system))
    await buyer.cancel(held["id"])
    other = await buyer.hold((coffee, 1))
    ref = CheckoutRef(DEMO, CheckoutId(other["id"]))
    found = await faults_while(system, lambda: settle(system.database, SettleRequest(ref, Wanted.CANCEL)))
    assert f"{other['id']} runs, and its checkout is not held" in found
    await system.client.get_workflow_handle(checkout_workflow_id(DEMO, ref.checkout_id)).cancel()
