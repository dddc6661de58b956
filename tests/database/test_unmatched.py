"""Payment events without their checkout: found when it starts, alerted once, and given back in the end, once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from db.checkouts import read_checkout
from db.database import Database
from db.inbox import (
    EventState,
    StoredEvent,
    events_waiting_for,
    mark_settled,
    mark_unmatched,
    record_event,
    stored_event,
)
from db.invariants import check
from db.refunds import refund_made, refunds_owed
from db.reserve import reserve
from db.settle import settle
from db.started import read_started
from db.unmatched import LooseMoney, alert_unmatched, refund_unmatched, waited_out
from domain.checkout import CheckoutStatus
from domain.gateway import PaymentEvent, PaymentStatus
from domain.ids import CheckoutId, TenantId
from domain.messages import Capture, Ruling, StartCheckout
from domain.payment_decision import RefundReason
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, an_event, confirm

UNKNOWN = CheckoutId("00000000-0000-4000-8000-000000000000")


@pytest.fixture
async def start(admin: shop.Connection, tenant: TenantId) -> StartCheckout:
    """Of one unit for 1000, not made yet."""
    return a_start(tenant, {await shop.make_product(admin, tenant): 1})


async def stored(db: Database, tenant: TenantId, event: PaymentEvent) -> StoredEvent:
    found = await record_event(db, tenant, event, b"{}")
    assert found is not None
    return found


async def test_a_start_finds_the_events_that_were_there_before_it(db: Database, start: StartCheckout) -> None:
    capture = a_capture(start.checkout_id, 1000)
    declined = await stored(db, start.tenant, an_event(capture, kind=PaymentStatus.FAILED))
    captured = await stored(db, start.tenant, an_event(capture))
    done = await stored(db, start.tenant, an_event(capture, kind=PaymentStatus.FAILED))
    await mark_settled(db, start.tenant, done, "nothing_to_do")
    await stored(db, start.tenant, an_event(a_capture(UNKNOWN, 1000)))
    nothing, early = await read_started(db, start.tenant, start.checkout_id, buyer=start.buyer)
    assert nothing is None
    assert early == [declined, captured]
    await reserve(db, start)
    view, early = await read_started(db, start.tenant, start.checkout_id, buyer=start.buyer)
    assert view is not None
    assert view.row["id"] == start.checkout_id
    assert [(one.event_id, one.checkout_status) for one in early] == [
        (declined.event_id, CheckoutStatus.HELD),
        (captured.event_id, CheckoutStatus.HELD),
    ]
    assert await events_waiting_for(db, start.tenant, start.checkout_id) == early


async def test_an_event_that_a_start_could_not_see_sees_the_start(db: Database, start: StartCheckout) -> None:
    """The start commits, and looks, between the event's first look and its own commit."""
    event = await stored(db, start.tenant, an_event(a_capture(start.checkout_id, 1000)))
    assert event.waits_for_checkout
    await reserve(db, start)
    seen = await mark_unmatched(db, start.tenant, event, "unmatched")
    assert (seen.checkout_status, seen.handed, seen.state) == (CheckoutStatus.HELD, "unmatched", EventState.RECEIVED)
    assert not seen.waits_for_checkout


async def test_an_event_is_alerted_once_however_many_look(db: Database, rows: Rows, start: StartCheckout) -> None:
    await reserve(db, start)
    tenant = start.tenant
    lost = await stored(db, tenant, an_event(a_capture(UNKNOWN, 7)))
    naming_none = await stored(db, tenant, replace(an_event(a_capture(UNKNOWN, 8)), checkout_id=None))
    await stored(db, tenant, an_event(a_capture(start.checkout_id, 1000)))
    settled = await stored(db, tenant, an_event(a_capture(UNKNOWN, 9), kind=PaymentStatus.FAILED))
    await mark_settled(db, tenant, settled, "nothing_to_do")
    assert await alert_unmatched(db, tenant, older_than_seconds=600) == []
    looks = await asyncio.gather(*(alert_unmatched(db, tenant, older_than_seconds=0) for _ in range(6)))
    alerted = [one for look in looks for one in look]
    assert sorted(one.event_id for one in alerted) == sorted([lost.event_id, naming_none.event_id])
    assert {(one.amount, one.checkout_id) for one in alerted} == {(7, UNKNOWN), (8, None)}
    assert await alert_unmatched(db, tenant, older_than_seconds=0) == []
    assert await rows.value("SELECT count(*) FROM payment_events WHERE alerted_at IS NOT NULL") == 2


async def test_events_of_unknown_checkouts_are_waited_out_and_others_not(db: Database, start: StartCheckout) -> None:
    await reserve(db, start)
    tenant = start.tenant
    lost = await stored(db, tenant, an_event(a_capture(UNKNOWN, 7)))
    await stored(db, tenant, an_event(a_capture(start.checkout_id, 1000)))
    assert await waited_out(db, tenant, older_than_seconds=3600) == []
    assert await waited_out(db, tenant, older_than_seconds=0) == [lost]


async def test_money_of_no_checkout_goes_back_once_and_settles_all_its_events(
    db: Database, rows: Rows, database_url: str, tenant: TenantId
) -> None:
    capture = a_capture(UNKNOWN, 700)
    events = [await stored(db, tenant, an_event(capture)) for _ in range(3)]
    money = LooseMoney.of(events[0])
    assert (
        await asyncio.gather(*(refund_unmatched(db, tenant, money, RefundReason.UNMATCHED) for _ in range(6)))
        == [True] * 6
    )
    outcome = await rows.outcome(capture)
    assert outcome is not None
    told = ("kind", "checkout_id", "amount", "currency", "reason", "quarantined", "refund_status")
    assert tuple(outcome[name] for name in told) == ("refund", None, 700, "COP", "unmatched", False, "intended")
    assert {one["state"] for one in await rows.all("SELECT state FROM payment_events")} == {"settled"}
    [owed] = await refunds_owed(db, tenant, older_than_seconds=0)
    assert (owed.amount, owed.checkout_id) == (700, None)
    await refund_made(db, tenant, owed, "r-1")
    assert await check(database_url, quiet=True) == []


@pytest.mark.parametrize("reason", [RefundReason.UNMATCHED, RefundReason.WRONG_TENANT])
async def test_a_checkout_that_has_appeared_takes_its_own_money_but_not_another_tenants(
    db: Database, rows: Rows, start: StartCheckout, reason: RefundReason
) -> None:
    capture = a_capture(start.checkout_id, 1000)
    event = await stored(db, start.tenant, an_event(capture))
    await reserve(db, start)
    refunded = await refund_unmatched(db, start.tenant, LooseMoney.of(event), reason)
    outcome = await rows.outcome(capture)
    again = await stored_event(db, start.tenant, event.gateway, event.event_id)
    assert again is not None
    if reason is RefundReason.UNMATCHED:
        assert (refunded, outcome, again.state) == (False, None, EventState.RECEIVED)
        assert (await settle(db, confirm(start.ref, capture))).ruling is Ruling.ORDER
    else:
        assert refunded
        assert outcome is not None
        assert (outcome["reason"], outcome["quarantined"], outcome["checkout_id"]) == ("wrong_tenant", True, None)
        assert again.state is EventState.SETTLED
        view = await read_checkout(db, start.tenant, start.checkout_id, buyer=None)
        assert view is not None
        assert (view.row["status"], view.payments) == ("held", [])


async def test_a_refund_and_a_confirm_of_one_payment_at_once_make_one_outcome(
    db: Database, rows: Rows, database_url: str, admin: shop.Connection, tenant: TenantId
) -> None:
    """The checkout appears while its money is being given up."""
    product = await shop.make_product(admin, tenant, stock=100)
    outcomes = []
    for _ in range(12):
        start = a_start(tenant, {product: 1})
        capture = a_capture(start.checkout_id, 1000)
        money = LooseMoney.of(await stored(db, tenant, an_event(capture)))

        async def sell(start: StartCheckout = start, capture: Capture = capture) -> None:
            await reserve(db, start)
            await settle(db, confirm(start.ref, capture))

        refunded, _ = await asyncio.gather(refund_unmatched(db, tenant, money, RefundReason.UNMATCHED), sell())
        outcome = await rows.outcome(capture)
        assert outcome is not None
        assert refunded == (outcome["kind"] == "refund")
        outcomes.append(outcome["kind"])
    print(outcomes)
    assert await check(database_url) == []


async def test_what_became_an_order_is_not_given_back(db: Database, start: StartCheckout) -> None:
    await reserve(db, start)
    capture = a_capture(start.checkout_id, 1000)
    await settle(db, confirm(start.ref, capture))
    money = LooseMoney(capture.gateway, capture.payment_id, UNKNOWN, 1000, "COP")
    assert not await refund_unmatched(db, start.tenant, money, RefundReason.UNMATCHED)
