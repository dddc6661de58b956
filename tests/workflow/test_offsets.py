"""Payments that arrive at 20 moments of a release, a confirm and an extension: none that was acknowledged is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from domain.checkout import CheckoutStatus
from domain.ids import CheckoutId
from domain.messages import Capture
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


async def one(till: Till, offset: float, step: Callable[[Till, Held], Awaitable[None]]) -> tuple[Held, Capture]:
    """A checkout in which the step begins, and `offset` seconds later a payment arrives."""
    held = await till.start()
    stepping = asyncio.create_task(asyncio.wait_for(step(till, held), 20))
    await asyncio.sleep(offset)
    capture = await till.pay(held)
    await asyncio.gather(stepping, return_exceptions=True)
    return held, capture


@pytest.mark.parametrize("step", [release, temporal_cancel, confirm, extend])
async def test_every_payment_has_one_outcome(till: Till, step: Callable[[Till, Held], Awaitable[None]]) -> None:
    till.faults.plan |= {"settle": slow(0.1, 0.1), "extend": slow(0.1, 0.1)}
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
