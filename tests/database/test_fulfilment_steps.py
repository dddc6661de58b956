"""The rows of fulfilment: a step ends once, is asked for again by number, and the order is fulfilled when all ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from db import fulfilment_open
from db.database import Database
from db.fulfilment_open import orders_without_fulfilment, replays_without_end
from db.fulfilment_steps import ask_again, begin_step, close_fulfilment, end_step, note_error, read_steps
from db.order_documents import keep_tickets, owner_of_order, read_tickets
from db.order_facts import read_order_facts
from db.statistics import DaySales, count_order, daily_sales
from domain.errors import NotFound
from domain.fulfilment import ALWAYS, MAX_ERROR, Step, StepRequest, StepStatus
from domain.ids import Actor, OrderId, ProductId, TenantId
from tests.support import shop
from tests.support.catalogue import audit
from tests.support.checkouts import BUYER, Rows
from tests.support.sales import a_sale
from tests.support.sold import sold

OPERATOR = Actor("cli:ops")
NOWHERE = OrderId("00000000-0000-4000-8000-000000000000")
PDF = b"%PDF-1.7 x"


@pytest.fixture
async def order(db: Database, admin: shop.Connection, tenant: TenantId) -> OrderId:
    _, made = await sold(db, tenant, await shop.make_product(admin, tenant, offer_price=900, name="Café"), 3)
    return made


def asked(tenant: TenantId, order: OrderId, step: Step = Step.MAIL, replay: int = 0) -> StepRequest:
    return StepRequest(tenant, order, step, replay)


async def test_a_step_counts_its_attempts_and_ends_once(db: Database, tenant: TenantId, order: OrderId) -> None:
    request = asked(tenant, order)
    assert (await begin_step(db, request)).attempts == 1
    await note_error(db, request, "the mail server: 451\nx" + "y" * 1000)
    begun = await begin_step(db, request)
    assert (begun.attempts, begun.status, len(begun.last_error or "")) == (2, StepStatus.PENDING, MAX_ERROR)
    done = await end_step(db, request, StepStatus.DONE, detail={"with_tickets": True})
    assert (done.status, done.last_error, done.result.with_tickets) == (StepStatus.DONE, None, True)
    for late in (StepStatus.FAILED, StepStatus.SKIPPED):
        assert (await end_step(db, request, late, "late")).status is StepStatus.DONE
    assert (await begin_step(db, request)).attempts == 2


async def test_what_was_given_up_and_then_done_after_all_is_done(
    db: Database, tenant: TenantId, order: OrderId
) -> None:
    request = asked(tenant, order)
    await begin_step(db, request)
    assert (await end_step(db, request, StepStatus.FAILED, "tried_for_days")).reason == "tried_for_days"
    done = await end_step(db, request, StepStatus.DONE)
    assert (done.status, done.reason) == (StepStatus.DONE, None)


async def test_a_step_of_no_order_is_refused(db: Database, tenant: TenantId) -> None:
    with pytest.raises(NotFound):
        await begin_step(db, asked(tenant, NOWHERE))
    with pytest.raises(NotFound):
        await ask_again(db, tenant, NOWHERE, Step.MAIL, "k", OPERATOR)
    assert await read_steps(db, tenant, NOWHERE) is None
    assert await read_order_facts(db, tenant, NOWHERE) is None
    assert await owner_of_order(db, tenant, NOWHERE) is None


async def test_asking_again_numbers_the_replays_and_the_same_request_asks_once(
    db: Database, rows: Rows, tenant: TenantId, order: OrderId
) -> None:
    first = await ask_again(db, tenant, order, Step.MAIL, "k1", OPERATOR)
    assert await ask_again(db, tenant, order, Step.MAIL, "k1", OPERATOR) == first
    second = await ask_again(db, tenant, order, Step.MAIL, "k2", OPERATOR)
    other = await ask_again(db, tenant, order, Step.PDF, "k1", OPERATOR)
    assert [first.replay, second.replay, other.replay] == [1, 2, 1]
    assert len({one.effect_id for one in (asked(tenant, order), first, second, other)}) == 4
    assert await audit(rows, tenant, OPERATOR) == [
        ("fulfilment.replayed", f"order:{order}", None, {"step": "mail", "replay": 1}),
        ("fulfilment.replayed", f"order:{order}", None, {"step": "mail", "replay": 2}),
        ("fulfilment.replayed", f"order:{order}", None, {"step": "pdf", "replay": 1}),
    ]


async def test_many_who_ask_at_once_get_numbers_of_their_own(db: Database, tenant: TenantId, order: OrderId) -> None:
    found = await asyncio.gather(*(ask_again(db, tenant, order, Step.MAIL, f"k{n % 8}", OPERATOR) for n in range(24)))
    assert sorted({one.replay for one in found}) == list(range(1, 9))


async def test_an_order_whose_fulfilment_never_began_is_found_before_those_that_wait_for_a_mail_server(
    db: Database, tenant: TenantId, order: OrderId, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin_step(db, asked(tenant, order, Step.MAIL))
    newer = (await a_sale(db, tenant, {ProductId(1): 1})).order
    assert await orders_without_fulfilment(db, tenant, 0) == [newer, order]
    monkeypatch.setattr(fulfilment_open, "MOST_AT_ONCE", 1)
    assert await orders_without_fulfilment(db, tenant, 0) == [newer]


async def test_an_order_whose_second_mail_is_still_tried_is_not_fulfilled(
    db: Database, rows: Rows, tenant: TenantId, order: OrderId
) -> None:
    await keep_tickets(db, tenant, order, PDF, 1)
    await count_order(db, tenant, order)
    for step in ALWAYS:
        await begin_step(db, asked(tenant, order, step))
        await end_step(db, asked(tenant, order, step), StepStatus.DONE)
    await begin_step(db, asked(tenant, order, Step.TICKETS))
    await close_fulfilment(db, tenant, order)
    assert await rows.value("SELECT fulfilled_at FROM orders") is None
    await end_step(db, asked(tenant, order, Step.TICKETS), StepStatus.DONE)
    await close_fulfilment(db, tenant, order)
    assert await rows.value("SELECT fulfilled_at FROM orders") is not None


async def test_an_order_is_fulfilled_when_each_step_has_ended_and_until_then_it_is_found(
    db: Database, rows: Rows, tenant: TenantId, order: OrderId
) -> None:
    ends = [StepStatus.DONE, StepStatus.SKIPPED, StepStatus.FAILED, StepStatus.DONE]
    await keep_tickets(db, tenant, order, PDF, 1)
    await count_order(db, tenant, order)
    assert await orders_without_fulfilment(db, tenant, 60) == []
    for step, status in zip(ALWAYS, ends, strict=True):
        await close_fulfilment(db, tenant, order)
        assert await orders_without_fulfilment(db, tenant, 0) == [order]
        await begin_step(db, asked(tenant, order, step))
        await end_step(db, asked(tenant, order, step), status)
    await close_fulfilment(db, tenant, order)
    assert await orders_without_fulfilment(db, tenant, 0) == []
    fulfilled = await rows.value("SELECT fulfilled_at FROM orders")
    await close_fulfilment(db, tenant, order)
    assert await rows.value("SELECT fulfilled_at FROM orders") == fulfilled


async def test_a_replay_that_nobody_has_seen_to_the_end_is_found(
    db: Database, admin: shop.Connection, tenant: TenantId, order: OrderId
) -> None:
    request = await ask_again(db, tenant, order, Step.NOTIFY, "k", OPERATOR)
    assert await replays_without_end(db, tenant, 60) == []
    assert await replays_without_end(db, tenant, 0) == [request]
    assert await replays_without_end(db, await shop.make_tenant(admin), 0) == []
    await end_step(db, request, StepStatus.SKIPPED, "no_phone")
    assert await replays_without_end(db, tenant, 0) == []


async def test_tickets_are_kept_and_replaced(
    db: Database, admin: shop.Connection, tenant: TenantId, order: OrderId
) -> None:
    assert await read_tickets(db, tenant, order) is None
    for content, pages in ((PDF, 2), (PDF * 20_000, 3)):
        await keep_tickets(db, tenant, order, content, pages)
        found = await read_tickets(db, tenant, order)
        assert found is not None
        assert (found.content, found.pages) == (content, pages)
    assert await read_tickets(db, await shop.make_tenant(admin), order) is None
    assert await owner_of_order(db, tenant, order) == BUYER


async def test_the_facts_of_an_order_are_complete(
    db: Database, admin: shop.Connection, tenant: TenantId, order: OrderId
) -> None:
    await admin.execute("UPDATE tenants SET language = 'en', logo_text = 'LOGO' WHERE id = %s", (tenant,))
    facts = await read_order_facts(db, tenant, order)
    assert facts is not None
    assert (facts.order_id, facts.subtotal, facts.discount, facts.total) == (order, 3000, 300, 2700)
    assert (facts.looks.language, facts.looks.logo, facts.fiscal_number) == ("en", "LOGO", None)
    [line] = facts.lines
    assert (line.name, line.quantity, line.list_price, line.unit_price, line.event) == ("Café", 3, 1000, 900, None)


async def test_an_order_is_counted_once_however_often_and_at_once(
    db: Database, rows: Rows, tenant: TenantId, order: OrderId
) -> None:
    counted = await asyncio.gather(*(count_order(db, tenant, order) for _ in range(8)))
    assert sorted(counted) == [False] * 7 + [True]
    day = await rows.value("SELECT (created_at AT TIME ZONE 'UTC')::date FROM orders")
    assert await daily_sales(db, tenant, day) == [DaySales(day, "COP", 1, 3, 2700)]
    assert await daily_sales(db, tenant, day.replace(year=day.year + 1)) == []
    [item] = await rows.all("SELECT kind, item_id, units, revenue FROM daily_item_sales")
    assert item == {"kind": "product", "item_id": 1, "units": 3, "revenue": 2700}


async def test_orders_counted_at_once_add_up(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    products = [await shop.make_product(admin, tenant, stock=50) for _ in range(3)]
    orders = [(await sold(db, tenant, products[n % 3], 1 + n % 2))[1] for n in range(12)]
    await asyncio.gather(*(count_order(db, tenant, order) for order in orders * 2))
    [day] = await rows.all("SELECT orders, units, revenue FROM daily_sales")
    assert day == {"orders": 12, "units": 18, "revenue": 18_000}
    assert await rows.value("SELECT sum(units) FROM daily_item_sales") == 18


def test_the_effect_of_a_step_has_one_name() -> None:
    request = asked(TenantId("demo"), NOWHERE)
    assert request.effect_id == replace(request).effect_id
    assert request.key == f"demo/{NOWHERE}/mail/0"
