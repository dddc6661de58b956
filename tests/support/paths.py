"""Every path of a run, walked on a till; recorded by `python -m tests.workflow.record`, and counted by a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from temporalio.client import WorkflowHandle

from activities.fulfilment.outcomes import NotYet
from activities.fulfilment.starting import Fulfilling
from db.contacts import Contact, put_contact
from db.fulfilment_steps import ask_again
from db.order_refunds import decide_order_refund
from domain.fulfilment import OrderRef, Step
from domain.gateway import PaymentStatus
from domain.ids import OrderId, order_id_for
from domain.messages import Line
from domain.naming import (
    CONSISTENCY_CHECK,
    PURGE_TOKENS,
    RECONCILE_PAYMENTS,
    fulfilment_workflow_id,
    order_refunds_workflow_id,
    replay_workflow_id,
)
from domain.payment_messages import LatePayment
from domain.reconciliation_messages import LedgerReconciled
from tests.support import faults
from tests.support.checkouts import a_start
from tests.support.ledgers import QUEUE as RECONCILING
from tests.support.ledgers import MadeUp, reconciling
from tests.support.lines import line_ids
from tests.support.sales import OPERATOR, a_refund
from tests.support.till import TASK_QUEUE, Held, Till
from tests.support.waiting import eventually

Run = WorkflowHandle[Any, Any]
Path = Callable[[Till], Awaitable[Run]]
"""Walks the path to its end, in a shop with holds of 2 seconds, and gives the run to look at."""

PATHS: dict[str, Path] = {}


def path(walk: Path) -> Path:
    PATHS[walk.__name__] = walk
    return walk


async def ended(till: Till, held: Held) -> Run:
    await till.result(held)
    return till.handle(held)


@path
async def paid(till: Till) -> Run:
    held = await till.start()
    await till.pay(held)
    return await ended(till, held)


@path
async def paid_to_a_run_that_starts_the_fulfilment_itself(till: Till) -> Run:
    held = await till.start(replace(a_start(till.tenant, {till.products[0]: 1}), fulfils=True))
    await till.pay(held)
    return await ended(till, held)


@path
async def paid_with_every_product(till: Till) -> Run:
    held = await till.start(a_start(till.tenant, dict.fromkeys(till.products, 1)))
    await till.pay(held)
    return await ended(till, held)


@path
async def confirmed_with_a_known_payment(till: Till) -> Run:
    held = await till.start()
    await till.confirm(held, till.capture(held), known=True)
    return await ended(till, held)


@path
async def confirmed_after_asking_the_gateway(till: Till) -> Run:
    held = await till.start()
    await till.confirm(held, till.capture(held))
    return await ended(till, held)


@path
async def cancelled(till: Till) -> Run:
    held = await till.start()
    await till.cancel(held)
    return await ended(till, held)


@path
async def cancelled_in_temporal(till: Till) -> Run:
    held = await till.start()
    await till.handle(held).cancel()
    return await ended(till, held)


@path
async def expired(till: Till) -> Run:
    return await ended(till, await till.start())


@path
async def extended_twice_then_paid(till: Till) -> Run:
    held = await till.start()
    await till.extend(held, "first")
    await till.extend(held, "second")
    await till.pay(held)
    return await ended(till, held)


@path
async def extended_itself_then_paid(till: Till) -> Run:
    held = await till.start()
    capture = till.capture(held)
    await till.webhook(capture, PaymentStatus.CREATED)
    await eventually(lambda: till.rows.value("SELECT count(*) FROM checkout_extensions"))
    await till.webhook(capture, PaymentStatus.PROCESSING)
    await till.webhook(capture)
    return await ended(till, held)


@path
async def lines_added_and_taken_out_then_paid(till: Till) -> Run:
    held = await till.start()
    await till.lines(held, Line(till.products[1], 2), Line(till.products[2], 1))
    [first, *_] = await line_ids(till.rows, held.start.ref)
    await till.lines(held, remove=first)
    await till.pay(held, amount=3000)
    return await ended(till, held)


@path
async def lines_refused_then_last_line_taken_out(till: Till) -> Run:
    held = await till.start()
    await till.lines(held, Line(till.products[0], 1000))
    [line] = await line_ids(till.rows, held.start.ref)
    await till.lines(held, remove=line)
    return await ended(till, held)


@path
async def lines_added_by_the_regular_activity(till: Till) -> Run:
    till.faults.plan["change_lines"] = faults.lost_while_local
    held = await till.start()
    await till.lines(held, Line(till.products[1], 2))
    till.faults.plan.clear()
    await till.cancel(held)
    return await ended(till, held)


@path
async def declined_then_paid(till: Till) -> Run:
    held = await till.start()
    capture = till.capture(held)
    await till.webhook(capture, PaymentStatus.FAILED)
    await till.webhook(capture)
    return await ended(till, held)


@path
async def not_captured_then_expired(till: Till) -> Run:
    held = await till.start()
    capture = till.capture(held)
    till.gateway.has(capture, till.tenant, PaymentStatus.FAILED)
    await till.confirm(held, capture)
    return await ended(till, held)


@path
async def refused(till: Till) -> Run:
    return await ended(till, await till.start(a_start(till.tenant, {till.products[0]: 1000})))


@path
async def not_attempted(till: Till) -> Run:
    return await ended(till, await till.start(patience=-1))


@path
async def wrong_amount_then_paid(till: Till) -> Run:
    held = await till.start()
    wrong = await till.pay(held, amount=1)
    await till.late_result(wrong)
    await till.pay(held)
    return await ended(till, held)


@path
async def second_payment_while_confirming(till: Till) -> Run:
    till.faults.plan["settle"] = faults.slow(0.2, 0.1)
    held = await till.start()
    first, second = till.capture(held), till.capture(held)
    await till.webhook(first)
    await asyncio.sleep(0.1)
    await till.webhook(second)
    run = await ended(till, held)
    await till.late_result(second)
    till.faults.plan.clear()
    return run


@path
async def settled_by_the_regular_activity(till: Till) -> Run:
    till.faults.plan["settle"] = faults.lost_while_local
    held = await till.start()
    await till.pay(held)
    run = await ended(till, held)
    till.faults.plan.clear()
    return run


@path
async def late_payment(till: Till) -> Run:
    held = await till.start()
    await till.cancel(held)
    await ended(till, held)
    capture = await till.pay(held)
    await till.late_result(capture)
    return till.late_handle(capture)


@path
async def late_payment_whose_buyer_is_told_of_its_refund(till: Till) -> Run:
    held = await till.start()
    await put_contact(till.db, till.tenant, held.id, held.start.buyer, Contact("ana@example.com"))
    await till.cancel(held)
    await ended(till, held)
    capture = await till.pay(held)
    await till.late_result(capture)
    return till.late_handle(capture)


@path
async def late_payment_that_becomes_an_order(till: Till) -> Run:
    held = await till.start()
    await till.cancel(held)
    await ended(till, held)
    await till.admin.execute("UPDATE tenants SET late_payments = 'reserve' WHERE id = %s", (till.tenant,))
    capture = await till.pay(held)
    await till.late_result(capture)
    await till.admin.execute("UPDATE tenants SET late_payments = 'refund' WHERE id = %s", (till.tenant,))
    return till.late_handle(capture)


@path
async def late_payment_that_the_gateway_is_asked_about(till: Till) -> Run:
    held = await till.start()
    await till.cancel(held)
    await ended(till, held)
    capture = till.capture(held)
    await till.delivery.start_late_payment(
        LatePayment(till.tenant, capture.gateway, capture.payment_id, capture.received_at, held.id)
    )
    await till.late_result(capture)
    return till.late_handle(capture)


@path
async def order_refunded_in_parts(till: Till) -> Run:
    held = await till.start()
    await till.pay(held)
    order = (await till.result(held)).order_id
    assert order is not None
    for amount in (300, 700):
        await decide_order_refund(till.db, till.tenant, OPERATOR, a_refund(till.tenant, order, amount))
    await till.delivery.start_order_refunds(till.tenant, order)
    run = till.client.get_workflow_handle(order_refunds_workflow_id(till.tenant, order))
    await run.result()
    return run


@path
async def started_payment_that_is_paid(till: Till) -> Run:
    held = await till.start()
    payment = await till.start_payment(held)
    await till.webhook(till.capture(held, payment=payment))
    return await ended(till, held)


@path
async def open_payment_ended_at_the_end(till: Till) -> Run:
    held = await till.start()
    await till.start_payment(held)
    return await ended(till, held)


@path
async def open_payment_found_captured_at_the_end(till: Till) -> Run:
    held = await till.start()
    till.gateway.stands(await till.start_payment(held), PaymentStatus.CAPTURED)
    return await ended(till, held)


@path
async def open_payment_on_its_way_at_the_end_then_paid(till: Till) -> Run:
    held = await till.start()
    payment = await till.start_payment(held)
    till.gateway.stands(payment, PaymentStatus.PROCESSING)
    await eventually(lambda: asked_at_the_end(till, held))
    await till.webhook(till.capture(held, payment=payment))
    return await ended(till, held)


@path
async def open_payment_of_a_silent_gateway_at_the_end(till: Till) -> Run:
    held = await till.start()
    await till.start_payment(held)
    till.gateway.down = True
    await eventually(lambda: asked_at_the_end(till, held))
    till.gateway.down = False
    return await ended(till, held)


@path
async def cancelled_with_an_open_payment(till: Till) -> Run:
    held = await till.start()
    await till.start_payment(held)
    await till.cancel(held)
    return await ended(till, held)


@path
async def cancelled_in_temporal_with_an_open_payment(till: Till) -> Run:
    held = await till.start()
    await till.start_payment(held)
    await till.handle(held).cancel()
    return await ended(till, held)


@path
async def paid_with_another_payment_on_its_way(till: Till) -> Run:
    held = await till.start()
    first, second = await till.start_payment(held), await till.start_payment(held)
    till.gateway.stands(first, PaymentStatus.PROCESSING)
    await till.webhook(till.capture(held, payment=second))
    run = await ended(till, held)
    till.gateway.stands(first, PaymentStatus.FAILED)
    return run


async def asked_at_the_end(till: Till, held: Held) -> bool:
    """Whether the run has asked the gateway, and waits to ask again."""
    lines = "SELECT bool_or(l.expires_at > c.expires_at) FROM checkouts c JOIN checkout_lines l ON l.checkout_id = c.id"
    return bool(await till.rows.value(f"{lines} WHERE c.id = %s", held.id)) and till.faults.seen["close_payments"] > 0


@path
async def fulfilled(till: Till) -> Run:
    held = await till.start()
    await put_contact(till.db, till.tenant, held.id, held.start.buyer, Contact("ana@example.com", "+573001234567"))
    await till.pay(held)
    await till.result(held)
    order = OrderRef(till.tenant, order_id_for(till.tenant, held.id))
    await Fulfilling(till.client, TASK_QUEUE).start_fulfilment(order)
    run = till.client.get_workflow_handle(fulfilment_workflow_id(till.tenant, order.order_id))
    await run.result()
    return run


@path
async def fulfilled_when_the_mail_server_was_back(till: Till) -> Run:
    till.mail.fails = NotYet("down")

    async def mended() -> bool:
        if till.faults.seen["send_confirmation"]:
            till.mail.fails = None
        return till.mail.fails is None

    run, _ = await asyncio.gather(fulfilled(till), eventually(mended))
    return run


@path
async def fulfilment_step_again(till: Till) -> Run:
    order = OrderId((await fulfilled(till)).id.rpartition("/")[2])
    asked = await ask_again(till.db, till.tenant, order, Step.MAIL, "again", OPERATOR)
    await Fulfilling(till.client, TASK_QUEUE).replay(asked)
    run = till.client.get_workflow_handle(replay_workflow_id(till.tenant, order, Step.MAIL, asked.replay))
    await run.result()
    return run


@path
async def consistency_check(till: Till) -> Run:
    run = await till.client.start_workflow(CONSISTENCY_CHECK, id="consistency-check", task_queue=TASK_QUEUE)
    await run.result()
    return run


@path
async def reconciliation(till: Till) -> Run:
    one = LedgerReconciled(compared=3, repaired=1)
    async with reconciling(till.client, MadeUp({"shop": one, "shut": None, "third": one})):
        run = await till.client.start_workflow(RECONCILE_PAYMENTS, id="reconcile-payments", task_queue=RECONCILING)
        await run.result()
    return run


@path
async def purge_tokens(till: Till) -> Run:
    run = await till.client.start_workflow(PURGE_TOKENS, id="purge-tokens", task_queue=TASK_QUEUE)
    await run.result()
    return run
