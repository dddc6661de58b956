"""Every activity run twice, at once, or with its result lost after the commit: one effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.api.enums.v1 import EventType

from activities import names
from db.inbox import record_event
from domain.checkout import CheckoutStatus
from domain.errors import Unavailable
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId
from domain.messages import Answer, Line, Ruling
from tests.support import faults
from tests.support.checkouts import a_capture, an_event
from tests.support.lines import line_ids
from tests.support.till import Held, Till, a_till
from tests.support.waiting import eventually

EVERY_ACTIVITY = {
    names.RESERVE,
    names.SETTLE,
    names.EXTEND,
    names.CHANGE_LINES,
    names.VERIFY_PAYMENT,
    names.START_LATE_PAYMENT,
    names.REFUND_PAYMENT,
    names.CLOSE_PAYMENTS,
}
"""Of a checkout and its payments. Those of the fulfilment that follows have tests of their own."""


@pytest.fixture
async def patient_till(database_url: str, temporal_address: str, temporal_namespace: str) -> AsyncIterator[Till]:
    """A shop whose holds last longer than a busy machine needs for faulty steps, and end while a test waits."""
    async with a_till(
        database_url, temporal_address, temporal_namespace, hold_seconds=6, extension_seconds=6, maximum_seconds=30
    ) as till:
        yield till


async def paid_twice(till: Till) -> None:
    """Extended, confirmed by the storefront, and paid once more while it confirms."""
    till.faults.plan.pop("settle", None)
    held = await till.start()
    assert (await till.extend(held)).answer is Answer.DONE
    first, second = till.capture(held), till.capture(held)
    answers = await asyncio.gather(till.confirm(held, first), till.webhook(second))
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert answers[0].status is CheckoutStatus.CONFIRMED
    refunded = [c for c in (first, second) if (o := await till.rows.outcome(c)) and o["kind"] == "refund"]
    assert (await till.late_result(refunded[0])).ruling is Ruling.REFUND


async def cancelled(till: Till) -> None:
    held = await till.start()
    await till.cancel(held)
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED


async def changed(till: Till) -> None:
    """A payment starts and ends unpaid, lines come and go, the last one of them, so that it is cancelled."""
    held = await till.start()
    capture = till.capture(held)
    for kind in (PaymentStatus.CREATED, PaymentStatus.CREATED, PaymentStatus.PROCESSING, PaymentStatus.EXPIRED):
        await till.webhook(capture, kind)
    assert (await till.lines(held, Line(till.products[0], 2), Line(till.products[0], 1))).answer is Answer.DONE
    for line in await line_ids(till.rows, held.start.ref):
        assert (await till.lines(held, remove=line)).answer is Answer.DONE
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED


async def expired(till: Till) -> None:
    held = await till.start()
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    late = await till.pay(held)
    assert (await till.late_result(late)).ruling is Ruling.REFUND


@pytest.mark.parametrize("fault", [faults.twice, faults.overlapping, faults.lost_once, faults.lost_while_local])
async def test_one_effect(patient_till: Till, fault: faults.Fault) -> None:
    till = patient_till
    till.faults.plan["*"] = fault
    await asyncio.gather(paid_twice(till), cancelled(till), changed(till), expired(till))
    assert set(till.faults.seen) >= EVERY_ACTIVITY
    assert await till.rows.stock(till.tenant, till.products[0]) == (99, 0, 1)
    assert await till.rows.value("SELECT count(*) FROM checkouts") == 4
    assert await till.rows.value("SELECT count(*) FROM checkout_lines") == 6
    assert await till.rows.value("SELECT count(*) FROM checkout_extensions") == 2
    assert await till.rows.value("SELECT count(*) FROM checkout_changes") == 4
    assert await till.rows.value("SELECT count(*) FROM orders") == 1
    assert await till.rows.value("SELECT count(*) FROM payment_outcomes") == 3
    assert len(till.gateway.refunds) == 2


async def events_of(till: Till, held: Held) -> list[str]:
    """The names of the run's events, with the activity's name for those that start one."""
    events = (await till.handle(held).fetch_history()).events
    return [
        e.activity_task_scheduled_event_attributes.activity_type.name or EventType.Name(e.event_type) for e in events
    ]


async def test_a_local_activity_that_fails_twice_becomes_a_regular_one_that_shows_and_finishes(till: Till) -> None:
    till.faults.plan["settle"] = faults.lost_while_local
    held = await till.start()
    await till.pay(held)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert (await events_of(till, held)).count("settle") == 1
    assert till.faults.seen["settle"] == 4
    assert "reserve" not in await events_of(till, held)


async def test_an_outage_of_the_database_shows_as_a_retried_activity_and_ends_by_itself(till: Till) -> None:
    mended = asyncio.Event()

    async def down(_: object, run: faults.Run) -> object:
        if not mended.is_set():
            raise Unavailable
        return await run()

    held = await till.start()
    till.faults.plan["settle"] = down
    cancelling = asyncio.create_task(till.cancel(held))

    async def shows() -> bool:
        pending = (await till.handle(held).describe()).raw_description.pending_activities
        return [(one.activity_type.name, one.attempt >= 2) for one in pending] == [("settle", True)]

    await eventually(shows)
    mended.set()
    assert (await cancelling).answer is Answer.DONE


async def test_a_repair_run_twice_mends_once(till: Till) -> None:
    held = await till.start()
    await till.handle(held).terminate("lost, as far as anybody knows")
    await till.end_early(held)
    first = await till.repair.repair_tenant(till.tenant, hold_grace=0, event_grace=0)
    assert (first.holds_settled, first.events_delivered, first.refunds_started) == (1, 0, 0)
    second = await till.repair.repair_tenant(till.tenant, hold_grace=0, event_grace=0)
    assert (second.holds_settled, second.events_delivered, second.refunds_started) == (0, 0, 0)
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)


async def test_a_terminated_run_with_a_payment_under_way_is_sold_by_the_repair(till: Till) -> None:
    held = await till.start()
    await till.handle(held).terminate("lost")
    capture = await till.pay(held)
    assert (await till.late_result(capture)).ruling is Ruling.ORDER
    assert (await till.rows.checkout(held.start.ref))["status"] == "confirmed"


async def test_a_late_payment_whose_run_was_lost_is_refunded_by_the_repair(till: Till) -> None:
    held = await till.start()
    await till.cancel(held)
    await till.result(held)
    till.gateway.down = True
    capture = await till.pay(held)

    async def refund_was_tried() -> bool:
        return till.faults.seen["refund_payment"] > 0

    await eventually(refund_was_tried)
    await till.late_handle(capture).terminate("lost")
    till.gateway.down = False
    repaired = await till.repair.repair_tenant(till.tenant, hold_grace=0, event_grace=0)
    assert repaired.refunds_started == 1
    assert (await till.late_result(capture)).ruling is Ruling.REFUND
    assert len(till.gateway.refunds) == 1


async def test_the_repair_delivers_an_event_whose_hand_over_failed(till: Till) -> None:
    held = await till.start()
    await record_event(till.db, till.tenant, an_event(till.capture(held)), b"{}")
    repaired = await till.repair.repair_tenant(till.tenant, hold_grace=0, event_grace=0)
    assert repaired.events_delivered == 1
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED


async def test_events_that_nobody_knows_the_checkout_of_do_not_keep_the_repair_from_the_others(till: Till) -> None:
    unknown = CheckoutId("00000000-0000-4000-8000-000000000000")
    for _ in range(210):
        await record_event(till.db, till.tenant, an_event(a_capture(unknown, 1)), b"{}")
    held = await till.start()
    await record_event(till.db, till.tenant, an_event(till.capture(held)), b"{}")
    assert (await till.repair.repair_tenant(till.tenant, hold_grace=0, event_grace=0)).events_delivered == 1
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    await till.admin.execute("DELETE FROM payment_events WHERE checkout_id = %s", (unknown,))
