"""Carts for administrators: the status of one, the cleaning of all, and the audit log."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from db.audit_reading import AuditFilter, read_audit
from db.cart_admin import cart_state, set_status
from db.cart_cleaning import PAGE, Cleaned, clean_carts
from db.carts import read_cart, set_quantities
from db.database import Database
from db.reserve import reserve
from domain.cart import CartStatus, NoticeReason
from domain.checkout import CheckoutStatus
from domain.errors import CartProcessing, NotFound
from domain.ids import Actor, BuyerKey, CartId, ProductId, TenantId
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_start

ADMIN = Actor("user:admin")
ANA = "ana@example.com"


@pytest.fixture
async def coffee(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=1000, price=1000)


@pytest.fixture
async def ana(admin: shop.Connection, tenant: TenantId) -> BuyerKey:
    return BuyerKey(f"user:{await shop.make_user(admin, tenant)}")


@pytest.fixture
async def cart(admin: shop.Connection, tenant: TenantId, ana: BuyerKey, coffee: ProductId) -> CartId:
    """Ana's, with two coffees."""
    return await shop.make_cart(admin, tenant, ana, {coffee: 2})


def from_cart(tenant: TenantId, owner: BuyerKey) -> StartCheckout:
    return replace(a_start(tenant, {}, buyer=owner), from_cart=True)


async def audited(rows: Rows) -> list[tuple[str, str, str, Any, Any]]:
    found = await rows.all("SELECT actor, action, subject, before, after FROM audit_log ORDER BY id")
    return [(row["actor"], row["action"], row["subject"], row["before"], row["after"]) for row in found]


async def test_a_status_is_set_by_the_owners_email_whatever_its_case_and_audited(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId
) -> None:
    done = await set_status(db, tenant, ADMIN, "ANA@Example.com", CartStatus.PROCESSING)
    assert (done.cart_id, done.status, done.before) == (cart, CartStatus.PROCESSING, CartStatus.AVAILABLE)
    assert (await cart_state(db, tenant, ANA)).status is CartStatus.PROCESSING
    await set_status(db, tenant, ADMIN, ANA, CartStatus.PROCESSING)
    await set_status(db, tenant, ADMIN, ANA, CartStatus.AVAILABLE)
    state = await cart_state(db, tenant, ANA)
    assert (state.cart_id, state.status, state.checkout_id, state.lines) == (cart, CartStatus.AVAILABLE, None, 1)
    available, processing = {"status": "available"}, {"status": "processing"}
    assert await audited(rows) == [
        (ADMIN, "cart.status_set", f"cart:{cart}", available, processing),
        (ADMIN, "cart.status_set", f"cart:{cart}", processing, available),
    ]


async def test_an_unknown_email_a_user_without_a_cart_and_another_tenants_user_are_not_found(
    db: Database, admin: shop.Connection, tenant: TenantId, cart: CartId
) -> None:
    await shop.make_user(admin, tenant, "luis")
    other = await shop.make_tenant(admin)
    for where, email in ((tenant, "nobody@example.com"), (tenant, "luis@example.com"), (other, ANA)):
        with pytest.raises(NotFound):
            await set_status(db, where, ADMIN, email, CartStatus.PROCESSING)
        with pytest.raises(NotFound):
            await cart_state(db, where, email)


async def test_a_cart_that_a_live_checkout_holds_is_not_freed_and_one_whose_hold_is_over_is(
    db: Database, rows: Rows, tenant: TenantId, ana: BuyerKey, cart: CartId, coffee: ProductId
) -> None:
    start = from_cart(tenant, ana)
    await reserve(db, start)
    with pytest.raises(CartProcessing) as caught:
        await set_status(db, tenant, ADMIN, ANA, CartStatus.AVAILABLE)
    assert caught.value.extra["checkout_id"] == start.checkout_id
    assert (await cart_state(db, tenant, ANA)).checkout_id == start.checkout_id
    await rows.end_now(start.ref)
    assert (await set_status(db, tenant, ADMIN, ANA, CartStatus.AVAILABLE)).status is CartStatus.AVAILABLE
    assert (await rows.checkout(start.ref))["status"] == CheckoutStatus.EXPIRED
    assert await rows.stock(tenant, coffee) == (1000, 0, 0)


async def test_setting_to_processing_leaves_a_live_hold_as_it_is(
    db: Database, rows: Rows, tenant: TenantId, ana: BuyerKey, cart: CartId
) -> None:
    start = from_cart(tenant, ana)
    await reserve(db, start)
    await set_status(db, tenant, ADMIN, ANA, CartStatus.PROCESSING)
    assert (await cart_state(db, tenant, ANA)).checkout_id == start.checkout_id


async def bad_products(admin: shop.Connection, tenant: TenantId) -> dict[ProductId, NoticeReason]:
    """One for each way of being invalid."""
    gone, off, free_of_charge, sold_out = [await shop.make_product(admin, tenant) for _ in range(4)]
    await admin.execute("DELETE FROM products WHERE tenant_id = %s AND id = %s", (tenant, gone))
    await admin.execute("UPDATE products SET available = false WHERE tenant_id = %s AND id = %s", (tenant, off))
    await admin.execute("UPDATE products SET price = 0 WHERE tenant_id = %s AND id = %s", (tenant, free_of_charge))
    await admin.execute(
        "UPDATE stock_items SET total = 0 WHERE id = (SELECT stock_item_id FROM products"
        " WHERE tenant_id = %s AND id = %s)",
        (tenant, sold_out),
    )
    return {
        gone: NoticeReason.GONE,
        off: NoticeReason.UNAVAILABLE,
        free_of_charge: NoticeReason.NO_PRICE,
        sold_out: NoticeReason.SOLD_OUT,
    }


async def test_cleaning_removes_invalid_products_from_all_available_carts_and_counts_them(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, coffee: ProductId
) -> None:
    bad = await bad_products(admin, tenant)
    good, mixed, processing = (BuyerKey(f"user:{name}") for name in ("good", "mixed", "processing"))
    await shop.make_cart(admin, tenant, good, {coffee: 2000})
    dirty = await shop.make_cart(admin, tenant, mixed, {coffee: 1, **dict.fromkeys(bad, 3)})
    held = await shop.make_cart(admin, tenant, processing, dict.fromkeys(bad, 1))
    await admin.execute("UPDATE carts SET status = 'processing' WHERE id = %s", (held,))
    other = await shop.make_tenant(admin)
    await shop.make_cart(admin, other, mixed, {ProductId(99): 1})

    cleaned = await clean_carts(db, tenant, ADMIN)
    assert (cleaned.carts, cleaned.lines) == (1, 4)
    assert cleaned.reasons == dict.fromkeys(bad.values(), 1)
    assert (await read_cart(db, tenant, mixed)).lines == {coffee: 1}
    assert await rows.value("SELECT count(*) FROM cart_lines WHERE cart_id = %s", held) == 4
    assert await rows.value("SELECT count(*) FROM cart_lines WHERE tenant_id = %s", other) == 1
    assert await audited(rows) == [
        (
            ADMIN,
            "cart.cleaned",
            f"cart:{dirty}",
            {"lines": {str(product): 3 for product in bad}},
            {
                "lines": {str(product): 0 for product in bad},
                "reasons": {str(product): reason.value for product, reason in bad.items()},
            },
        )
    ]
    assert await clean_carts(db, tenant, ADMIN) == Cleaned()
    assert len(await audited(rows)) == 1


async def test_a_quantity_above_the_stock_is_left_for_the_owner_to_be_told(
    db: Database, admin: shop.Connection, tenant: TenantId, ana: BuyerKey, coffee: ProductId
) -> None:
    await shop.make_cart(admin, tenant, ana, {coffee: 2000})
    assert (await clean_carts(db, tenant, ADMIN)).carts == 0
    [notice] = (await read_cart(db, tenant, ana)).notices
    assert (notice.reason, notice.before, notice.after) == (NoticeReason.REDUCED, 2000, 1000)


async def test_units_of_an_overdue_hold_are_no_reason_to_remove_a_line(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId, coffee: ProductId
) -> None:
    start = a_start(tenant, {coffee: 1000}, buyer=BuyerKey("user:other"))
    await reserve(db, start)
    await rows.end_now(start.ref)
    assert (await clean_carts(db, tenant, ADMIN)).carts == 0


async def test_more_carts_than_one_page_are_all_cleaned(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId
) -> None:
    carts = 2 * PAGE + 7
    await admin.execute(
        "WITH made AS (INSERT INTO carts (tenant_id, owner_key) SELECT %(tenant)s, 'user:' || n"
        " FROM generate_series(1, %(carts)s) n RETURNING id)"
        " INSERT INTO cart_lines (tenant_id, cart_id, product_id, quantity)"
        " SELECT %(tenant)s, id, product, 1 FROM made, generate_series(501, 503) product",
        {"tenant": tenant, "carts": carts},
    )
    cleaned = await clean_carts(db, tenant, ADMIN)
    assert (cleaned.carts, cleaned.lines) == (carts, 3 * carts)
    assert await rows.value("SELECT count(*) FROM cart_lines") == 0
    assert await rows.value("SELECT count(DISTINCT subject) FROM audit_log") == carts


async def test_a_cart_in_use_is_waited_for_at_the_end_and_holds_up_no_other(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, ana: BuyerKey, cart: CartId, coffee: ProductId
) -> None:
    bad, luis = ProductId(77), BuyerKey("user:luis")
    await admin.execute("UPDATE cart_lines SET product_id = %s", (bad,))
    await shop.make_cart(admin, tenant, luis, {bad: 1})
    async with admin.transaction():
        await admin.execute("SELECT FROM carts WHERE id = %s FOR UPDATE", (cart,))
        cleaning = asyncio.create_task(clean_carts(db, tenant, ADMIN))
        await rows.until_somebody_waits_for_a_lock()
        # The others are done already: this one is free to change.
        assert (await set_quantities(db, tenant, luis, {coffee: 1})).lines == {coffee: 1}
    assert (await cleaning).carts == 2
    assert (await read_cart(db, tenant, ana)).lines == {}


async def make_entries(db: Database, tenant: TenantId, product: ProductId, owners: list[BuyerKey]) -> None:
    for quantity in range(1, 6):
        for owner in owners:
            await set_quantities(db, tenant, owner, {product: quantity})


async def test_the_audit_log_is_read_by_cart_by_actor_by_time_and_in_pages(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, coffee: ProductId
) -> None:
    ana, luis = BuyerKey("user:ana"), BuyerKey("user:luis")
    await make_entries(db, tenant, coffee, [ana, luis])
    other = await shop.make_tenant(admin)
    await make_entries(db, other, await shop.make_product(admin, other), [ana])
    anas = (await read_cart(db, tenant, ana)).id
    assert anas is not None

    every = await read_audit(db, tenant, AuditFilter(), limit=100)
    assert len(every) == 10
    assert [entry.id for entry in every] == sorted((entry.id for entry in every), reverse=True)
    of_cart = await read_audit(db, tenant, AuditFilter(cart=anas), limit=100)
    assert {entry.subject for entry in of_cart} == {f"cart:{anas}"}
    assert [entry.after["lines"]["1"] for entry in of_cart] == [5, 4, 3, 2, 1]
    assert await read_audit(db, tenant, AuditFilter(actor=Actor(ana)), limit=100) == of_cart
    assert await read_audit(db, tenant, AuditFilter(cart=anas, actor=Actor(luis)), limit=100) == []

    middle = every[4].at
    assert await read_audit(db, tenant, AuditFilter(since=middle), limit=100) == every[:5]
    assert await read_audit(db, tenant, AuditFilter(until=middle), limit=100) == every[5:]
    assert await read_audit(db, tenant, AuditFilter(since=middle + timedelta(days=1)), limit=100) == []

    pages, before = [], None
    while page := await read_audit(db, tenant, AuditFilter(), limit=3, before=before):
        pages.append(len(page))
        before = (page[-1].at, page[-1].id)
    assert pages == [3, 3, 3, 1]


@pytest.mark.parametrize("first", ["the change", "the cleaning"])
async def test_a_cleaning_and_a_change_at_once_lose_nothing_in_either_order(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, ana: BuyerKey, cart: CartId, coffee: ProductId,
    first: str,
) -> None:  # fmt: skip
    bad = ProductId(77)
    await admin.execute(
        "INSERT INTO cart_lines (tenant_id, cart_id, product_id, quantity) VALUES (%s, %s, %s, 1)", (tenant, cart, bad)
    )
    works = {"the change": set_quantities(db, tenant, ana, {coffee: 5}), "the cleaning": clean_carts(db, tenant, ADMIN)}
    async with admin.transaction():
        await admin.execute("SELECT FROM carts FOR UPDATE")
        tasks = [asyncio.create_task(works.pop(first))]
        await rows.until_somebody_waits_for_a_lock()
        tasks.append(asyncio.create_task(works.popitem()[1]))
        await asyncio.sleep(0.1)
    await asyncio.gather(*tasks)
    assert (await read_cart(db, tenant, ana)).lines == {coffee: 5}
    removals = [entry for entry in await audited(rows) if bad in map(int, (entry[3] or {}).get("lines", {}))]
    assert len(removals) == 1
