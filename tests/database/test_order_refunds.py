"""Refunds of orders in the database: never more than the order, however many operators ask at once."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter

import psycopg
import pytest

from db.database import Database
from db.order_refunds import decide_order_refund, next_order_refund, order_refund_made, order_refunds_owed
from db.orders import read_order
from domain.errors import IdempotencyKeyReused, NotFound, RefundExceedsOrder
from domain.ids import OrderId, ProductId, TenantId
from domain.refund_messages import OrderRefundStatus
from tests.support import shop
from tests.support.checkouts import Rows, opened
from tests.support.sales import OPERATOR, Sale, a_refund, a_sale

PARALLEL = 20


@pytest.fixture
async def product(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=100, price=1000)


@pytest.fixture
async def sale(db: Database, tenant: TenantId, product: ProductId) -> Sale:
    """Two units, sold for 2000."""
    return await a_sale(db, tenant, {product: 2})


async def test_a_refund_is_stored_with_its_audit_row_and_shows_in_the_order(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId, sale: Sale
) -> None:
    decided = await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, 500))
    assert (decided.amount, decided.currency, decided.status) == (500, "COP", OrderRefundStatus.INTENDED)
    assert (decided.gateway, decided.payment_id) == (sale.capture.gateway, sale.capture.payment_id)
    view = await read_order(db, tenant, sale.order, buyer=None)
    assert view is not None
    assert (view.row["refunded"], [one["amount"] for one in view.refunds]) == (500, [500])
    assert await rows.stock(tenant, product) == (98, 0, 2), "the stock stays sold"
    [noted] = await rows.all("SELECT * FROM audit_log WHERE action = 'order.refund_decided'")
    assert (noted["actor"], noted["subject"]) == (OPERATOR, f"order:{sale.order}")
    assert (noted["before"], noted["after"]) == (
        {"refunded": 0},
        {"refunded": 500, "refund_id": decided.id, "amount": 500},
    )


async def test_without_an_amount_all_that_is_left_is_refunded(db: Database, tenant: TenantId, sale: Sale) -> None:
    await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, 700))
    rest = await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order))
    assert rest.amount == 1300
    with pytest.raises(RefundExceedsOrder) as refused:
        await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order))
    assert refused.value.extra == {"left": 0}


async def test_more_than_is_left_is_refused_saying_what_is_left(
    db: Database, rows: Rows, tenant: TenantId, sale: Sale
) -> None:
    await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, 1500))
    with pytest.raises(RefundExceedsOrder) as refused:
        await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, 501))
    assert refused.value.extra == {"left": 500}
    assert await rows.value("SELECT count(*) FROM order_refunds") == 1
    assert await rows.value("SELECT count(*) FROM audit_log WHERE action = 'order.refund_decided'") == 1


async def test_a_repeat_finds_the_first_ones_refund_and_another_body_is_refused(
    db: Database, rows: Rows, tenant: TenantId, sale: Sale
) -> None:
    first = await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, key="k"))
    await order_refund_made(db, tenant, first.id, "ref_1")
    again = await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, key="k"))
    assert (again.id, again.amount, again.status) == (first.id, 2000, OrderRefundStatus.REFUNDED)
    assert await rows.value("SELECT refunded FROM orders") == 2000
    with pytest.raises(IdempotencyKeyReused):
        await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, 1, key="k", fingerprint="g"))


async def test_an_order_that_is_not_there_or_anothers_is_not_found(
    db: Database, admin: shop.Connection, tenant: TenantId, sale: Sale
) -> None:
    other = await shop.make_tenant(admin)
    for owner, order in ((tenant, OrderId(str(uuid.uuid4()))), (other, sale.order)):
        with pytest.raises(NotFound):
            await decide_order_refund(db, owner, OPERATOR, a_refund(owner, order, 1))


@pytest.mark.parametrize("amount", [100, 150, 300, 2000])
async def test_many_operators_at_once_never_refund_more_than_the_order(
    database_url: str, rows: Rows, tenant: TenantId, sale: Sale, amount: int
) -> None:
    async def one(db: Database) -> str:
        try:
            await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, amount))
        except RefundExceedsOrder:
            return "refused"
        return "decided"

    async with opened(database_url, size=PARALLEL) as db:
        outcomes = Counter(await asyncio.gather(*(one(db) for _ in range(PARALLEL))))
    fit = min(PARALLEL, 2000 // amount)
    assert outcomes == Counter(decided=fit, refused=PARALLEL - fit)
    assert await rows.value("SELECT refunded FROM orders") == fit * amount
    assert await rows.value("SELECT sum(amount) FROM order_refunds") == fit * amount


async def test_the_same_request_many_times_at_once_is_one_refund(
    database_url: str, rows: Rows, tenant: TenantId, sale: Sale
) -> None:
    async with opened(database_url, size=PARALLEL) as db:
        decided = await asyncio.gather(
            *(decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, 150, key="k")) for _ in range(20))
        )
    assert len({one.id for one in decided}) == 1
    assert await rows.value("SELECT refunded FROM orders") == 150


async def test_refunds_are_made_in_the_order_in_which_they_were_decided(
    db: Database, tenant: TenantId, sale: Sale
) -> None:
    decided = [
        await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, amount))
        for amount in (300, 200, 5)
    ]
    seen = []
    while owed := await next_order_refund(db, tenant, sale.order):
        seen.append((owed.id, owed.amount, owed.before, owed.left))
        for _ in range(2):
            await order_refund_made(db, tenant, owed.id, f"ref_{owed.amount}")
    assert seen == [(decided[0].id, 300, 0, 2), (decided[1].id, 200, 300, 1), (decided[2].id, 5, 500, 0)]
    view = await read_order(db, tenant, sale.order, buyer=None)
    assert view is not None
    assert {one["status"] for one in view.refunds} == {"refunded"}


async def test_orders_with_refunds_that_wait_too_long_are_found_once_each(
    db: Database, admin: shop.Connection, tenant: TenantId, product: ProductId, sale: Sale
) -> None:
    young = await a_sale(db, tenant, {product: 1})
    for amount in (1, 2):
        await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, amount))
    await admin.execute("UPDATE order_refunds SET decided_at = decided_at - interval '1 hour'")
    await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, young.order, 1))
    assert await order_refunds_owed(db, tenant, older_than_seconds=60) == [sale.order]
    assert await order_refunds_owed(db, tenant, older_than_seconds=0) == [sale.order, young.order]
    while owed := await next_order_refund(db, tenant, sale.order):
        await order_refund_made(db, tenant, owed.id, "ref")
    assert await order_refunds_owed(db, tenant, older_than_seconds=60) == []


async def test_the_database_itself_refuses_an_order_refunded_beyond_its_total(
    admin: shop.Connection, sale: Sale
) -> None:
    for beyond in (2001, -1):
        with pytest.raises(psycopg.errors.CheckViolation, match="orders_refunded_within_total"):
            await admin.execute("UPDATE orders SET refunded = %s", (beyond,))
