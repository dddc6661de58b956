"""Payments recorded by hand: stored with their event or not at all, and given back by hand."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from activities.gateways.manual import ManualGateway
from db.database import Database
from db.inbox import EventState, stored_event
from db.manual_payments import MANUAL, read_manual_payment, record_manual_payment
from db.manual_refunds import RETURNED_BY_HAND, record_returned_money
from db.order_refunds import decide_order_refund, next_order_refund
from db.refunds import refund_owed
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.errors import (
    CheckoutRefused,
    Conflict,
    GatewayRefused,
    GatewayUnavailable,
    IdempotencyKeyReused,
    Invalid,
    ManualPaymentExists,
    NotFound,
)
from domain.gateway import PaymentStatus, PaymentToStart
from domain.ids import CheckoutId, PaymentId, ProductId, TenantId, manual_payment_id_for
from domain.messages import Ruling, StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_start, cancel, opened
from tests.support.sales import OPERATOR, a_refund, a_sale_by_hand, by_hand, settle_by_hand


@pytest.fixture
async def product(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=10, price=1000)


@pytest.fixture
async def held(db: Database, tenant: TenantId, product: ProductId) -> StartCheckout:
    """Two units for 2000."""
    start = a_start(tenant, {product: 2})
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return start


async def test_a_payment_is_stored_with_its_captured_event_and_its_audit_row(
    db: Database, rows: Rows, tenant: TenantId, held: StartCheckout
) -> None:
    payment = await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, held.checkout_id))
    assert (payment.amount, payment.currency, payment.name) == (2000, "COP", "Transfer 1")
    assert payment.payment_id.startswith("man_")
    event = await stored_event(db, tenant, MANUAL, payment.event.event_id)
    assert event is not None
    assert (event.kind, event.payment_id, event.checkout_id, event.amount, event.state) == (
        PaymentStatus.CAPTURED, payment.payment_id, held.checkout_id, 2000, EventState.RECEIVED,
    )  # fmt: skip
    [noted] = await rows.all("SELECT * FROM audit_log WHERE action = 'payment.recorded_by_hand'")
    assert (noted["actor"], noted["subject"]) == (OPERATOR, f"checkout:{held.checkout_id}")
    assert noted["after"] == {"payment_id": payment.payment_id, "amount": 2000, "currency": "COP"}
    assert await rows.value("SELECT status FROM payments WHERE gateway = 'manual'") == "captured"
    await settle(db, cancel(held.ref))
    await settle_by_hand(db, held, payment)


async def test_a_live_hold_becomes_an_order_paid_by_hand(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId, held: StartCheckout
) -> None:
    payment = await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, held.checkout_id))
    settled = await settle_by_hand(db, held, payment)
    assert (settled.status, settled.ruling) == (CheckoutStatus.CONFIRMED, Ruling.ORDER)
    assert await rows.stock(tenant, product) == (8, 0, 2)
    [order] = await rows.all("SELECT gateway, payment_id, total FROM orders")
    assert order == {"gateway": "manual", "payment_id": payment.payment_id, "total": 2000}


async def test_a_repeat_finds_the_first_one_and_another_body_is_refused(
    db: Database, rows: Rows, tenant: TenantId, held: StartCheckout
) -> None:
    first = await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, held.checkout_id))
    await settle_by_hand(db, held, first)
    assert await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, held.checkout_id)) == first
    assert await rows.value("SELECT count(*) FROM payment_events") == 1
    assert await rows.value("SELECT count(*) FROM audit_log WHERE action = 'payment.recorded_by_hand'") == 1
    with pytest.raises(IdempotencyKeyReused):
        await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, held.checkout_id, name="Transfer 2"))


async def test_two_operators_who_record_the_same_transfer_record_it_once(
    database_url: str, rows: Rows, tenant: TenantId, held: StartCheckout
) -> None:
    async def one(db: Database, key: str) -> PaymentId:
        try:
            return (
                await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, held.checkout_id, key))
            ).payment_id
        except ManualPaymentExists as error:
            return PaymentId(error.extra["payment_id"])

    async with opened(database_url, size=10) as db:
        ids = await asyncio.gather(*(one(db, f"key-{number}") for number in range(10)))
    assert len(set(ids)) == 1
    assert await rows.value("SELECT count(*) FROM manual_payments") == 1


@pytest.mark.parametrize("amount", [1, 1999, 2001])
async def test_an_amount_that_is_not_the_checkouts_total_is_refused(
    db: Database, rows: Rows, tenant: TenantId, held: StartCheckout, amount: int
) -> None:
    with pytest.raises(Invalid) as refused:
        await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, held.checkout_id, amount=amount))
    assert refused.value.extra["errors"][0]["field"] == "amount"
    assert refused.value.extra["total"] == 2000
    assert await rows.value("SELECT count(*) FROM payment_events") == 0
    exact = await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, held.checkout_id, amount=2000))
    assert exact.amount == 2000


async def test_nothing_is_recorded_for_a_checkout_that_never_held_anything(
    db: Database, admin: shop.Connection, tenant: TenantId, product: ProductId
) -> None:
    refused = a_start(tenant, {product: 1000})
    assert (await reserve(db, refused)).status is CheckoutStatus.REFUSED
    other = await shop.make_tenant(admin)
    with pytest.raises(CheckoutRefused):
        await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, refused.checkout_id))
    for owner, checkout in ((tenant, CheckoutId(str(uuid.uuid4()))), (other, refused.checkout_id)):
        with pytest.raises(NotFound):
            await record_manual_payment(db, owner, OPERATOR, by_hand(owner, checkout))


async def test_an_order_paid_by_hand_is_refunded_by_hand_part_by_part(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    sale, payment = await a_sale_by_hand(db, tenant, {product: 2})
    gateway = ManualGateway(db)
    for amount in (500, 300, 1200):
        await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, amount))
    with pytest.raises(Conflict) as more:
        await record_returned_money(db, tenant, OPERATOR, payment.payment_id, 2001, "Back 1")
    assert more.value.extra == {"owed": 2000}

    part = await record_returned_money(db, tenant, OPERATOR, payment.payment_id, 799, "Back 1")
    assert part.refunded_amount == 799
    owed = await next_order_refund(db, tenant, sale.order)
    assert owed is not None
    assert (owed.amount, owed.before, owed.left) == (300, 500, 1), "a part of a refund is not the refund"
    seen = await gateway.fetch(tenant, payment.payment_id)
    assert seen is not None
    assert (seen.status, seen.refunded_amount) == (PaymentStatus.CAPTURED, 799)

    for _ in range(2):
        whole = await record_returned_money(db, tenant, OPERATOR, payment.payment_id, None, "Back 2")
        assert whole.refunded_amount == 2000
    assert await next_order_refund(db, tenant, sale.order) is None
    refunds = await rows.all("SELECT status, refund_id FROM order_refunds")
    assert [(one["status"], one["refund_id"]) for one in refunds] == [("refunded", RETURNED_BY_HAND)] * 3
    seen = await gateway.fetch(tenant, payment.payment_id)
    assert seen is not None
    assert (seen.status, seen.refunded_amount) == (PaymentStatus.REFUNDED, 2000)
    assert await rows.value("SELECT status FROM payments WHERE gateway = 'manual'") == "refunded"
    noted = await rows.all("SELECT before, after FROM audit_log WHERE action = 'payment.returned_by_hand' ORDER BY id")
    assert [(one["before"], one["after"]) for one in noted] == [
        ({"returned": 0}, {"returned": 799, "name": "Back 1"}),
        ({"returned": 799}, {"returned": 2000, "name": "Back 2"}),
    ]


async def test_a_payment_by_hand_that_makes_no_order_is_owed_until_an_operator_has_returned_it(
    db: Database, admin: shop.Connection, tenant: TenantId, product: ProductId
) -> None:
    start = a_start(tenant, {product: 2})
    await reserve(db, start)
    first = await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, start.checkout_id))
    await settle_by_hand(db, start, first)
    second = await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, start.checkout_id, "k2", "Transfer 2"))
    assert (await settle_by_hand(db, start, second)).ruling is Ruling.REFUND
    assert await refund_owed(db, tenant, MANUAL, second.payment_id) is not None
    for amount in (1999, None, None):
        await record_returned_money(db, tenant, OPERATOR, second.payment_id, amount, "Back")
        assert (await refund_owed(db, tenant, MANUAL, second.payment_id) is None) == (amount is None)


async def test_nothing_is_recorded_as_returned_that_was_not_decided_to_go_back(
    db: Database, admin: shop.Connection, tenant: TenantId, product: ProductId
) -> None:
    _, payment = await a_sale_by_hand(db, tenant, {product: 1})
    with pytest.raises(Conflict):
        await record_returned_money(db, tenant, OPERATOR, payment.payment_id, 1, "Back")
    assert (await record_returned_money(db, tenant, OPERATOR, payment.payment_id, None, "Back")).refunded_amount == 0
    other = await shop.make_tenant(admin)
    for owner, name in ((tenant, PaymentId("man_nothing")), (other, payment.payment_id)):
        with pytest.raises(NotFound):
            await record_returned_money(db, owner, OPERATOR, name, None, "Back")


async def test_as_a_gateway_it_starts_nothing_gives_nothing_back_by_itself_and_has_no_webhooks(
    db: Database, tenant: TenantId, product: ProductId
) -> None:
    sale, payment = await a_sale_by_hand(db, tenant, {product: 1})
    gateway, now = ManualGateway(db), datetime.now(UTC)
    assert await gateway.fetch(tenant, PaymentId("man_nothing")) is None
    assert await gateway.expire(tenant, payment.payment_id) == await gateway.fetch(tenant, payment.payment_id)
    with pytest.raises(GatewayUnavailable, match="by hand"):
        await gateway.refund(tenant, payment.payment_id, 1, "key")
    with pytest.raises(GatewayRefused):
        await gateway.start(tenant, PaymentToStart(sale.start.checkout_id, 1, "COP", "key", now, "x"))
    with pytest.raises(NotFound):
        await gateway.parse_webhook(tenant, {}, b"{}", now)
    hour = timedelta(hours=1)
    listed = [one.payment_id async for one in gateway.payments(tenant, now - hour, now + hour)]
    assert listed == [payment.payment_id]
    assert [one async for one in gateway.payments(tenant, now - 2 * hour, now - hour)] == []


async def test_all_of_many_payments_by_hand_are_listed(
    db: Database, admin: shop.Connection, tenant: TenantId, held: StartCheckout
) -> None:
    await admin.execute(
        "INSERT INTO manual_payments (tenant_id, payment_id, checkout_id, amount, currency, name, reason, actor,"
        " fingerprint) SELECT %s, 'man_' || n, %s, 1, 'COP', n::text, 'r', 'a', 'f' FROM generate_series(1, 1001) n",
        (tenant, held.checkout_id),
    )
    now = datetime.now(UTC)
    listed = [one async for one in ManualGateway(db).payments(tenant, now - timedelta(days=1), now + timedelta(days=1))]
    assert len({one.payment_id for one in listed}) == 1001


async def test_the_database_itself_refuses_more_returned_than_paid(
    db: Database, admin: shop.Connection, tenant: TenantId, product: ProductId
) -> None:
    _, payment = await a_sale_by_hand(db, tenant, {product: 1})
    with pytest.raises(psycopg.errors.CheckViolation, match="manual_payments_refunded_within_amount"):
        await admin.execute("UPDATE manual_payments SET refunded_amount = amount + 1")
    assert (await read_manual_payment(db, tenant, payment.payment_id)) == payment


def test_a_payments_id_tells_nothing_and_is_the_same_for_the_same_key() -> None:
    tenant, checkout = TenantId("t"), CheckoutId("00000000-0000-4000-8000-000000000000")
    ids = {by_hand(tenant, checkout, key).payment_id for key in ("a", "b", "a")}
    assert len(ids) == 2
    assert all(len(one) == 28 for one in ids)
    assert manual_payment_id_for(TenantId("u"), checkout, "a") not in ids
