"""Lines of a running checkout, and the extension that it makes by itself when a payment starts."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities.delivery import Handed
from domain.checkout import CheckoutStatus
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId
from domain.messages import Answer, CancelUpdate, Line, PaymentSignal, PaymentSignalKind, Ruling
from domain.naming import CANCEL_UPDATE, PAYMENT_SIGNAL
from tests.support import faults
from tests.support.checkouts import a_capture
from tests.support.lines import line_ids
from tests.support.till import Held, Till
from tests.support.waiting import eventually

EXTENSIONS = "SELECT count(*) FROM checkout_extensions"


async def test_added_lines_are_paid_with_the_rest(till: Till) -> None:
    held = await till.start()
    answered = await till.lines(held, Line(till.products[0], 3))
    assert (answered.answer, answered.status) == (Answer.DONE, CheckoutStatus.HELD)
    assert await till.rows.stock(till.tenant, till.products[0]) == (96, 4, 0)
    await till.pay(held, amount=4000)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert await till.rows.stock(till.tenant, till.products[0]) == (96, 0, 4)


async def test_a_payment_of_the_total_before_a_line_was_added_goes_back_and_the_hold_stays(till: Till) -> None:
    held = await till.start()
    old = till.capture(held)
    await till.lines(held, Line(till.products[0], 1))
    await till.webhook(old)
    result = await till.late_result(old)
    assert (result.ruling, result.reason) == (Ruling.REFUND, "wrong_amount")
    await till.pay(held, amount=2000)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED


async def test_a_shortage_is_answered_and_the_hold_stays_as_it_was(till: Till) -> None:
    held = await till.start()
    before = await till.rows.checkout(held.start.ref)
    answered = await till.lines(held, Line(till.products[0], 100))
    assert (answered.answer, answered.status) == (Answer.REFUSED, CheckoutStatus.HELD)
    assert await till.rows.checkout(held.start.ref) == before
    await till.cancel(held)


async def test_taking_the_last_line_out_ends_the_run(till: Till) -> None:
    held = await till.start()
    [line] = await line_ids(till.rows, held.start.ref)
    answered = await till.lines(held, remove=line)
    assert (answered.answer, answered.status) == (Answer.DONE, CheckoutStatus.CANCELLED)
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)


async def test_a_run_waits_for_the_end_that_an_added_line_has_moved(quick_till: Till) -> None:
    held = await quick_till.start()
    await asyncio.sleep(1)
    await quick_till.lines(held, Line(quick_till.products[0], 1))
    assert (await quick_till.result(held)).status is CheckoutStatus.EXPIRED
    row = await quick_till.rows.checkout(held.start.ref)
    assert 3 <= (row["ended_at"] - row["held_at"]).total_seconds() < 5
    assert await quick_till.rows.stock(quick_till.tenant, quick_till.products[0]) == (100, 0, 0)


async def test_the_same_change_asked_eight_times_at_once_is_one(till: Till) -> None:
    held = await till.start()
    changes = (till.lines(held, Line(till.products[0], 1), key="the-same-key") for _ in range(8))
    assert {answer.answer for answer in await asyncio.gather(*changes)} == {Answer.DONE}
    assert await till.rows.stock(till.tenant, till.products[0]) == (98, 2, 0)
    await till.cancel(held)


async def test_after_the_end_lines_are_refused_without_history(till: Till) -> None:
    held = await till.start()
    await till.cancel(held)
    await till.result(held)
    with pytest.raises((RPCError, WorkflowUpdateFailedError)):
        await till.lines(held, Line(till.products[0], 1))
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)


async def test_changes_that_meet_the_end_are_all_answered(till: Till) -> None:
    till.faults.plan["settle"] = faults.slow(0.1, 0.1)
    held = await till.start()
    [line] = await line_ids(till.rows, held.start.ref)
    asked = [till.lines(held, Line(till.products[0], 1)), till.cancel(held), till.lines(held, remove=line)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            assert isinstance(answer, (WorkflowUpdateFailedError, RPCError))
        else:
            assert answer.answer in (Answer.DONE, Answer.OVER)
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)


async def test_a_change_that_finds_the_row_past_its_end_is_over_and_the_hold_expires(till: Till) -> None:
    held = await till.start()
    await till.end_early(held)
    answered = await till.lines(held, Line(till.products[0], 1))
    assert answered.answer is Answer.OVER
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED


async def started(till: Till, held: Held, kind: PaymentStatus = PaymentStatus.CREATED) -> Handed:
    """The gateway says that a payment was started."""
    return await till.webhook(till.capture(held), kind)


@pytest.mark.parametrize("kind", [PaymentStatus.CREATED, PaymentStatus.PROCESSING])
async def test_a_hold_extends_by_itself_once_when_payments_start(till: Till, kind: PaymentStatus) -> None:
    held = await till.start()
    before = await till.rows.pass_time(held.start.ref, timedelta(minutes=10))
    assert await started(till, held, kind) is Handed.TO_CHECKOUT
    await eventually(lambda: till.rows.value(EXTENSIONS))
    after = (await till.rows.checkout(held.start.ref))["expires_at"]
    assert timedelta(minutes=10) <= after - before < timedelta(minutes=11)
    await started(till, held)
    await till.extend(held, "wait until the run has looked at it")
    assert await till.rows.value(EXTENSIONS + " WHERE request_id = 'payment-started'") == 1
    await till.pay(held)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED


async def test_the_extended_end_is_the_one_that_the_run_waits_for(quick_till: Till) -> None:
    held = await quick_till.start()
    await asyncio.sleep(1)
    await started(quick_till, held)
    assert (await quick_till.result(held)).status is CheckoutStatus.EXPIRED
    row = await quick_till.rows.checkout(held.start.ref)
    assert 3 <= (row["ended_at"] - row["held_at"]).total_seconds() < 5


async def test_a_shop_that_does_not_want_it_has_no_extension_by_itself(till: Till) -> None:
    await till.admin.execute("UPDATE tenants SET auto_extend = false")
    held = await till.start()
    await till.rows.pass_time(held.start.ref, timedelta(minutes=10))
    end = (await till.rows.checkout(held.start.ref))["expires_at"]
    await started(till, held)
    await eventually(lambda: seen(till, "extend"))
    await till.admin.execute("UPDATE tenants SET auto_extend = true")
    await till.handle(held).signal(PAYMENT_SIGNAL, a_start_of_payment(till, held))
    await till.cancel(held)
    assert await till.rows.value(EXTENSIONS) == 0
    assert (await till.rows.checkout(held.start.ref))["expires_at"] == end


async def test_a_changed_setting_does_not_alter_the_extension_of_a_running_hold(till: Till) -> None:
    held = await till.start()
    await till.admin.execute("UPDATE tenants SET auto_extend = false")
    await started(till, held)
    await eventually(lambda: till.rows.value(EXTENSIONS))
    await till.cancel(held)


async def test_a_start_of_payment_that_is_signalled_again_and_again_or_late_extends_no_more(till: Till) -> None:
    held = await till.start()
    signal = a_start_of_payment(till, held)
    for _ in range(5):
        await till.handle(held).signal(PAYMENT_SIGNAL, signal)
    await eventually(lambda: till.rows.value(EXTENSIONS))
    till.faults.plan["settle"] = faults.slow(0.2, 0.2)
    cancelling = asyncio.create_task(till.engine.update(held.start.ref, CANCEL_UPDATE, "k", CancelUpdate("f"), 10))
    await asyncio.sleep(0.2)
    await till.handle(held).signal(PAYMENT_SIGNAL, signal)
    await cancelling  # By the engine, which asks again when a signal fails the run's last task.
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED
    assert till.faults.seen["extend"] == 1
    assert await started(till, held) is Handed.NOTHING_TO_DO
    assert await till.rows.value("SELECT count(*) FROM payment_events WHERE state <> 'settled'") == 0


async def test_a_hold_that_is_over_by_its_row_does_not_extend_when_a_payment_starts(till: Till) -> None:
    held = await till.start()
    await till.end_early(held)
    await started(till, held)
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    assert await till.rows.value(EXTENSIONS) == 0


async def test_a_hold_does_not_extend_itself_past_its_maximum(quick_till: Till) -> None:
    held = await quick_till.start()
    for number in range(4):
        await asyncio.sleep(1.3)
        await quick_till.extend(held, f"e{number}")
    await started(quick_till, held)
    assert (await quick_till.result(held)).status is CheckoutStatus.EXPIRED
    row = await quick_till.rows.checkout(held.start.ref)
    assert row["expires_at"] - row["held_at"] == timedelta(seconds=6)


async def test_a_start_of_payment_for_a_checkout_that_nobody_knows_leaves_nothing_to_do(till: Till) -> None:
    unknown = a_capture(CheckoutId("00000000-0000-4000-8000-000000000000"), 1000)
    assert await till.webhook(unknown, PaymentStatus.CREATED) is Handed.NOTHING_TO_DO
    assert await till.rows.value("SELECT state FROM payment_events") == "settled"


async def seen(till: Till, activity: str) -> bool:
    return till.faults.seen[activity] > 0


def a_start_of_payment(till: Till, held: Held) -> PaymentSignal:
    capture = till.capture(held)
    return PaymentSignal(PaymentSignalKind.STARTED, capture.gateway, capture.payment_id)
