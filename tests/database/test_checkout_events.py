"""What is told of a checkout: once for each change, in the change's own transaction, and in an order that readers can
go by even when transactions commit in another order than they began."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from db.checkout_events import CheckoutEvent, events_after, read_progress
from db.database import Database, Transaction
from db.extend import extend
from db.fulfilment_steps import begin_step, end_step
from db.inbox import record_event
from db.lines import change_lines
from db.order_documents import keep_tickets
from db.order_refunds import decide_order_refund, order_refund_made
from db.payment_starts import PaymentWish, begin_payment, finish_start
from db.refunds import refund_made, refund_owed
from db.reserve import reserve
from db.settle import settle
from db.telling import tell
from domain.checkout import CheckoutStatus
from domain.checkout_events import CheckoutEventKind
from domain.fulfilment import Step, StepRequest, StepStatus
from domain.gateway import GatewayPayment, PaymentStatus
from domain.ids import ProductId, TenantId, order_id_for
from domain.messages import CheckoutRef, ExtendRequest, Line, StartCheckout
from domain.naming import PAYMENT_STARTED
from tests.support import shop
from tests.support.checkouts import BUYER, SANDBOX, Rows, a_capture, a_start, an_event, cancel, confirm, expire, opened
from tests.support.lines import adding, line_ids, removing
from tests.support.sales import OPERATOR, a_refund, a_sale

SEED = 20261122
TELLERS = 24


@pytest.fixture
async def product(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=1000, price=1000)


@pytest.fixture
async def held(db: Database, tenant: TenantId, product: ProductId) -> StartCheckout:
    start = a_start(tenant, {product: 2})
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return start


async def told(db: Database, ref: CheckoutRef, after: int = 0) -> list[CheckoutEvent]:
    progress = await read_progress(db, ref.tenant, ref.checkout_id, after)
    assert progress is not None
    return progress.events


async def kinds(db: Database, ref: CheckoutRef) -> list[str]:
    """In order; asserts that the numbers are 1, 2, 3…"""
    events = await told(db, ref)
    assert [one.seq for one in events] == list(range(1, len(events) + 1))
    return [one.kind.value for one in events]


async def test_a_hold_is_told_with_its_end_and_what_is_left(db: Database, rows: Rows, held: StartCheckout) -> None:
    [event] = await told(db, held.ref)
    row = await rows.checkout(held.ref)
    assert (event.kind, event.seq, event.at) == (CheckoutEventKind.HELD, 1, row["held_at"])
    assert event.data["total"] == 2000
    assert event.data["expires_at"] == row["expires_at"].isoformat()
    assert event.remaining_seconds is not None
    assert 0 < event.remaining_seconds <= 900


async def test_a_start_that_is_refused_is_told_to_nobody(db: Database, tenant: TenantId, product: ProductId) -> None:
    start = a_start(tenant, {product: 1001})
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    assert await kinds(db, start.ref) == []


async def test_a_paid_checkout_is_told_step_by_step_and_repeats_tell_nothing(
    db: Database, rows: Rows, product: ProductId, held: StartCheckout
) -> None:
    ref = held.ref
    more = adding(ref, Line(product, 3))
    capture = a_capture(ref.checkout_id, 5000)
    for _ in range(2):
        await reserve(db, held)
        await extend(db, ExtendRequest(ref, "k"))
        await extend(db, ExtendRequest(ref, PAYMENT_STARTED))
        await change_lines(db, more)
    start = (await begin_payment(db, PaymentWish(ref, BUYER, "k", "f", SANDBOX))).start
    assert start is not None
    made = GatewayPayment(SANDBOX, capture.payment_id, ref.checkout_id, PaymentStatus.CREATED, 5000, "COP", 0, None)
    declined = an_event(capture, kind=PaymentStatus.FAILED)
    for _ in range(2):
        await finish_start(db, ref, "k", made)
        await record_event(db, ref.tenant, declined, b"{}")
        await settle(db, confirm(ref, capture))
    pdf = StepRequest(ref.tenant, order_id_for(ref.tenant, ref.checkout_id), Step.PDF)
    await keep_tickets(db, pdf.tenant, pdf.order_id, b"%PDF", 1)
    for replay in (0, 0, 1):
        again = StepRequest(pdf.tenant, pdf.order_id, pdf.step, replay)
        await begin_step(db, again)
        await end_step(db, again, StepStatus.DONE)
    assert await kinds(db, ref) == [
        "held", "extended", "extended", "lines_changed", "payment_started", "payment_declined", "confirmed",
        "tickets_ready",
    ]  # fmt: skip
    events = {one.kind.value: one.data for one in await told(db, ref)}
    order = order_id_for(ref.tenant, ref.checkout_id)
    assert events["extended"]["by"] == "payment"
    assert events["lines_changed"]["added"] == 1
    assert events["payment_started"] == {
        "gateway": "sandbox", "payment_id": capture.payment_id, "amount": 5000, "currency": "COP",
    }  # fmt: skip
    assert events["confirmed"] == {
        "order_id": order, "total": 5000, "currency": "COP", "gateway": "sandbox", "payment_id": capture.payment_id,
    }  # fmt: skip
    assert events["tickets_ready"] == {"order_id": order}
    assert events["confirmed"].keys().isdisjoint({"email", "name", "buyer_key"})
    assert (await rows.checkout(ref))["status"] == "confirmed"


async def test_what_ends_a_hold_is_told_once_whatever_asked_for_it(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId, held: StartCheckout
) -> None:
    for _ in range(2):
        await settle(db, cancel(held.ref))
    assert await kinds(db, held.ref) == ["held", "cancelled"]
    emptied = a_start(tenant, {product: 1})
    await reserve(db, emptied)
    [line] = await line_ids(rows, emptied.ref)
    request = removing(emptied.ref, line)
    for _ in range(2):
        await change_lines(db, request)
    assert await kinds(db, emptied.ref) == ["held", "cancelled"]


async def test_a_late_payments_refund_is_told_when_it_is_decided_and_when_it_is_made(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout
) -> None:
    ref = held.ref
    await admin.execute("UPDATE tenants SET late_payments = 'refund'")
    await settle(db, expire(ref))
    assert await kinds(db, ref) == ["held"], "it is not over yet"
    await admin.execute("UPDATE checkouts SET held_at = held_at - interval '1 hour', expires_at = clock_timestamp()")
    await settle(db, expire(ref))
    capture = a_capture(ref.checkout_id, 2000)
    for _ in range(2):
        await record_event(db, ref.tenant, an_event(capture), b"{}")
        await settle(db, confirm(ref, capture))
    owed = await refund_owed(db, ref.tenant, capture.gateway, capture.payment_id)
    assert owed is not None
    for number in range(2):
        await refund_made(db, ref.tenant, owed, f"r-{number}")
    assert await kinds(db, ref) == ["held", "expired", "refund_decided", "refund_made"]
    [_, _, decided, made] = await told(db, ref)
    assert (decided.data["reason"], decided.data["amount"]) == ("late", 2000)
    assert made.data == {
        "order_id": None, "refund_id": None, "gateway": "sandbox", "payment_id": capture.payment_id, "amount": 2000,
        "currency": "COP",
    }  # fmt: skip
    assert (await rows.outcome(capture) or {})["refund_id"] == "r-0"


async def test_refunds_of_an_order_are_told_each_with_its_amount(
    db: Database, tenant: TenantId, product: ProductId
) -> None:
    sale = await a_sale(db, tenant, {product: 2})
    for amount in (500, 700):
        decided = await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, amount))
        for _ in range(2):
            await order_refund_made(db, tenant, decided.id, f"ref_{amount}")
    ref = sale.start.ref
    assert await kinds(db, ref) == ["held", "confirmed", *["refund_decided", "refund_made"] * 2]
    assert [one.data["amount"] for one in await told(db, ref, after=2)] == [500, 500, 700, 700]


async def test_a_decline_that_comes_before_the_hold_or_after_its_end_is_not_told(
    db: Database, tenant: TenantId, product: ProductId
) -> None:
    start = a_start(tenant, {product: 1})
    await record_event(db, tenant, an_event(a_capture(start.checkout_id, 1000), kind=PaymentStatus.FAILED), b"{}")
    await reserve(db, start)
    await settle(db, cancel(start.ref))
    await record_event(db, tenant, an_event(a_capture(start.checkout_id, 1000), kind=PaymentStatus.FAILED), b"{}")
    assert await kinds(db, start.ref) == ["held", "cancelled"]


async def test_a_change_that_is_rolled_back_is_told_to_nobody(db: Database, held: StartCheckout) -> None:
    class Dies(Exception):
        pass

    async def work(transaction: Transaction) -> None:
        at = (await told(db, held.ref))[0].at
        told_of = tell(held.tenant, held.checkout_id, CheckoutEventKind.EXTENDED, at, expires_at=at, by="buyer")
        await transaction.read(told_of)
        raise Dies

    with pytest.raises(Dies):
        await db.transact(held.tenant, work)
    assert await kinds(db, held.ref) == ["held"]


async def test_who_reads_while_a_slow_transaction_is_open_misses_nothing_of_it(
    db: Database, admin: shop.Connection, database_url: str, tenant: TenantId, product: ProductId, held: StartCheckout
) -> None:
    """By a sequence, the slow one would have the lower number and appear after the higher one was read."""
    other = a_start(tenant, {product: 1})
    await reserve(db, other)
    read = {held.checkout_id: 1, other.checkout_id: 1}
    async with await psycopg.AsyncConnection.connect(database_url) as slow:
        await slow.execute("SELECT 1 FROM checkouts WHERE id = %s FOR NO KEY UPDATE", (held.checkout_id,))
        await slow.execute(
            "INSERT INTO checkout_events VALUES (%s, %s, 2, 'payment_declined', %s, clock_timestamp())",
            (tenant, held.checkout_id, Jsonb({"payment_id": "slow"})),
        )
        waiting = asyncio.create_task(extend(db, ExtendRequest(held.ref, "while-it-is-slow")))
        await extend(db, ExtendRequest(other.ref, "quick"))
        await Rows(admin).until_somebody_waits_for_a_lock()
        seen = (await events_after(db, {tenant: read}))[tenant]
        assert [(one.checkout_id, one.seq) for one in seen] == [(other.checkout_id, 2)]
        read[other.checkout_id] = 2
        await slow.commit()
    await waiting
    seen = (await events_after(db, {tenant: read}))[tenant]
    assert [(one.seq, one.kind.value) for one in seen] == [(2, "payment_declined"), (3, "extended")]


async def test_many_who_tell_at_once_are_read_in_one_order_without_a_gap(
    database_url: str, tenant: TenantId, product: ProductId
) -> None:
    """Changes of several kinds, among them such as have not locked the checkout for anything else."""
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    async with opened(database_url, size=12) as db:
        sales = [await a_sale(db, tenant, {product: 2}) for _ in range(3)]
        refs = [sale.start.ref for sale in sales]
        decided = [
            await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, 10))
            for sale in sales
            for _ in range(TELLERS // 3)
        ]
        pdfs = [StepRequest(tenant, sale.order, Step.PDF) for sale in sales]
        for pdf in pdfs:
            await keep_tickets(db, tenant, pdf.order_id, b"%PDF", 1)
            await begin_step(db, pdf)
        work: list[Awaitable[Any]] = [order_refund_made(db, tenant, one.id, one.id) for one in decided]
        work += [end_step(db, pdf, StepStatus.DONE) for pdf in pdfs]
        dice.shuffle(work)
        read = {ref.checkout_id: 0 for ref in refs}
        got: dict[str, list[int]] = {ref.checkout_id: [] for ref in refs}
        telling = asyncio.gather(*work)
        while True:
            done = telling.done()
            for event in (await events_after(db, {tenant: read}))[tenant]:
                got[event.checkout_id].append(event.seq)
                read[event.checkout_id] = event.seq
            if done:
                break
            await asyncio.sleep(0.001)
        await telling
    expected = 2 + 2 * (TELLERS // 3) + 1
    assert got == {ref.checkout_id: list(range(1, expected + 1)) for ref in refs}


async def test_one_round_trip_reads_for_several_tenants_and_shows_none_anothers(
    db: Database, admin: shop.Connection, held: StartCheckout
) -> None:
    other = await shop.make_tenant(admin, "other-shop")
    theirs = a_start(other, {await shop.make_product(admin, other): 1})
    await reserve(db, theirs)
    both = {held.checkout_id: 0, theirs.checkout_id: 0}
    seen = await events_after(db, {held.tenant: both, other: both})
    assert {tenant: [one.checkout_id for one in events] for tenant, events in seen.items()} == {
        held.tenant: [held.checkout_id],
        other: [theirs.checkout_id],
    }


async def test_the_application_cannot_change_what_was_told(db: Database, held: StartCheckout) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await db.run(held.tenant, ("UPDATE checkout_events SET kind = 'confirmed'", {}))


def test_a_kind_that_is_a_webhook_cannot_be_told_without_it(held: StartCheckout) -> None:
    with pytest.raises(ValueError, match="webhook"):
        tell(held.tenant, held.checkout_id, CheckoutEventKind.CONFIRMED, datetime.now(UTC), order_id="x")
