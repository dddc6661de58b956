"""The five events of one payment, in each of the 120 orders, at a checkout in each state: the outcome is the right one.

The truth at the gateway is the same each time: declined once, then captured, then given back there by hand. An order
stands when we heard of the capture while nothing had told us of the refund; else there is no order. The money is
counted once in any case.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import permutations

import pytest

from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.errors import Unavailable
from domain.gateway import PaymentStatus
from domain.messages import Capture
from tests.support.checkouts import a_start, again, expire
from tests.support.till import Held, Till
from tests.support.waiting import eventually

EVENTS = (
    PaymentStatus.CREATED,
    PaymentStatus.PROCESSING,
    PaymentStatus.FAILED,
    PaymentStatus.CAPTURED,
    PaymentStatus.REFUNDED,
)
ORDERS = list(permutations(EVENTS))
AT_ONCE = 6


async def begin(till: Till, before: CheckoutStatus) -> Held:
    """A checkout that has come to this state before the payment's first event."""
    held = await started(till)
    if before is CheckoutStatus.CONFIRMED:
        await till.pay(held)
        await till.result(held)
    elif before is CheckoutStatus.CANCELLED:
        await till.cancel(held)
    elif before is CheckoutStatus.EXPIRED:
        await till.end_early(held)
        await settle(till.db, expire(held.start.ref))
        await till.cancel(held)  # So that its run, too, learns that it is over.
    return held


async def started(till: Till) -> Held:
    """A held checkout; the start is sent again while the machine is too busy to answer, as a storefront does."""
    start = a_start(till.tenant, {till.products[0]: 1})
    while True:
        try:
            return await till.start(again(start))
        except Unavailable:
            await asyncio.sleep(0.5)


async def tell(till: Till, held: Held, order: tuple[PaymentStatus, ...]) -> Capture:
    """The events one after the other, each decided before the next is sent."""
    capture = till.capture(held)
    there = till.gateway.payments[capture.payment_id]
    till.gateway.payments[capture.payment_id] = replace(
        there, status=PaymentStatus.REFUNDED, refunded_amount=capture.amount
    )
    for kind in order:
        await till.webhook(capture, kind)
        if kind is PaymentStatus.CAPTURED:
            await eventually(lambda: till.rows.outcome(capture), 30)
    return capture


async def in_order(till: Till, before: CheckoutStatus, order: tuple[PaymentStatus, ...]) -> tuple[str, str | None]:
    """(kind, reason) of the payment's outcome, having looked at everything else."""
    held = await begin(till, before)
    capture = await tell(till, held, order)

    async def at_rest() -> bool:
        outcome = await till.rows.outcome(capture)
        waiting = await till.rows.value(
            "SELECT count(*) FROM payment_events WHERE payment_id = %s AND state <> 'settled'", capture.payment_id
        )
        return outcome is not None and outcome["refund_status"] in (None, "refunded") and waiting == 0

    await eventually(at_rest, 30)
    outcome = await till.rows.outcome(capture)
    assert outcome is not None
    status = CheckoutStatus((await till.rows.checkout(held.start.ref))["status"])
    assert status is (CheckoutStatus.CONFIRMED if outcome["kind"] == "order" else before)
    if status is CheckoutStatus.HELD:
        await till.cancel(held)
    noted = await till.rows.value("SELECT status FROM payments WHERE payment_id = %s", capture.payment_id)
    assert noted in ("captured", "refunded"), "whatever came last, the money had been taken"
    return outcome["kind"], outcome["reason"]


def right(before: CheckoutStatus, order: tuple[PaymentStatus, ...]) -> tuple[str, str | None]:
    """What must become of it: the tenant holds the same again for a late payment."""
    if order.index(PaymentStatus.REFUNDED) < order.index(PaymentStatus.CAPTURED):
        return "refund", "given_back"
    return ("refund", "second_payment") if before is CheckoutStatus.CONFIRMED else ("order", None)


@pytest.mark.parametrize(
    "before",
    [
        CheckoutStatus.HELD,
        *(
            pytest.param(status, marks=pytest.mark.slow)
            for status in (CheckoutStatus.CONFIRMED, CheckoutStatus.CANCELLED, CheckoutStatus.EXPIRED)
        ),
    ],
)
async def test_every_order_of_a_payments_events_ends_right(till: Till, before: CheckoutStatus) -> None:
    await till.admin.execute("UPDATE stock_items SET total = 500")
    await till.admin.execute("UPDATE tenants SET late_payments = 'reserve'")
    places = asyncio.Semaphore(AT_ONCE)

    async def one(order: tuple[PaymentStatus, ...]) -> tuple[str, str | None]:
        async with places:
            return await in_order(till, before, order)

    ended = await asyncio.gather(*map(one, ORDERS))
    wrong = [(order, end) for order, end in zip(ORDERS, ended, strict=True) if end != right(before, order)]
    assert wrong == []
    assert len(set(ORDERS)) == 120
    print(Counter(ended))
    sold = 60 if before is not CheckoutStatus.CONFIRMED else 120
    assert await till.rows.stock(till.tenant, till.products[0]) == (500 - sold, 0, sold)
    assert await till.rows.value("SELECT count(*) FROM orders") == sold
