"""Settle: the row alone decides, once, however many ask and whatever they want."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.database import Database
from db.inbox import EventState, record_event, unsettled_events
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId, ProductId, TenantId, order_id_for
from domain.messages import Capture, CheckoutRef, Ruling, Settled, StartCheckout
from domain.payment_decision import RefundReason
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, an_event, cancel, confirm, expire


@pytest.fixture
async def product(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=100, price=1000)


@pytest.fixture
async def held(db: Database, tenant: TenantId, product: ProductId) -> StartCheckout:
    """A checkout that holds two units for 2000."""
    return await hold(db, tenant, product)


async def hold(db: Database, tenant: TenantId, product: ProductId) -> StartCheckout:
    start = a_start(tenant, {product: 2})
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return start


async def test_a_confirm_moves_the_stock_and_makes_the_order_with_its_outcome(
    db: Database, admin: shop.Connection, rows: Rows, held: StartCheckout, product: ProductId
) -> None:
    capture = a_capture(held.checkout_id, 2000)
    event = await record_event(db, held.tenant, an_event(capture), b"{}")
    assert event is not None
    settled = await settle(db, confirm(held.ref, replace(capture, received_at=event.received_at)))
    order_id = order_id_for(held.tenant, held.checkout_id)
    assert settled == Settled(
        CheckoutStatus.CONFIRMED, order_id=order_id, paid_by=capture.payment_id, ruling=Ruling.ORDER
    )
    assert await rows.stock(held.tenant, product) == (98, 0, 2)
    [order] = await rows.all("SELECT * FROM orders")
    assert (str(order["id"]), order["total"], order["payment_id"]) == (order_id, 2000, capture.payment_id)
    [line] = await rows.all("SELECT product_id, name, quantity, unit_price FROM order_lines")
    assert line == {"product_id": product, "name": "Coffee", "quantity": 2, "unit_price": 1000}
    outcome = await rows.outcome(capture)
    assert outcome is not None
    assert (outcome["kind"], str(outcome["order_id"]), outcome["amount"]) == ("order", order_id, 2000)
    at = {await rows.value("SELECT ended_at FROM checkouts"), order["created_at"], outcome["decided_at"]}
    at.add(await rows.value("SELECT settled_at FROM payment_events WHERE state = 'settled'"))
    assert len(at) == 1
    tables = (
        "orders",
        "order_lines",
        "payment_outcomes",
        "payment_events",
        "checkouts",
        "checkout_lines",
        "stock_items",
    )
    written = " UNION ALL ".join(f"SELECT xmin::text FROM {table}" for table in tables)
    assert await rows.value(f"SELECT count(DISTINCT xmin) FROM ({written}) w") == 1


@pytest.mark.parametrize("wish", ["confirm", "cancel", "expire"])
async def test_a_repeat_hears_the_same_and_changes_nothing(
    db: Database, rows: Rows, held: StartCheckout, product: ProductId, wish: str
) -> None:
    capture = a_capture(held.checkout_id, 2000)
    request = {"confirm": confirm(held.ref, capture), "cancel": cancel(held.ref), "expire": expire(held.ref)}[wish]
    if wish == "expire":
        await rows.end_now(held.ref)
    first = await settle(db, request)
    stock, row = await rows.stock(held.tenant, product), await rows.checkout(held.ref)
    assert first.status is not CheckoutStatus.HELD
    assert [await settle(db, request) for _ in range(3)] == [first] * 3
    assert await rows.stock(held.tenant, product) == stock
    assert await rows.checkout(held.ref) == row


@pytest.mark.parametrize("wish", ["cancel", "expire"])
async def test_a_release_gives_the_stock_back_once(
    db: Database, rows: Rows, held: StartCheckout, product: ProductId, wish: str
) -> None:
    other = await hold(db, held.tenant, product)
    request = cancel(held.ref) if wish == "cancel" else expire(held.ref)
    await rows.end_now(held.ref)
    assert await rows.stock(held.tenant, product) == (96, 4, 0)
    for _ in range(3):
        await settle(db, request)
        assert await rows.stock(held.tenant, product) == (98, 2, 0)
    assert (await rows.checkout(other.ref))["status"] == "held"


async def test_before_the_end_a_hold_does_not_expire_and_the_answer_says_how_long_yet(
    db: Database, held: StartCheckout
) -> None:
    settled = await settle(db, expire(held.ref))
    assert settled.status is CheckoutStatus.HELD
    assert 890_000 < settled.remaining_ms <= 900_000


async def test_a_checkout_that_is_not_there_has_no_status(db: Database, tenant: TenantId) -> None:
    ref = CheckoutRef(tenant, CheckoutId("00000000-0000-4000-8000-000000000000"))
    for request in (confirm(ref, a_capture(ref.checkout_id, 1)), cancel(ref), expire(ref)):
        assert await settle(db, request) == Settled(status=None)


@pytest.mark.parametrize("change", [{"amount": 1999}, {"amount": 2001}, {"currency": "USD"}, {"elsewhere": True}])
async def test_wrong_money_is_a_quarantined_refund_and_the_hold_stays(
    db: Database, rows: Rows, held: StartCheckout, product: ProductId, change: dict[str, object]
) -> None:
    right = a_capture(held.checkout_id, 2000)
    other = await hold(db, held.tenant, product)
    wrong = replace(right, checkout_id=other.checkout_id) if "elsewhere" in change else replace(right, **change)  # type: ignore[arg-type]
    settled = await settle(db, confirm(held.ref, wrong))
    assert (settled.status, settled.ruling) == (CheckoutStatus.HELD, Ruling.REFUND)
    assert settled.reason in (RefundReason.WRONG_AMOUNT, RefundReason.WRONG_CURRENCY, RefundReason.WRONG_CHECKOUT)
    assert settled.remaining_ms > 0
    outcome = await rows.outcome(wrong)
    assert outcome is not None
    assert (outcome["kind"], outcome["refund_status"], outcome["quarantined"]) == ("refund", "intended", True)
    assert (outcome["amount"], outcome["currency"]) == (wrong.amount, wrong.currency)
    good = await settle(db, confirm(held.ref, a_capture(held.checkout_id, 2000)))
    assert good.status is CheckoutStatus.CONFIRMED


async def test_the_first_of_two_payments_counts_and_the_other_is_given_back(
    db: Database, rows: Rows, held: StartCheckout, product: ProductId
) -> None:
    first, second = a_capture(held.checkout_id, 2000), a_capture(held.checkout_id, 2000)
    await settle(db, confirm(held.ref, first))
    settled = await settle(db, confirm(held.ref, second))
    assert (settled.ruling, settled.reason, settled.paid_by) == (Ruling.REFUND, "second_payment", first.payment_id)
    outcome = await rows.outcome(second)
    assert outcome is not None
    assert (outcome["kind"], outcome["quarantined"]) == ("refund", False)
    assert await rows.stock(held.tenant, product) == (98, 0, 2)


@pytest.fixture
async def no_second_chance(admin: shop.Connection, tenant: TenantId) -> None:
    """The tenant wants every late payment given back."""
    await admin.execute("UPDATE tenants SET late_payments = 'refund'")


@pytest.mark.usefixtures("no_second_chance")
@pytest.mark.parametrize("ended_by", ["cancel", "expire"])
async def test_a_payment_for_an_ended_checkout_is_a_late_refund(
    db: Database, rows: Rows, held: StartCheckout, product: ProductId, ended_by: str
) -> None:
    if ended_by == "expire":
        await rows.end_now(held.ref)
    ended = await settle(db, cancel(held.ref) if ended_by == "cancel" else expire(held.ref))
    capture = a_capture(held.checkout_id, 2000)
    settled = await settle(db, confirm(held.ref, capture))
    assert (settled.status, settled.ruling, settled.reason) == (ended.status, Ruling.REFUND, "late")
    assert await rows.stock(held.tenant, product) == (100, 0, 0)
    assert await rows.value("SELECT count(*) FROM orders") == 0


async def test_a_payment_that_came_in_time_counts_however_late_it_is_looked_at(
    db: Database, rows: Rows, held: StartCheckout
) -> None:
    end = await rows.end_now(held.ref, ago=60)
    in_time = a_capture(held.checkout_id, 2000, received_at=end - timedelta(microseconds=1))
    assert (await settle(db, confirm(held.ref, in_time))).status is CheckoutStatus.CONFIRMED


@pytest.mark.usefixtures("no_second_chance")
async def test_a_payment_at_the_very_end_is_late(db: Database, rows: Rows, held: StartCheckout) -> None:
    end = await rows.end_now(held.ref, ago=60)
    settled = await settle(db, confirm(held.ref, a_capture(held.checkout_id, 2000, received_at=end)))
    assert (settled.status, settled.ruling) == (CheckoutStatus.HELD, Ruling.REFUND)
    assert (await settle(db, expire(held.ref))).status is CheckoutStatus.EXPIRED


async def test_a_payment_in_hand_wins_over_the_end(
    db: Database, rows: Rows, held: StartCheckout, product: ProductId
) -> None:
    capture = a_capture(held.checkout_id, 2000)
    await record_event(db, held.tenant, an_event(capture), b"{}")
    await rows.end_now(held.ref)
    settled = await settle(db, expire(held.ref))
    assert (settled.status, settled.paid_by) == (CheckoutStatus.CONFIRMED, capture.payment_id)
    assert await rows.stock(held.tenant, product) == (98, 0, 2)
    assert await unsettled_events(db, held.tenant, older_than_seconds=0) == []


@pytest.mark.usefixtures("no_second_chance")
@pytest.mark.parametrize("flaw", ["late", "amount", "currency", "declined"])
async def test_an_event_in_hand_that_is_no_good_payment_does_not_stop_the_end(
    db: Database, admin: shop.Connection, rows: Rows, held: StartCheckout, flaw: str
) -> None:
    capture = a_capture(
        held.checkout_id, 1 if flaw == "amount" else 2000, currency="USD" if flaw == "currency" else "COP"
    )
    kind = PaymentStatus.FAILED if flaw == "declined" else PaymentStatus.CAPTURED
    await record_event(db, held.tenant, an_event(capture, kind=kind), b"{}")
    end = await rows.end_now(held.ref)
    if flaw == "late":
        await admin.execute("UPDATE payment_events SET received_at = %s", (end,))
        await admin.execute("UPDATE payments SET known_at = %s", (end,))
    if flaw == "declined":
        await admin.execute("UPDATE payments SET closed_at = clock_timestamp()")
    assert (await settle(db, expire(held.ref))).status is CheckoutStatus.EXPIRED


async def test_an_event_in_hand_of_a_payment_already_decided_does_not_stop_the_end(
    db: Database, rows: Rows, held: StartCheckout
) -> None:
    wrong = a_capture(held.checkout_id, 1999)
    await settle(db, confirm(held.ref, wrong))
    await record_event(db, held.tenant, an_event(replace(wrong, amount=2000)), b"{}")
    await rows.end_now(held.ref)
    assert (await settle(db, expire(held.ref))).status is CheckoutStatus.EXPIRED
    outcome = await rows.outcome(wrong)
    assert outcome is not None
    assert outcome["kind"] == "refund"


async def test_every_copy_of_the_payments_event_is_settled_with_it(
    db: Database, rows: Rows, held: StartCheckout
) -> None:
    capture = a_capture(held.checkout_id, 2000)
    for _ in range(3):
        await record_event(db, held.tenant, an_event(capture), b"{}")
    other = await record_event(db, held.tenant, an_event(a_capture(held.checkout_id, 2000)), b"{}")
    await settle(db, confirm(held.ref, capture))
    [left] = await unsettled_events(db, held.tenant, older_than_seconds=0)
    assert other is not None
    assert (left.event_id, left.state) == (other.event_id, EventState.RECEIVED)


@pytest.mark.parametrize("policy", ["refund", "reserve"])
async def test_fifty_times_opposing_wishes_at_once_have_exactly_one_outcome(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId, policy: str
) -> None:
    await admin.execute("UPDATE tenants SET late_payments = %s", (policy,))
    dice = random.Random(7)
    print("seed 7")
    ended: Counter[str] = Counter()
    for _ in range(50):
        start = await hold(db, tenant, product)
        in_time = datetime.now(UTC)
        await rows.end_now(start.ref, ago=-0.001)
        payments = [a_capture(start.checkout_id, 2000, received_at=in_time - timedelta(seconds=1)) for _ in range(2)]
        wishes = [*(confirm(start.ref, payment) for payment in payments), cancel(start.ref), expire(start.ref)]
        dice.shuffle(wishes)
        answers = await asyncio.gather(*(settle(db, wish) for wish in wishes))
        status = (await rows.checkout(start.ref))["status"]
        ended[status] += 1
        outcomes = [await rows.outcome(payment) for payment in payments]
        assert [outcome["kind"] for outcome in outcomes if outcome].count("order") == (status == "confirmed")
        assert all(outcomes)
        before = {
            CheckoutStatus.HELD,
            *({CheckoutStatus.CANCELLED, CheckoutStatus.EXPIRED} if policy == "reserve" else ()),
        }
        assert {answer.status for answer in answers} <= {*before, status}
    sold = ended["confirmed"]
    assert await rows.stock(tenant, product) == (100 - 2 * sold, 0, 2 * sold)
    assert sold > 0
    assert (ended["confirmed"] == 50) == (policy == "reserve"), ended


async def test_one_payment_used_for_two_checkouts_at_once_makes_one_order(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    for _ in range(10):
        one, two = await hold(db, tenant, product), await hold(db, tenant, product)
        capture = a_capture(one.checkout_id, 2000)
        twin = replace(capture, checkout_id=two.checkout_id)
        await asyncio.gather(settle(db, confirm(one.ref, capture)), settle(db, confirm(two.ref, twin)))
        statuses = sorted([(await rows.checkout(start.ref))["status"] for start in (one, two)])
        assert statuses == ["confirmed", "held"]
    assert await rows.value("SELECT count(*) FROM orders") == 10


async def test_a_wish_about_anothers_tenants_checkout_finds_nothing(
    db: Database, admin: shop.Connection, rows: Rows, held: StartCheckout
) -> None:
    other = CheckoutRef(await shop.make_tenant(admin), held.checkout_id)
    capture: Capture = a_capture(held.checkout_id, 2000)
    assert await settle(db, confirm(other, capture)) == Settled(status=None)
    assert await settle(db, cancel(other)) == Settled(status=None)
    assert (await rows.checkout(held.ref))["status"] == "held"
    assert await rows.outcome(capture) is None
