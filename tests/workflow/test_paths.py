"""Every way that a checkout's run can go, on the real server."""

from __future__ import annotations

import asyncio
import time

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities.delivery import Handed
from db.inbox import record_event
from domain.checkout import CheckoutStatus
from domain.gateway import PaymentStatus
from domain.ids import checkout_id_for
from domain.messages import Answer, Ruling
from domain.naming import checkout_workflow_id
from tests.support.checkouts import BUYER, again, an_event
from tests.support.faults import slow
from tests.support.till import Till
from tests.support.waiting import eventually


async def test_a_webhook_confirms_with_no_client_present(till: Till) -> None:
    held = await till.start()
    assert held.started.status is CheckoutStatus.HELD
    capture = await till.pay(held)
    result = await till.result(held)
    assert result.status is CheckoutStatus.CONFIRMED
    assert result.order_id is not None
    assert await till.rows.stock(till.tenant, till.products[0]) == (99, 0, 1)
    outcome = await till.rows.outcome(capture)
    assert outcome is not None
    assert str(outcome["order_id"]) == result.order_id


async def test_the_storefronts_confirm_with_a_known_payment_asks_no_gateway(till: Till) -> None:
    held = await till.start()
    answered = await till.confirm(held, till.capture(held), known=True)
    assert (answered.answer, answered.status) == (Answer.DONE, CheckoutStatus.CONFIRMED)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert till.gateway.asked == 0


async def test_the_storefronts_confirm_asks_the_gateway(till: Till) -> None:
    held = await till.start()
    assert (await till.confirm(held, till.capture(held))).answer is Answer.DONE
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert till.gateway.asked == 1


@pytest.mark.parametrize("status", [PaymentStatus.CREATED, PaymentStatus.FAILED, PaymentStatus.REFUNDED])
async def test_a_confirm_whose_payment_is_not_captured_keeps_the_hold(till: Till, status: PaymentStatus) -> None:
    held = await till.start()
    capture = till.capture(held)
    till.gateway.has(capture, till.tenant, status)
    answered = await till.confirm(held, capture)
    assert (answered.answer, answered.status) == (Answer.NOT_CAPTURED, CheckoutStatus.HELD)
    assert answered.payment_status == status.value
    await till.cancel(held)


async def test_a_confirm_whose_payment_the_gateway_does_not_know_or_has_for_another_tenant_keeps_the_hold(
    till: Till,
) -> None:
    held = await till.start()
    capture = till.capture(held)
    till.gateway.has(capture, "another-tenant")
    assert (await till.confirm(held, capture)).answer is Answer.NOT_CAPTURED
    till.gateway.payments.clear()
    answered = await till.confirm(held, capture)
    assert (answered.answer, answered.payment_status) == (Answer.NOT_CAPTURED, "not_found")
    await till.cancel(held)


async def test_a_confirm_with_anothers_payment_is_a_mismatch_and_that_payment_stays_the_others(till: Till) -> None:
    mine, others = await till.start(), await till.start()
    capture = till.capture(others)
    assert (await till.confirm(mine, capture)).answer is Answer.MISMATCH
    assert await till.rows.outcome(capture) is None
    assert (await till.confirm(others, capture)).answer is Answer.DONE
    await till.cancel(mine)


async def test_a_webhook_and_a_confirm_at_once_are_one_confirmation(till: Till) -> None:
    held = await till.start()
    capture = till.capture(held)
    answered, _ = await asyncio.gather(till.confirm(held, capture), till.webhook(capture))
    assert answered.status is CheckoutStatus.CONFIRMED
    await till.result(held)
    assert await till.rows.value("SELECT count(*) FROM orders") == 1
    assert till.gateway.refunds == {}


async def test_a_cancel_gives_the_stock_back_at_once(till: Till) -> None:
    held = await till.start()
    answered = await till.cancel(held)
    assert (answered.answer, answered.status) == (Answer.DONE, CheckoutStatus.CANCELLED)
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED


async def test_an_expired_hold_gives_the_stock_back_with_no_client_present(quick_till: Till) -> None:
    held = await quick_till.start()
    assert (await quick_till.result(held)).status is CheckoutStatus.EXPIRED
    assert await quick_till.rows.stock(quick_till.tenant, quick_till.products[0]) == (100, 0, 0)
    ended = await quick_till.rows.checkout(held.start.ref)
    assert ended["ended_at"] >= ended["expires_at"]


async def test_an_extension_moves_the_end_that_the_run_waits_for(quick_till: Till) -> None:
    held = await quick_till.start()
    await asyncio.sleep(1)
    answered = await quick_till.extend(held)
    assert (answered.answer, answered.status) == (Answer.DONE, CheckoutStatus.HELD)
    await quick_till.result(held)
    row = await quick_till.rows.checkout(held.start.ref)
    assert row["status"] == "expired"
    assert 3 <= (row["ended_at"] - row["held_at"]).total_seconds() < 5


async def test_five_declines_do_not_prolong_the_hold(quick_till: Till) -> None:
    held = await quick_till.start()
    for _ in range(5):
        capture = quick_till.capture(held)
        assert await quick_till.webhook(capture, PaymentStatus.FAILED) is Handed.TO_CHECKOUT
        await asyncio.sleep(0.3)
    assert (await quick_till.result(held)).status is CheckoutStatus.EXPIRED
    row = await quick_till.rows.checkout(held.start.ref)
    assert (row["expires_at"] - row["held_at"]).total_seconds() == 2
    assert 2 <= (row["ended_at"] - row["held_at"]).total_seconds() < 3.5


async def test_a_declined_payment_keeps_the_hold_and_the_next_one_confirms(till: Till) -> None:
    held = await till.start()
    capture = till.capture(held)
    await till.webhook(capture, PaymentStatus.FAILED)
    await till.webhook(capture)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED


async def test_a_refusal_is_an_answer_and_a_run_that_ends_well(till: Till) -> None:
    await till.admin.execute("UPDATE stock_items SET total = 0")
    held = await till.start()
    assert held.started.status is CheckoutStatus.REFUSED
    assert (await till.result(held)).status is CheckoutStatus.REFUSED


async def test_a_start_reached_after_its_deadline_may_be_tried_again_under_the_same_id(till: Till) -> None:
    late = await till.start(patience=-1)
    assert late.started.status is CheckoutStatus.NEW
    assert (await till.result(late)).status is CheckoutStatus.NEW
    held = await till.start(again(late.start))
    assert held.started.status is CheckoutStatus.HELD
    await till.cancel(held)


async def test_a_repeated_start_is_one_hold_while_it_runs_and_after_its_end(till: Till) -> None:
    held = await till.start()
    repeats = await asyncio.gather(*(till.start(again(held.start)) for _ in range(8)))
    assert {repeat.started.status for repeat in repeats} == {CheckoutStatus.HELD}
    await till.cancel(held)
    await till.result(held)
    await till.start(again(held.start))  # Answered from the ended run's history, which still says "held".
    assert (await till.rows.checkout(held.start.ref))["status"] == "cancelled"
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)
    assert await till.rows.value("SELECT count(*) FROM checkouts") == 1


@pytest.mark.parametrize("ended_by", ["cancel", "expiry"])
async def test_a_payment_for_an_ended_checkout_is_given_back_in_its_own_run(quick_till: Till, ended_by: str) -> None:
    till = quick_till
    held = await till.start()
    if ended_by == "cancel":
        await till.cancel(held)
    await till.result(held)
    capture = till.capture(held)
    assert await till.webhook(capture) is Handed.TO_LATE_PAYMENT
    result = await till.late_result(capture)
    assert (result.ruling, result.reason) == (Ruling.REFUND, "late")
    assert [refund.refund_id for refund in till.gateway.refunds.values()] == [result.refund_id]


async def test_of_two_payments_the_first_counts_and_the_other_is_given_back(till: Till) -> None:
    held = await till.start()
    first, second = till.capture(held), till.capture(held)
    await asyncio.gather(till.webhook(first), till.webhook(second))
    result = await till.result(held)
    assert result.status is CheckoutStatus.CONFIRMED
    outcomes = [await till.rows.outcome(capture) for capture in (first, second)]
    pairs = zip((first, second), outcomes, strict=True)
    refunded = [capture for capture, outcome in pairs if outcome and outcome["kind"] == "refund"]
    assert len(refunded) == 1
    assert (await till.late_result(refunded[0])).reason == "second_payment"
    assert len(till.gateway.refunds) == 1


@pytest.mark.parametrize("change", [{"amount": 999}, {"currency": "USD"}])
async def test_wrong_money_is_given_back_and_the_hold_can_still_be_paid(till: Till, change: dict[str, object]) -> None:
    held = await till.start()
    wrong = await till.pay(held, **change)
    assert (await till.late_result(wrong)).ruling is Ruling.REFUND
    outcome = await till.rows.outcome(wrong)
    assert outcome is not None
    assert outcome["quarantined"]
    await till.pay(held)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED


async def test_a_confirm_with_the_wrong_amount_is_a_mismatch_and_the_hold_stays(till: Till) -> None:
    held = await till.start()
    wrong = till.capture(held, amount=1)
    answered = await till.confirm(held, wrong)
    assert (answered.answer, answered.status) == (Answer.MISMATCH, CheckoutStatus.HELD)
    assert (await till.late_result(wrong)).ruling is Ruling.REFUND
    await till.cancel(held)


async def test_temporals_cancel_cancels_the_checkout(till: Till) -> None:
    held = await till.start()
    await till.handle(held).cancel()
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.25])
async def test_temporals_cancel_during_a_confirm_does_not_undo_it(till: Till, delay: float) -> None:
    till.faults.plan["settle"] = slow(0.1, 0.1)
    held = await till.start()
    await till.pay(held)
    await asyncio.sleep(delay)
    await till.handle(held).cancel()
    result = await till.result(held)
    row = await till.rows.checkout(held.start.ref)
    assert row["status"] == result.status
    assert result.status in (CheckoutStatus.CONFIRMED, CheckoutStatus.CANCELLED)
    assert result.status is CheckoutStatus.CONFIRMED or delay == 0


async def test_temporals_cancel_during_the_reserve_leaves_nothing_held(till: Till) -> None:
    till.faults.plan["reserve"] = slow(0.2, 0.2)
    starting = asyncio.create_task(till.start(key="the-one"))
    await eventually(lambda: _is_in(till, "reserve"))
    workflow_id = checkout_workflow_id(till.tenant, checkout_id_for(till.tenant, BUYER, "the-one"))
    await till.client.get_workflow_handle(workflow_id).cancel()
    held = await starting
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)


async def _is_in(till: Till, name: str) -> bool:
    return till.faults.seen[name] > 0


async def test_requests_to_an_ended_run_are_refused_as_not_found(till: Till) -> None:
    held = await till.start()
    await till.cancel(held)
    await till.result(held)
    for ask in (till.extend(held), till.cancel(held), till.confirm(held, till.capture(held), known=True)):
        with pytest.raises((RPCError, WorkflowUpdateFailedError)):
            await ask


async def test_requests_that_meet_the_end_are_all_answered(till: Till) -> None:
    till.faults.plan["settle"] = slow(0.1, 0.1)
    held = await till.start()
    asked = [till.cancel(held), till.extend(held, "e1"), till.cancel(held), till.extend(held, "e2")]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [answer.answer for answer in answers if not isinstance(answer, BaseException)].count(Answer.DONE) >= 1
    for answer in answers:
        if isinstance(answer, BaseException):
            assert isinstance(answer, (WorkflowUpdateFailedError, RPCError))
        else:
            assert answer.answer in (Answer.DONE, Answer.OVER)
    assert (await till.result(held)).status is CheckoutStatus.CANCELLED


async def test_the_same_extension_asked_eight_times_at_once_is_one(till: Till) -> None:
    held = await till.start()
    answers = await asyncio.gather(*(till.extend(held, "the-same-key") for _ in range(8)))
    assert {answer.answer for answer in answers} == {Answer.DONE}
    assert await till.rows.value("SELECT count(*) FROM checkout_extensions") == 1
    await till.cancel(held)


async def test_a_payment_in_hand_at_the_end_is_sold_though_its_signal_never_came(quick_till: Till) -> None:
    held = await quick_till.start()
    await record_event(quick_till.db, quick_till.tenant, an_event(quick_till.capture(held)), b"{}")
    assert (await quick_till.result(held)).status is CheckoutStatus.CONFIRMED


async def test_the_end_waits_for_a_gateway_that_is_being_asked(quick_till: Till) -> None:
    held = await quick_till.start()
    capture = quick_till.capture(held)
    quick_till.gateway.answering.clear()
    confirming = asyncio.create_task(quick_till.confirm(held, capture))
    await asyncio.sleep(2.5)
    assert (await quick_till.rows.checkout(held.start.ref))["status"] == "held"
    quick_till.gateway.answering.set()
    assert (await confirming).answer is Answer.DONE
    assert (await quick_till.result(held)).status is CheckoutStatus.CONFIRMED


async def test_a_gateway_that_is_down_leaves_the_hold_and_the_buyer_hears_so(till: Till) -> None:
    till.gateway.down = True
    held = await till.start()
    began = time.monotonic()
    answered = await till.confirm(held, till.capture(held))
    assert (answered.answer, answered.unknown) == (Answer.NOT_CAPTURED, True)
    assert time.monotonic() - began < 5
    await till.cancel(held)


async def test_a_refund_is_asked_for_until_the_gateway_makes_it_once(till: Till) -> None:
    till.gateway.refuses_refunds = True
    held = await till.start()
    await till.cancel(held)
    await till.result(held)
    capture = await till.pay(held)
    await eventually(lambda: _refund_was_tried(till, 2))
    outcome = await till.rows.outcome(capture)
    assert outcome is not None
    assert outcome["refund_status"] == "intended"
    till.gateway.refuses_refunds = False
    assert (await till.late_result(capture)).ruling is Ruling.REFUND
    assert len(till.gateway.refunds) == 1


async def _refund_was_tried(till: Till, times: int) -> bool:
    return till.faults.seen["refund_payment"] >= times
