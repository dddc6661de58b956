"""What administrators may do to a product that is held or sold, on real PostgreSQL."""

from __future__ import annotations

import pytest

from db.catalogue import find_product
from db.catalogue_admin import ProductChanges, change_product, delete_product
from db.database import Database
from db.inbox import record_event
from db.settle import settle
from domain.errors import NotFound, ProductHeld, TotalBelowCommitted
from domain.ids import TenantId
from tests.support import shop
from tests.support.catalogue import ADMIN, audit, hold, sell
from tests.support.checkouts import Rows, a_capture, an_event, cancel, confirm


async def test_a_total_may_fall_to_what_is_reserved_and_sold_and_not_below(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=10)
    await hold(db, tenant, product, 2)
    await sell(db, tenant, product, 3)
    with pytest.raises(TotalBelowCommitted) as refused:
        await change_product(db, tenant, ADMIN, product, ProductChanges(stock_total=4, price=5))
    assert refused.value.extra == {"reserved": 2, "sold": 3}
    assert await rows.stock(tenant, product) == (5, 2, 3)
    lowered = await change_product(db, tenant, ADMIN, product, ProductChanges(stock_total=5))
    assert (lowered.total, lowered.free, lowered.price) == (5, 0, 1000)
    await change_product(db, tenant, ADMIN, product, ProductChanges(stock_total=2**31 - 1))


async def test_an_overdue_hold_keeps_no_total_up(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=10)
    overdue, live = await hold(db, tenant, product, 4), await hold(db, tenant, product, 1)
    await rows.end_now(overdue.ref)
    lowered = await change_product(db, tenant, ADMIN, product, ProductChanges(stock_total=1))
    assert (lowered.total, lowered.reserved, lowered.free) == (1, 1, 0)
    assert (await rows.checkout(overdue.ref))["status"] == "expired"
    assert (await rows.checkout(live.ref))["status"] == "held"


async def test_an_overdue_hold_that_was_paid_in_time_is_sold_and_keeps_the_total_up(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=10)
    start = await hold(db, tenant, product, 4)
    await record_event(db, tenant, an_event(a_capture(start.checkout_id, 4000)), b"{}")
    await rows.end_now(start.ref)
    with pytest.raises(TotalBelowCommitted) as refused:
        await change_product(db, tenant, ADMIN, product, ProductChanges(stock_total=3))
    assert refused.value.extra == {"reserved": 0, "sold": 4}
    assert (await rows.checkout(start.ref))["status"] == "confirmed"


async def test_a_new_price_leaves_live_holds_at_theirs(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, price=1000)
    held = await hold(db, tenant, product, 2)
    await change_product(db, tenant, ADMIN, product, ProductChanges(price=9000))
    await settle(db, confirm(held.ref, a_capture(held.checkout_id, 2000)))
    assert (await rows.checkout(held.ref))["total"] == 2000
    assert await rows.value("SELECT unit_price FROM order_lines") == 1000
    later = await hold(db, tenant, product, 1)
    assert (await rows.checkout(later.ref))["total"] == 9000


async def test_a_product_is_deleted_and_its_stock_item_has_nothing_left_to_reserve(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=10)
    await sell(db, tenant, product, 3)
    await delete_product(db, tenant, ADMIN, product)
    assert await find_product(db, tenant, product) is None
    assert await rows.all("SELECT total, reserved, sold FROM stock_items") == [{"total": 3, "reserved": 0, "sold": 3}]
    assert await rows.value("SELECT name FROM order_lines") == "Coffee"
    [(action, subject, before, after)] = await audit(rows, tenant)
    assert (action, subject, after) == ("product.deleted", f"product:{product}", None)
    assert (before["name"], before["price"], before["stock_total"]) == ("Coffee", 1000, 10)


async def test_a_held_product_cannot_be_deleted_until_its_holds_are_over(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant, stock=10)
    overdue, live = await hold(db, tenant, product, 4), await hold(db, tenant, product, 2)
    await rows.end_now(overdue.ref)
    with pytest.raises(ProductHeld) as refused:
        await delete_product(db, tenant, ADMIN, product)
    assert refused.value.extra == {"reserved": 2}
    assert await rows.stock(tenant, product) == (8, 2, 0)
    await settle(db, cancel(live.ref))
    await delete_product(db, tenant, ADMIN, product)
    with pytest.raises(NotFound):
        await delete_product(db, tenant, ADMIN, product)
    assert len(await audit(rows, tenant)) == 1
