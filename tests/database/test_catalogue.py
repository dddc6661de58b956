"""Reading products, on real PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from db.catalogue import Product, find_product, list_products
from db.database import Database
from domain.errors import MissingTenant
from domain.ids import ProductId, TenantId
from tests.support import shop


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, size=2)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[shop.Connection]:
    async with shop.connect(database_url) as connection:
        yield connection


async def hold(admin: shop.Connection, tenant: TenantId, product: ProductId, quantity: int, ends_in: float) -> None:
    """A hold of `quantity` units that ends `ends_in` seconds from now, straight into the tables."""
    checkout = uuid.uuid4()
    await admin.execute(
        """
        INSERT INTO checkouts (tenant_id, id, buyer_key, fingerprint, status, currency,
            hold_seconds, extension_seconds, maximum_seconds, held_at, expires_at)
        VALUES (%s, %s, 'user:1', '', 'held', 'COP', 900, 900, 3600,
            clock_timestamp() - interval '1 hour', clock_timestamp() + make_interval(secs => %s))
        """,
        (tenant, checkout, ends_in),
    )
    await admin.execute(
        """
        WITH item AS (
            UPDATE stock_items s SET reserved = reserved + %(quantity)s FROM products p
            WHERE p.tenant_id = %(tenant)s AND p.id = %(product)s AND s.tenant_id = p.tenant_id
                AND s.id = p.stock_item_id RETURNING s.id
        )
        INSERT INTO checkout_lines (tenant_id, checkout_id, position, stock_item_id, product_id, quantity,
            list_price, unit_price, locked_at, expires_at)
        SELECT tenant_id, c.id, 0, item.id, %(product)s, %(quantity)s, 1000, 1000, held_at, expires_at
        FROM checkouts c, item WHERE c.id = %(checkout)s
        """,
        {"tenant": tenant, "product": product, "quantity": quantity, "checkout": checkout},
    )


async def found(db: Database, tenant: TenantId, product: ProductId) -> Product:
    read = await find_product(db, tenant, product)
    assert read is not None
    return read


async def test_a_product_is_read_with_its_stock(db: Database, admin: shop.Connection) -> None:
    tenant = await shop.make_tenant(admin, currency="EUR")
    product = await shop.make_product(admin, tenant, stock=7, price=2000, offer_price=1500, available=False, name="Mug")
    await admin.execute("UPDATE stock_items SET sold = 2")
    read = await found(db, tenant, product)
    assert read == Product(product, "Mug", "", "EUR", 2000, 1500, False, total=7, reserved=0, sold=2)
    assert read.free == 5


async def test_a_live_hold_counts_and_an_overdue_one_shows_as_free(db: Database, admin: shop.Connection) -> None:
    tenant = await shop.make_tenant(admin)
    product, other = await shop.make_product(admin, tenant), await shop.make_product(admin, tenant)
    await hold(admin, tenant, product, 3, ends_in=60)
    await hold(admin, tenant, product, 2, ends_in=-1)
    await hold(admin, tenant, other, 10, ends_in=-0.001)
    assert [(row.reserved, row.free) for row in await list_products(db, tenant, ProductId(0), 9)] == [(3, 7), (0, 10)]
    assert (await found(db, tenant, product)).free == 7


async def test_a_line_that_was_given_back_or_sold_is_not_freed_again(db: Database, admin: shop.Connection) -> None:
    tenant = await shop.make_tenant(admin)
    product = await shop.make_product(admin, tenant)
    await hold(admin, tenant, product, 4, ends_in=-1)
    await admin.execute("UPDATE checkout_lines SET status = 'released'")
    await admin.execute("UPDATE stock_items SET reserved = 0")
    await hold(admin, tenant, product, 2, ends_in=-1)
    await admin.execute("UPDATE checkout_lines SET status = 'sold' WHERE status = 'held'")
    await admin.execute("UPDATE stock_items SET reserved = 0, sold = 2")
    read = await found(db, tenant, product)
    assert (read.reserved, read.sold, read.free) == (0, 2, 8)


async def test_pages_follow_each_other_without_gap_or_repeat(db: Database, admin: shop.Connection) -> None:
    tenant = await shop.make_tenant(admin)
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


async def test_the_largest_ids_are_only_not_found(db: Database, admin: shop.Connection) -> None:
    tenant = await shop.make_tenant(admin)
    assert await find_product(db, tenant, ProductId(2**63 - 1)) is None
    assert await list_products(db, tenant, ProductId(2**63 - 1), 100) == []


@pytest.mark.parametrize("tenant", ["", " "])
async def test_reading_without_a_tenant_fails_loudly(db: Database, tenant: str) -> None:
    with pytest.raises(MissingTenant):
        await list_products(db, TenantId(tenant), ProductId(0), 1)
    with pytest.raises(MissingTenant):
        await find_product(db, TenantId(tenant), ProductId(1))
