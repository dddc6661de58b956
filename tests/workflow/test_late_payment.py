"""A late payment's own run: it waits for money on its way, ends by a webhook, gives back what no checkout takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from domain.gateway import PaymentStatus
from domain.messages import Capture, Ruling
from domain.payment_messages import LatePayment, LatePaymentResult
from tests.support import clock
from tests.support.till import Held, Till, a_till
from tests.support.waiting import eventually

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
Run = WorkflowHandle[Any, LatePaymentResult]


@pytest.fixture
async def till(database_url: str, temporal_address: str, temporal_namespace: str) -> AsyncIterator[Till]:
    """A shop that holds late payments' things again, with a clock that stands still."""
    await clock.install(database_url)
    async with a_till(database_url, temporal_address, temporal_namespace, late_payments="reserve") as till:
        yield till


@pytest.fixture
async def time(till: Till) -> clock.Clock:
    return clock.Clock(till.rows, till.client)


async def cancelled(till: Till) -> tuple[Held, Capture]:
    """A checkout that its buyer has cancelled, and a payment for it."""
    held = await till.start()
    await till.cancel(held)
    await till.result(held)
    return held, till.capture(held)


async def asked_about(till: Till, held: Held, capture: Capture) -> Run:
    """The payment's run, begun without evidence."""
    await till.delivery.start_late_payment(
        LatePayment(till.tenant, capture.gateway, capture.payment_id, capture.received_at, held.id)
    )
    return till.late_handle(capture)


async def asked(till: Till, times: int) -> None:
    async def so_often() -> bool:
        return till.gateway.asked >= times

    await eventually(so_often)
    assert till.gateway.asked == times


async def test_a_payment_on_its_way_is_asked_about_with_growing_pauses_until_it_is_captured(
    till: Till, time: clock.Clock
) -> None:
    held, capture = await cancelled(till)
    till.gateway.has(capture, till.tenant, PaymentStatus.PROCESSING)
    run = await asked_about(till, held, capture)
    await asked(till, 1)
    for number, pause in enumerate((1, 2, 4, 8), 2):
        await time.move(pause * MINUTE, run)
        await asked(till, number)
    till.gateway.has(capture, till.tenant)
    await time.move(16 * MINUTE, run)
    assert (await run.result()).ruling is Ruling.ORDER
    assert await till.rows.stock(till.tenant, till.products[0]) == (99, 0, 1)


async def test_a_webhook_ends_the_wait_at_once(till: Till) -> None:
    held, capture = await cancelled(till)
    till.gateway.has(capture, till.tenant, PaymentStatus.PROCESSING)
    run = await asked_about(till, held, capture)
    await asked(till, 1)
    till.gateway.has(capture, till.tenant)
    await till.webhook(capture)
    assert (await run.result()).ruling is Ruling.ORDER
    assert till.gateway.asked == 1


async def test_a_webhook_that_comes_while_the_gateway_is_asked_is_heard(till: Till) -> None:
    held, capture = await cancelled(till)
    till.gateway.has(capture, till.tenant, PaymentStatus.CREATED)
    till.gateway.answering.clear()
    run = await asked_about(till, held, capture)
    await asked(till, 1)
    await till.webhook(capture)
    till.gateway.answering.set()
    assert (await run.result()).ruling is Ruling.ORDER


async def test_a_payment_that_is_never_captured_is_given_up_after_three_days(till: Till, time: clock.Clock) -> None:
    held, capture = await cancelled(till)
    capture = replace(capture, received_at=datetime.now(UTC) - 72 * HOUR + 2 * MINUTE)
    till.gateway.has(capture, till.tenant, PaymentStatus.PROCESSING)
    run = await asked_about(till, held, capture)
    await asked(till, 1)
    for number, pause in enumerate((1, 2), 2):
        await time.move(pause * MINUTE, run)
        await asked(till, number)
    assert (await run.result()).ruling is Ruling.NONE
    assert await till.rows.all("SELECT * FROM payment_outcomes") == []


@pytest.mark.parametrize("status", [PaymentStatus.CREATED, PaymentStatus.FAILED, PaymentStatus.EXPIRED, None])
async def test_a_payment_that_nobody_is_making_is_not_waited_for(till: Till, status: PaymentStatus | None) -> None:
    held, capture = await cancelled(till)
    if status is not None:
        till.gateway.has(capture, till.tenant, status)
    else:
        del till.gateway.payments[capture.payment_id]
    run = await asked_about(till, held, capture)
    assert (await run.result()).ruling is Ruling.NONE


async def test_a_capture_told_twice_makes_one_order(till: Till) -> None:
    _, capture = await cancelled(till)
    till.gateway.has(capture, till.tenant)
    for _ in range(3):
        await till.webhook(capture)
    assert (await till.late_result(capture)).ruling is Ruling.ORDER
    assert await till.rows.value("SELECT count(*) FROM orders") == 1
    assert till.gateway.refunds == {}
