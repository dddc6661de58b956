"""Reading products, on real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from db.catalogue import Product, find_product, list_products
from db.database import Database
from db.reserve import reserve
from db.settle import settle
from domain.errors import MissingTenant
from domain.ids import ProductId, TenantId
from domain.messages import CheckoutRef
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, cancel, confirm


async def hold(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId, *, ended_ago: float = -60
) -> CheckoutRef:
    """A hold of 3 units that ended so many seconds ago, or, below 0, ends then."""
    start = a_start(tenant, {product: 3})
    await reserve(db, start)
    await rows.end_now(start.ref, ago=ended_ago)
    return start.ref


async def found(db: Database, tenant: TenantId, product: ProductId) -> Product:
    read = await find_product(db, tenant, product)
    assert read is not None
    return read


async def test_a_product_is_read_with_its_stock(db: Database, admin: shop.Connection) -> None:
    tenant = await shop.make_tenant(admin, currency="EUR")
    product = await shop.make_product(admin, tenant, stock=7, price=2000, offer_price=1500, available=False, name="Mug")
    read = await found(db, tenant, product)
    assert datetime.now(UTC) - read.updated_at < timedelta(minutes=1)
    assert read == Product(
        product, "Mug", "", "EUR", 2000, 1500, False, 7, 0, 0, one_per_cart=False, updated_at=read.updated_at
    )
    assert read.free == 7


async def test_a_live_hold_counts_and_an_overdue_one_shows_as_free(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product, other = await shop.make_product(admin, tenant), await shop.make_product(admin, tenant)
    await hold(db, rows, tenant, product)
    await hold(db, rows, tenant, product, ended_ago=1)
    await hold(db, rows, tenant, other, ended_ago=0)
    assert await rows.stock(tenant, product) == (4, 6, 0), "nobody has given the overdue units back"
    assert [(row.reserved, row.free) for row in await list_products(db, tenant, ProductId(0), 9)] == [(3, 7), (0, 10)]
    assert (await found(db, tenant, product)).free == 7


async def test_units_given_back_or_sold_are_not_freed_again_when_their_hold_would_have_ended(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant)
    returned, sold = await hold(db, rows, tenant, product), await hold(db, rows, tenant, product)
    await settle(db, cancel(returned))
    await settle(db, confirm(sold, a_capture(sold.checkout_id, 3000)))
    await admin.execute("UPDATE checkout_lines SET expires_at = clock_timestamp() - interval '1 minute'")
    read = await found(db, tenant, product)
    assert (read.reserved, read.sold, read.free) == (0, 3, 7)


async def test_pages_follow_each_other_without_gap_or_repeat(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    made = [await shop.make_product(admin, tenant) for _ in range(7)]
    seen: list[ProductId] = []
    while page := await list_products(db, tenant, seen[-1] if seen else ProductId(0), 3):
        assert len(page) <= 3
        seen += [row.id for row in page]
    assert seen == made


async def test_a_tenant_sees_its_own_products_only(db: Database, admin: shop.Connection) -> None:
    mine, theirs = await shop.make_tenant(admin), await shop.make_tenant(admin)
    product = await shop.make_product(admin, theirs)
    assert await find_product(db, mine, product) is None
    assert await list_products(db, mine, ProductId(0), 100) == []
    assert (await found(db, theirs, product)).id == product


async def test_the_largest_ids_are_only_not_found(db: Database, tenant: TenantId) -> None:
    assert await find_product(db, tenant, ProductId(2**63 - 1)) is None
    assert await list_products(db, tenant, ProductId(2**63 - 1), 100) == []


@pytest.mark.parametrize("nobody", ["", " "])
async def test_reading_without_a_tenant_fails_loudly(db: Database, nobody: str) -> None:
    with pytest.raises(MissingTenant):
        await list_products(db, TenantId(nobody), ProductId(0), 1)
    with pytest.raises(MissingTenant):
        await find_product(db, TenantId(nobody), ProductId(1))
