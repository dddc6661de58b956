"""The inbox of payment events, and the refunds that are owed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from db.database import Database
from db.inbox import EventState, mark_delivered, mark_settled, record_event, unsettled_events
from db.overdue import overdue_anywhere
from db.refunds import refund_made, refund_owed, refunds_owed
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId, TenantId
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, an_event, confirm

UNKNOWN = CheckoutId("00000000-0000-4000-8000-000000000000")


@pytest.fixture
async def held(db: Database, admin: shop.Connection, tenant: TenantId) -> StartCheckout:
    start = a_start(tenant, {await shop.make_product(admin, tenant): 1})
    await reserve(db, start)
    return start


async def test_an_event_is_stored_once_and_its_repeat_is_given_the_first_ones_row(
    db: Database, rows: Rows, held: StartCheckout
) -> None:
    event = an_event(a_capture(held.checkout_id, 1000), event="the-one")
    stored = await asyncio.gather(*(record_event(db, held.tenant, event, b'{"n": 1}') for _ in range(8)))
    assert len({one.received_at for one in stored if one}) == 1
    repeat = await record_event(db, held.tenant, replace(event, amount=5), b"other")
    assert repeat == stored[0]
    assert repeat is not None
    assert (repeat.state, repeat.checkout_status, repeat.decided) == (EventState.RECEIVED, CheckoutStatus.HELD, False)
    assert await rows.value("SELECT body FROM payment_events") == b'{"n": 1}'


async def test_two_tenants_events_of_one_name_are_two(db: Database, admin: shop.Connection, tenant: TenantId) -> None:
    other = await shop.make_tenant(admin)
    event = an_event(a_capture(UNKNOWN, 1))
    stored = [await record_event(db, one, event, b"") for one in (tenant, other)]
    assert all(stored)
    assert len(await unsettled_events(db, tenant, older_than_seconds=0)) == 1


async def test_an_event_for_a_tenant_that_is_not_there_is_not_stored(db: Database, rows: Rows) -> None:
    assert await record_event(db, TenantId("nobody"), an_event(a_capture(UNKNOWN, 1)), b"") is None
    assert await rows.value("SELECT count(*) FROM payment_events") == 0


async def test_an_event_of_an_unknown_checkout_waits_and_knows_it_later(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    start = a_start(tenant, {await shop.make_product(admin, tenant): 1})
    early = await record_event(db, tenant, an_event(a_capture(start.checkout_id, 1000)), b"")
    assert early is not None
    assert early.checkout_status is None
    await reserve(db, start)
    [waiting] = await unsettled_events(db, tenant, older_than_seconds=0)
    assert waiting.checkout_status is CheckoutStatus.HELD


async def test_an_events_state_only_goes_forward(db: Database, rows: Rows, tenant: TenantId) -> None:
    event = await record_event(db, tenant, an_event(a_capture(UNKNOWN, 1), kind=PaymentStatus.FAILED), b"")
    assert event is not None
    states = []
    for mark in (mark_delivered, mark_delivered, mark_settled, mark_delivered, mark_settled):
        await mark(db, tenant, event, "nothing_to_do")
        states.append(await rows.value("SELECT state FROM payment_events"))
    assert states == ["delivered", "delivered", "settled", "settled", "settled"]


async def test_events_younger_than_the_grace_are_left_alone(db: Database, tenant: TenantId) -> None:
    await record_event(db, tenant, an_event(a_capture(UNKNOWN, 1)), b"")
    assert await unsettled_events(db, tenant, older_than_seconds=60) == []


async def test_a_refund_is_owed_until_it_is_made_and_made_once(db: Database, rows: Rows, held: StartCheckout) -> None:
    wrong = a_capture(held.checkout_id, 999)
    await settle(db, confirm(held.ref, wrong))
    owed = await refund_owed(db, held.tenant, wrong.gateway, wrong.payment_id)
    assert owed is not None
    assert (owed.amount, owed.currency, owed.checkout_id) == (999, "COP", held.checkout_id)
    assert await refunds_owed(db, held.tenant, older_than_seconds=0) == [owed]
    assert await refunds_owed(db, held.tenant, older_than_seconds=60) == []
    await refund_made(db, held.tenant, owed, "r-1")
    await refund_made(db, held.tenant, owed, "r-2")
    assert await refund_owed(db, held.tenant, wrong.gateway, wrong.payment_id) is None
    outcome = await rows.outcome(wrong)
    assert outcome is not None
    assert (outcome["refund_status"], outcome["refund_id"]) == ("refunded", "r-1")


async def test_holds_are_overdue_once_their_grace_is_over(db: Database, rows: Rows, held: StartCheckout) -> None:
    assert await overdue_anywhere(db, held.tenant, 0) == []
    await rows.end_now(held.ref, ago=10)
    assert await overdue_anywhere(db, held.tenant, 9) == [held.checkout_id]
    assert await overdue_anywhere(db, held.tenant, 60) == []
