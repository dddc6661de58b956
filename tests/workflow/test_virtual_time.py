"""The 15 minutes of a hold, in virtual time: real PostgreSQL, real Temporal, and both their clocks moved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from activities.delivery import Handed
from domain.checkout import CheckoutStatus
from domain.gateway import PaymentStatus
from domain.messages import Answer, Line, Ruling
from tests.support import clock
from tests.support.checkouts import Rows
from tests.support.till import Held, Till, a_till
from tests.support.waiting import eventually

MINUTE, SECOND, TICK = timedelta(minutes=1), timedelta(seconds=1), timedelta(microseconds=1)
HOLD = 15 * MINUTE


@pytest.fixture
async def till(database_url: str, temporal_address: str, temporal_namespace: str) -> AsyncIterator[Till]:
    """A shop whose database has a clock that stands still."""
    await clock.install(database_url)
    async with a_till(database_url, temporal_address, temporal_namespace) as till:
        yield till


@pytest.fixture
async def time(till: Till) -> clock.Clock:
    return clock.Clock(till.rows, till.client)


async def hold(till: Till) -> Held:
    held = await till.start()
    row = await till.rows.checkout(held.start.ref)
    assert (row["expires_at"] - row["held_at"], held.started.remaining_ms) == (HOLD, 900_000)
    return held


async def test_the_database_itself_is_on_the_virtual_clock(till: Till, time: clock.Clock) -> None:
    before = await time.now()
    await time.move(HOLD)
    [[row]] = await till.db.run(till.tenant, ("SELECT clock_timestamp() AS now", {}))
    assert row["now"] - before == HOLD


@pytest.mark.parametrize("before_the_end", [MINUTE, SECOND, TICK])
async def test_a_payment_before_the_end_is_confirmed(till: Till, time: clock.Clock, before_the_end: timedelta) -> None:
    held = await hold(till)
    await time.move(HOLD - before_the_end, till.handle(held))
    assert (await till.rows.checkout(held.start.ref))["status"] == "held"
    capture = till.capture(held)
    assert await till.webhook(capture) is Handed.TO_CHECKOUT
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED
    assert await till.rows.stock(till.tenant, till.products[0]) == (99, 0, 1)
    assert till.gateway.refunds == {}


@pytest.mark.parametrize("after_the_end", [timedelta(0), TICK, SECOND, MINUTE])
async def test_a_payment_at_or_after_the_end_is_given_back(
    till: Till, time: clock.Clock, after_the_end: timedelta
) -> None:
    held = await hold(till)
    await time.move(HOLD + after_the_end, till.handle(held))
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    capture = till.capture(held)
    assert await till.webhook(capture) is Handed.TO_LATE_PAYMENT
    result = await till.late_result(capture)
    assert (result.ruling, result.reason) == (Ruling.REFUND, "late")
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)
    assert len(till.gateway.refunds) == 1


async def test_a_run_whose_timer_is_early_by_the_rows_clock_waits_on(till: Till, time: clock.Clock) -> None:
    held = await hold(till)
    await time.move_only(till.handle(held), HOLD + MINUTE)
    assert (await till.rows.checkout(held.start.ref))["status"] == "held"
    assert await till.is_open(held)
    await till.pay(held)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED


async def test_a_run_whose_timer_is_late_lets_a_payment_in_time_win(till: Till, time: clock.Clock) -> None:
    held = await hold(till)
    await time.move(HOLD - SECOND)
    capture = till.capture(held)
    await till.webhook(capture)
    await time.move(MINUTE)
    assert (await till.result(held)).status is CheckoutStatus.CONFIRMED


@pytest.mark.parametrize("before_the_end", [MINUTE, SECOND, TICK])
async def test_a_line_added_before_the_end_moves_it(till: Till, time: clock.Clock, before_the_end: timedelta) -> None:
    held = await hold(till)
    await time.move(HOLD - before_the_end, till.handle(held))
    assert (await till.lines(held, Line(till.products[0], 1))).answer is Answer.DONE
    row = await till.rows.checkout(held.start.ref)
    assert row["expires_at"] - row["held_at"] == 2 * HOLD - before_the_end
    await time.move(HOLD, till.handle(held))
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    assert await till.rows.stock(till.tenant, till.products[0]) == (100, 0, 0)


@pytest.mark.parametrize("after_the_end", [timedelta(0), TICK, SECOND])
async def test_a_line_at_or_after_the_end_is_over_though_the_run_has_not_noticed(
    till: Till, time: clock.Clock, after_the_end: timedelta
) -> None:
    held = await hold(till)
    await time.move(HOLD + after_the_end)
    assert (await till.lines(held, Line(till.products[0], 1))).answer is Answer.OVER
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED


@pytest.mark.parametrize(("until_the_end", "extensions"), [(TICK, 1), (timedelta(0), 0), (-TICK, 0)])
async def test_a_payment_that_starts_before_the_end_extends_the_hold(
    till: Till, time: clock.Clock, until_the_end: timedelta, extensions: int
) -> None:
    held = await hold(till)
    await time.move(HOLD - until_the_end)
    assert await till.webhook(till.capture(held), PaymentStatus.CREATED) is Handed.TO_CHECKOUT
    if not extensions:
        assert (await till.result(held)).status is CheckoutStatus.EXPIRED
    else:
        await eventually(lambda: till.rows.value("SELECT count(*) FROM checkout_extensions"))
        assert (await till.cancel(held)).answer is Answer.DONE
    assert await till.rows.value("SELECT count(*) FROM checkout_extensions") == extensions


async def test_extensions_carry_a_hold_to_its_hour_and_no_further(till: Till, time: clock.Clock) -> None:
    held = await hold(till)
    rows: Rows = till.rows
    for number in range(5):
        await time.move(12 * MINUTE - SECOND, till.handle(held))
        assert (await till.extend(held, f"e{number}")).answer is Answer.DONE
    row = await rows.checkout(held.start.ref)
    assert row["expires_at"] - row["held_at"] == 60 * MINUTE
    assert await rows.value("SELECT count(*) FROM checkout_extensions WHERE new_end = previous_end") == 1
    await time.move(5 * SECOND, till.handle(held))
    assert (await till.result(held)).status is CheckoutStatus.EXPIRED
