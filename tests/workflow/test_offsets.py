"""Payments that arrive at 20 moments of a release, a confirm and an extension: none that was acknowledged is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from domain.checkout import CheckoutStatus
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId
from domain.messages import Answer, Capture, Line
from tests.support.faults import slow
from tests.support.till import Held, Till
from tests.support.waiting import eventually

OFFSETS = [number * 0.02 for number in range(20)]
"""Seconds; the slowed step takes 0.2 of the 0.4."""


async def release(till: Till, held: Held) -> None:
    await till.cancel(held)


async def temporal_cancel(till: Till, held: Held) -> None:
    await till.handle(held).cancel()


async def confirm(till: Till, held: Held) -> None:
    await till.confirm(held, till.capture(held), known=True)


async def extend(till: Till, held: Held) -> None:
    await till.extend(held)


async def add_a_line(till: Till, held: Held) -> None:
    """Which makes the payment one of a wrong amount, unless that came first: then there is nothing to add to."""
    await till.lines(held, Line(till.products[0], 1))
    await asyncio.sleep(OFFSETS[-1])
    await till.cancel(held)


async def one(till: Till, offset: float, step: Callable[[Till, Held], Awaitable[None]]) -> tuple[Held, Capture]:
    """A checkout in which the step begins, and `offset` seconds later a payment arrives."""
    held = await till.start()
    stepping = asyncio.create_task(asyncio.wait_for(step(till, held), 20))
    await asyncio.sleep(offset)
    capture = await till.pay(held)
    await asyncio.gather(stepping, return_exceptions=True)
    return held, capture


@pytest.mark.parametrize("step", [release, temporal_cancel, confirm, extend, add_a_line])
async def test_every_payment_has_one_outcome(till: Till, step: Callable[[Till, Held], Awaitable[None]]) -> None:
    till.faults.plan |= dict.fromkeys(("settle", "extend", "change_lines"), slow(0.1, 0.1))
    done = await asyncio.gather(*(one(till, offset, step) for offset in OFFSETS))
    await check_outcomes(till, done, step.__name__)


async def test_every_payment_around_the_end_has_one_outcome(quick_till: Till) -> None:
    quick_till.faults.plan["settle"] = slow(0.1, 0.1)

    async def wait_for_the_end(till: Till, held: Held) -> None:
        await till.result(held)

    done = await asyncio.gather(*(one(quick_till, 1.7 + offset, wait_for_the_end) for offset in OFFSETS))
    ended = await check_outcomes(quick_till, done, "the end")
    assert set(ended) == {"confirmed", "expired"}


async def check_outcomes(till: Till, done: list[tuple[Held, Capture]], what: str) -> Counter[str]:
    """Each run has ended as its row says; each payment became the order or goes back, and was given back."""
    ended: Counter[str] = Counter()
    for held, capture in done:
        result = await till.result(held)
        assert result.status.value == (await till.rows.checkout(held.start.ref))["status"]
        assert result.status is not CheckoutStatus.HELD
        ended[result.status.value] += 1
        await eventually(lambda capture=capture: till.rows.outcome(capture))  # type: ignore[misc]
        outcome = await till.rows.outcome(capture)
        assert outcome is not None
        if outcome["kind"] == "refund":
            await till.late_result(capture)
        else:
            assert CheckoutId(str(outcome["checkout_id"])) == held.id
    print(what, dict(ended))
    events = await till.rows.value("SELECT count(*) FROM payment_events WHERE state = 'settled'")
    assert events == len(done)
    return ended


async def extended_at(till: Till, offset: float) -> tuple[Held, bool]:
    answered = await till.extend(held := await after(till, offset))
    return held, answered.answer is Answer.DONE


async def line_added_at(till: Till, offset: float) -> tuple[Held, bool]:
    answered = await till.lines(held := await after(till, offset), Line(till.products[0], 1))
    return held, answered.answer is Answer.DONE


async def payment_started_at(till: Till, offset: float) -> tuple[Held, bool]:
    await till.webhook(till.capture(held := await after(till, offset)), PaymentStatus.CREATED)
    await till.result(held)
    made = "SELECT count(*) FROM checkout_extensions WHERE checkout_id = %s"
    return held, bool(await till.rows.value(made, held.id))


async def after(till: Till, offset: float) -> Held:
    """A hold of 2 seconds that began `offset` seconds ago."""
    held = await till.start()
    await asyncio.sleep(offset)
    return held


@pytest.mark.parametrize("move", [extended_at, line_added_at, payment_started_at])
async def test_what_moves_the_end_has_moved_it_or_came_too_late(
    quick_till: Till, move: Callable[[Till, float], Awaitable[tuple[Held, bool]]]
) -> None:
    """The row decides: at each of 20 moments around the end it was moved in time, or the hold expired at its end.

    From a second before it, which even a busy machine keeps; tests/database/test_extend.py goes by the millisecond.
    """

    async def one_move(offset: float) -> bool:
        try:
            held, moved = await move(quick_till, 1.0 + 3 * offset)
        except (WorkflowUpdateFailedError, RPCError):
            return False
        assert (await quick_till.result(held)).status is CheckoutStatus.EXPIRED
        row = await quick_till.rows.checkout(held.start.ref)
        assert (row["expires_at"] - row["held_at"] > timedelta(seconds=2)) == moved
        assert row["ended_at"] >= row["expires_at"]
        return moved

    moves = await asyncio.gather(*map(one_move, OFFSETS))
    print(move.__name__, moves)
    assert {True, False} == set(moves)
    assert await quick_till.rows.stock(quick_till.tenant, quick_till.products[0]) == (100, 0, 0)
