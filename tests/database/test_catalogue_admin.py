"""Creating, changing and deleting products, on real PostgreSQL."""

from __future__ import annotations

import pytest

from db.catalogue import Product, find_product
from db.catalogue_admin import NewProduct, ProductChanges, change_product, create_product, delete_product
from db.database import Database
from domain.errors import Invalid, NotFound, ProductExists
from domain.ids import ProductId, TenantId
from tests.support import shop
from tests.support.catalogue import ADMIN, audit
from tests.support.checkouts import Rows


async def test_a_product_is_created_with_its_stock_and_an_audit_row(
    db: Database, rows: Rows, admin: shop.Connection
) -> None:
    tenant = await shop.make_tenant(admin, currency="EUR")
    new = NewProduct("Mug", 2000, 1500, "Blue.", available=False, one_per_cart=True, stock_total=7, id=ProductId(38))
    made = await create_product(db, tenant, ADMIN, new)
    assert made == Product(
        ProductId(38), "Mug", "Blue.", "EUR", 2000, 1500, False, 7, 0, 0, one_per_cart=True, updated_at=made.updated_at
    )
    assert await find_product(db, tenant, ProductId(38)) == made
    after = {"name": "Mug", "price": 2000, "offer_price": 1500, "description": "Blue.", "available": False}
    after |= {"one_per_cart": True, "stock_total": 7, "tax_class": None}
    assert await audit(rows, tenant) == [("product.created", "product:38", None, after)]


async def test_a_taken_id_is_refused_and_nothing_is_written(db: Database, rows: Rows, tenant: TenantId) -> None:
    await create_product(db, tenant, ADMIN, NewProduct("Mug", 2000, id=ProductId(5)))
    with pytest.raises(ProductExists):
        await create_product(db, tenant, ADMIN, NewProduct("Another", 3000, id=ProductId(5)))
    assert await rows.value("SELECT count(*) FROM stock_items") == 1
    assert len(await audit(rows, tenant)) == 1


async def test_without_an_id_the_next_free_number_is_given_and_never_a_deleted_ones(
    db: Database, tenant: TenantId
) -> None:
    async def made(chosen: int | None = None) -> ProductId:
        new = NewProduct("Mug", 1, id=None if chosen is None else ProductId(chosen))
        return (await create_product(db, tenant, ADMIN, new)).id

    assert [await made(), await made(), await made(10), await made()] == [1, 2, 10, 11]
    await delete_product(db, tenant, ADMIN, ProductId(11))
    await delete_product(db, tenant, ADMIN, ProductId(1))
    assert await made() == 12
    assert await made(11) == 11, "who chooses a deleted one's id gets it"


async def test_numbers_of_one_tenant_say_nothing_of_another(db: Database, admin: shop.Connection) -> None:
    one, other = await shop.make_tenant(admin), await shop.make_tenant(admin)
    await create_product(db, one, ADMIN, NewProduct("Mug", 1, id=ProductId(500)))
    assert (await create_product(db, other, ADMIN, NewProduct("Mug", 1))).id == 1


async def test_an_import_with_the_largest_id_leaves_numbers_for_others(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant)
    await admin.execute("UPDATE products SET id = 9223372036854775807 WHERE id = %s", (product,))
    assert (await create_product(db, tenant, ADMIN, NewProduct("Mug", 1))).id == 1


async def test_a_tenant_that_is_not_there_is_not_found(db: Database) -> None:
    with pytest.raises(NotFound):
        await create_product(db, TenantId("nowhere"), ADMIN, NewProduct("Mug", 1))


async def test_only_what_differs_is_changed_and_audited(db: Database, rows: Rows, tenant: TenantId) -> None:
    made = await create_product(db, tenant, ADMIN, NewProduct("Mug", 2000, 1500, stock_total=7))
    changes = ProductChanges(name="Cup", price=2000, offer_price=None, stock_total=9)
    changed = await change_product(db, tenant, ADMIN, made.id, changes)
    assert (changed.name, changed.price, changed.offer_price, changed.total) == ("Cup", 2000, None, 9)
    assert changed.updated_at > made.updated_at
    before = {"name": "Mug", "offer_price": 1500, "stock_total": 7}
    after = {"name": "Cup", "offer_price": None, "stock_total": 9}
    assert (await audit(rows, tenant))[1:] == [("product.changed", f"product:{made.id}", before, after)]


@pytest.mark.parametrize("changes", [ProductChanges(), ProductChanges(name="Mug", price=2000, stock_total=7)])
async def test_a_change_that_changes_nothing_leaves_no_trace(
    db: Database, rows: Rows, tenant: TenantId, changes: ProductChanges
) -> None:
    made = await create_product(db, tenant, ADMIN, NewProduct("Mug", 2000, stock_total=7))
    assert await change_product(db, tenant, ADMIN, made.id, changes) == made
    assert len(await audit(rows, tenant)) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (ProductChanges(offer_price=2000), "offer_price"),
        (ProductChanges(offer_price=0), "offer_price"),
        (ProductChanges(price=1500), "price"),
        (ProductChanges(price=0), "price"),
        (ProductChanges(price=100, offer_price=100), "offer_price"),
    ],
)
async def test_an_offer_that_takes_nothing_off_is_refused_naming_the_field_that_was_sent(
    db: Database, rows: Rows, tenant: TenantId, changes: ProductChanges, field: str
) -> None:
    made = await create_product(db, tenant, ADMIN, NewProduct("Mug", 2000, 1500))
    with pytest.raises(Invalid) as refused:
        await change_product(db, tenant, ADMIN, made.id, {**changes, "name": "Cup"})
    assert [error["field"] for error in refused.value.extra["errors"]] == [field]
    assert await find_product(db, tenant, made.id) == made
    assert len(await audit(rows, tenant)) == 1


async def test_price_and_offer_may_change_together(db: Database, tenant: TenantId) -> None:
    made = await create_product(db, tenant, ADMIN, NewProduct("Mug", 2000, 1500))
    changed = await change_product(db, tenant, ADMIN, made.id, ProductChanges(price=1500, offer_price=None))
    assert (changed.price, changed.offer_price) == (1500, None)
    with pytest.raises(Invalid):
        await create_product(db, tenant, ADMIN, NewProduct("Cup", 1000, 1000))


@pytest.mark.parametrize("of", ["nobody", "another"])
async def test_what_is_not_the_tenants_is_not_found(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, of: str
) -> None:
    owner = await shop.make_tenant(admin)
    product = await shop.make_product(admin, owner) if of == "another" else ProductId(99)
    with pytest.raises(NotFound):
        await change_product(db, tenant, ADMIN, product, ProductChanges(name="Mine"))
    with pytest.raises(NotFound):
        await delete_product(db, tenant, ADMIN, product)
    assert await audit(rows, tenant) == await audit(rows, owner) == []
