"""A payment in flight at a hold's end, in virtual time: the gateway is asked first, for as long as the grace lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType

from activities.delivery import Handed
from domain.checkout import CheckoutStatus
from domain.gateway import PaymentStatus
from domain.ids import PaymentId
from domain.messages import Answer, Line, Ruling
from tests.support import clock, faults
from tests.support.checkouts import Rows
from tests.support.till import Held, Till, a_till
from tests.support.waiting import eventually

GRACE, SECOND = timedelta(minutes=2), timedelta(seconds=1)


@pytest.fixture
async def till(database_url: str, temporal_address: str, temporal_namespace: str) -> AsyncIterator[Till]:
    """A shop whose database has a clock that stands still."""
    await clock.install(database_url)
    async with a_till(database_url, temporal_address, temporal_namespace) as till:
        yield till


@pytest.fixture
async def time(till: Till) -> clock.Clock:
    return clock.Clock(till.rows, till.client)


async def paying(till: Till, time: clock.Clock) -> tuple[Held, PaymentId]:
    """A hold whose payment was started in its last minute, and which ends 15 minutes after that."""
    held = await till.start()
    await time.move(timedelta(minutes=14), till.handle(held))
    payment = await till.start_payment(held)
    row = await till.rows.checkout(held.start.ref)
    assert row["expires_at"] - row["held_at"] == timedelta(minutes=29)
    await eventually(lambda: has_heard(till, held))
    return held, payment


async def has_heard(till: Till, held: Held) -> bool:
    """Whether the run knows of its new end: it has taken two steps, the reserve and the extension."""
    events = (await till.handle(held).fetch_history()).events
    return sum(event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED for event in events) >= 2


async def to_the_end(till: Till, time: clock.Clock, held: Held) -> None:
    await time.move(timedelta(minutes=15), till.handle(held))


async def asked(till: Till, times: int) -> None:
    async def so_often() -> bool:
        return till.faults.seen["close_payments"] >= times

    await eventually(so_often)


async def released(till: Till) -> bool:
    return await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)


@pytest.mark.parametrize("status", [PaymentStatus.CREATED, PaymentStatus.FAILED])
async def test_what_nobody_has_paid_is_ended_and_then_the_stock_is_free(
    till: Till, time: clock.Clock, status: PaymentStatus
) -> None:
    held, payment = await paying(till, time)
    till.gateway.stands(payment, status)
    await to_the_end(till, time, held)
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    assert till.gateway.status(payment) is PaymentStatus.EXPIRED
    assert await released(till)


async def test_a_capture_without_a_webhook_is_the_order(till: Till, time: clock.Clock) -> None:
    held, payment = await paying(till, time)
    till.gateway.stands(payment, PaymentStatus.CAPTURED)
    await to_the_end(till, time, held)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert till.gateway.refunds == {}
    assert await till.rows.stock(till.tenant, till.products[0]) == (99, 0, 1)


@pytest.mark.parametrize("how", ["by its webhook", "by asking"])
async def test_a_payment_on_its_way_keeps_the_stock_until_it_is_made(till: Till, time: clock.Clock, how: str) -> None:
    held, payment = await paying(till, time)
    till.gateway.stands(payment, PaymentStatus.PROCESSING)
    await to_the_end(till, time, held)
    await asked(till, 2)
    assert (await till.rows.checkout(held.start.ref))["status"] == "held"
    if how == "by its webhook":
        assert await till.webhook(till.capture(held, payment=payment)) is Handed.TO_CHECKOUT
    else:
        till.gateway.stands(payment, PaymentStatus.CAPTURED)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert till.gateway.refunds == {}


async def test_a_payment_on_its_way_that_fails_frees_the_stock_before_the_grace_is_over(
    till: Till, time: clock.Clock
) -> None:
    held, payment = await paying(till, time)
    till.gateway.stands(payment, PaymentStatus.PROCESSING)
    await to_the_end(till, time, held)
    await asked(till, 1)
    till.gateway.stands(payment, PaymentStatus.FAILED)
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    assert till.gateway.status(payment) is PaymentStatus.EXPIRED
    assert await released(till)


async def test_past_its_grace_the_stock_is_free_and_the_payment_has_a_run_of_its_own(
    till: Till, time: clock.Clock
) -> None:
    held, payment = await paying(till, time)
    till.gateway.stands(payment, PaymentStatus.PROCESSING)
    await to_the_end(till, time, held)
    await asked(till, 1)
    await time.move(GRACE - SECOND)
    await asked(till, 2)
    assert (await till.rows.checkout(held.start.ref))["status"] == "held"
    await time.move(SECOND)
    await time.move_only(till.handle(held), GRACE)
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    assert await released(till)
    capture = till.capture(held, payment=payment)
    await till.webhook(capture)
    result = await till.late_result(capture)
    assert (result.ruling, result.reason) == (Ruling.REFUND, "late")  # As this shop wants it.


async def test_a_gateway_that_is_down_holds_the_stock_for_the_grace_and_no_longer(
    till: Till, time: clock.Clock
) -> None:
    held, payment = await paying(till, time)
    till.gateway.down = True
    await to_the_end(till, time, held)
    await asked(till, 2)
    assert (await till.rows.checkout(held.start.ref))["status"] == "held"
    await time.move(GRACE)
    await eventually(lambda: released(till))
    till.gateway.down = False
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    assert till.gateway.status(payment) is PaymentStatus.EXPIRED, "asked again after the end"


async def test_a_gateway_that_stays_down_does_not_keep_the_run(till: Till, time: clock.Clock) -> None:
    held, payment = await paying(till, time)
    till.gateway.down = True
    await to_the_end(till, time, held)
    await asked(till, 1)
    await time.move(GRACE)
    await eventually(lambda: released(till))
    await time.move_only(till.handle(held), timedelta(minutes=2))
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    till.gateway.down = False
    await till.webhook(capture := till.capture(held, payment=payment))
    assert (await till.late_result(capture)).ruling is Ruling.REFUND


async def test_a_start_of_which_nobody_knows_is_resolved_before_the_stock_is_free(
    till: Till, time: clock.Clock
) -> None:
    held = await till.start()
    till.gateway.down = True
    with pytest.raises(Exception, match="not answer"):
        await till.start_payment(held)
    till.gateway.down = False
    await time.move(timedelta(minutes=15), till.handle(held))
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    assert [one.status for one in till.gateway.payments.values()] == [PaymentStatus.EXPIRED]


@pytest.mark.parametrize("end", ["cancel", "temporal", "lines"])
async def test_a_cancel_waits_for_no_gateway_and_ends_the_open_payment_afterwards(till: Till, end: str) -> None:
    held = await till.start()
    payment = await till.start_payment(held)
    till.gateway.answering.clear()
    if end == "cancel":
        assert (await till.cancel(held)).answer is Answer.DONE
    elif end == "temporal":
        await till.handle(held).cancel()
    else:
        line = await till.rows.value("SELECT id FROM checkout_lines")
        assert (await till.lines(held, remove=line)).answer is Answer.DONE
    await eventually(lambda: released(till))
    assert await till.is_open(held)
    till.gateway.answering.set()
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED
    assert till.gateway.status(payment) is PaymentStatus.EXPIRED


async def test_a_buyer_who_was_quicker_than_his_cancel_has_an_order_or_his_money_back(till: Till) -> None:
    held = await till.start()
    payment = await till.start_payment(held)
    till.gateway.stands(payment, PaymentStatus.CAPTURED)
    await till.cancel(held)
    await till.result(held)
    result = await till.late_result(till.capture(held, payment=payment))
    assert result.ruling in (Ruling.ORDER, Ruling.REFUND)


async def test_of_two_payments_the_one_that_was_not_made_is_ended_after_the_other_made_the_order(till: Till) -> None:
    held = await till.start()
    first, second = await till.start_payment(held), await till.start_payment(held)
    await till.webhook(till.capture(held, payment=second))
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert till.gateway.status(first) is PaymentStatus.EXPIRED
    assert till.faults.seen["close_payments"] == 1


async def test_a_second_payment_that_was_on_its_way_goes_back_when_it_is_made(till: Till, time: clock.Clock) -> None:
    held = await till.start()
    first, second = await till.start_payment(held), await till.start_payment(held)
    till.gateway.stands(first, PaymentStatus.PROCESSING)
    await till.webhook(till.capture(held, payment=second))
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    capture = till.capture(held, payment=first)
    await time.move_only(till.late_handle(capture), timedelta(minutes=2))
    result = await till.late_result(capture)
    assert (result.ruling, result.reason) == (Ruling.REFUND, "second_payment")


async def test_a_checkout_whose_only_payment_made_the_order_asks_nobody(till: Till) -> None:
    held = await till.start()
    await till.webhook(till.capture(held, payment=await till.start_payment(held)))
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert till.faults.seen["close_payments"] == 0


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.twice, PaymentStatus.CAPTURED),
        (faults.overlapping, PaymentStatus.CAPTURED),
        (faults.lost_once, PaymentStatus.CAPTURED),
        (faults.lost_once, PaymentStatus.CREATED),
    ],
)
async def test_a_question_that_is_asked_twice_or_whose_answer_is_lost_changes_nothing(
    till: Till, time: clock.Clock, fault: faults.Fault, status: PaymentStatus
) -> None:
    till.faults.plan["close_payments"] = fault
    held, payment = await paying(till, time)
    till.gateway.stands(payment, status)
    await to_the_end(till, time, held)
    captured = status is PaymentStatus.CAPTURED
    assert (await till.result(held)).status is (CheckoutStatus.CONFIRMED if captured else CheckoutStatus.EXPIRED)
    assert await till.rows.value("SELECT count(*) FROM orders") == captured


async def test_a_webhook_that_comes_while_the_gateway_is_being_asked_is_not_kept_waiting(
    till: Till, time: clock.Clock
) -> None:
    held, payment = await paying(till, time)
    till.gateway.answering.clear()
    await to_the_end(till, time, held)
    await asked(till, 1)
    await till.webhook(till.capture(held, payment=payment))
    await eventually(lambda: till.rows.value("SELECT count(*) FROM orders"))
    till.gateway.answering.set()
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert till.gateway.refunds == {}


async def test_what_a_buyer_asks_during_the_grace_is_answered_and_ends_nothing(till: Till, time: clock.Clock) -> None:
    held, payment = await paying(till, time)
    till.gateway.stands(payment, PaymentStatus.PROCESSING)
    await to_the_end(till, time, held)
    await asked(till, 1)
    assert (await till.extend(held)).answer is Answer.OVER
    assert (await till.lines(held, Line(till.products[0], 1))).answer is Answer.OVER
    await till.webhook(till.capture(held, payment=payment))
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED


async def test_a_buyer_may_cancel_during_the_grace(till: Till, time: clock.Clock) -> None:
    held, payment = await paying(till, time)
    till.gateway.stands(payment, PaymentStatus.PROCESSING)
    await to_the_end(till, time, held)
    await asked(till, 1)
    assert (await till.cancel(held)).answer is Answer.DONE
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED
    assert await released(till)
    till.gateway.stands(payment, PaymentStatus.FAILED)


async def test_wrong_money_found_at_the_end_goes_back_and_the_hold_ends(till: Till, time: clock.Clock) -> None:
    held, payment = await paying(till, time)
    wrong = till.capture(held, payment=payment, amount=1)
    await to_the_end(till, time, held)
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    result = await till.late_result(wrong)
    assert (result.ruling, result.reason) == (Ruling.REFUND, "wrong_amount")
    assert await released(till)


async def test_the_same_news_of_a_start_many_times_and_after_the_end_change_nothing(till: Till) -> None:
    held = await till.start()
    payment = await till.start_payment(held)
    capture = till.capture(held, payment=payment)
    await asyncio.gather(*(till.webhook(capture, PaymentStatus.CREATED) for _ in range(4)))
    rows: Rows = till.rows
    assert await rows.value("SELECT count(*) FROM checkout_extensions") == 1
    till.gateway.stands(payment, PaymentStatus.CREATED)
    await till.cancel(held)
    await till.result(held)
    assert await till.webhook(capture, PaymentStatus.CREATED) is Handed.NOTHING_TO_DO
    assert (await rows.checkout(held.start.ref))["status"] == "cancelled"
