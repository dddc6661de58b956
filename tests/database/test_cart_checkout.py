"""A checkout from the cart: its start takes the whole cart and keeps it from being changed; its end gives it back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from db.database import Database
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import BuyerKey, CartId, ProductId, TenantId
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import BUYER, Rows, a_capture, a_start, again, cancel, confirm, expire


def from_cart(tenant: TenantId, buyer: BuyerKey = BUYER, **more: Any) -> StartCheckout:
    """A start of whatever the buyer's cart has."""
    return replace(a_start(tenant, {}, buyer=buyer, **more), from_cart=True)


@pytest.fixture
async def coffee(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=10, price=1000)


@pytest.fixture
async def mug(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=5, price=2000, offer_price=1500)


@pytest.fixture
async def cart(admin: shop.Connection, tenant: TenantId, coffee: ProductId, mug: ProductId) -> CartId:
    """Two mugs, and then three coffees."""
    return await shop.make_cart(admin, tenant, BUYER, {mug: 2, coffee: 3})


async def state(rows: Rows, cart: CartId) -> tuple[str, str | None, dict[int, int]]:
    """(status, checkout, quantities by product) of a cart."""
    [row] = await rows.all("SELECT status, checkout_id::text AS checkout_id FROM carts WHERE id = %s", cart)
    lines = await rows.all("SELECT product_id, quantity FROM cart_lines WHERE cart_id = %s", cart)
    return row["status"], row["checkout_id"], {line["product_id"]: line["quantity"] for line in lines}


async def test_a_start_holds_what_the_cart_has_and_sets_it_to_processing(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId, coffee: ProductId, mug: ProductId
) -> None:
    start = from_cart(tenant)
    started = await reserve(db, start)
    assert (started.status, started.total) == (CheckoutStatus.HELD, 6000)
    assert await state(rows, cart) == ("processing", start.checkout_id, {coffee: 3, mug: 2})
    assert (await rows.stock(tenant, coffee), await rows.stock(tenant, mug)) == ((7, 3, 0), (3, 2, 0))
    lines = await rows.all("SELECT product_id, quantity FROM checkout_lines ORDER BY position")
    assert [tuple(line.values()) for line in lines] == [(mug, 2), (coffee, 3)]
    assert (await rows.checkout(start.ref))["cart_id"] is not None


async def test_a_start_that_runs_twice_has_one_effect(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId, coffee: ProductId
) -> None:
    start = from_cart(tenant)
    first, second = await asyncio.gather(reserve(db, start), reserve(db, start))
    assert {first.status, second.status} == {CheckoutStatus.HELD}
    assert await rows.stock(tenant, coffee) == (7, 3, 0)
    assert (await reserve(db, again(start))).status is CheckoutStatus.HELD
    assert (await state(rows, cart))[:2] == ("processing", start.checkout_id)


@pytest.mark.parametrize("wish", [cancel, expire])
async def test_cancel_and_expiry_give_the_cart_back_as_it_was(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId, coffee: ProductId, mug: ProductId, wish: Any
) -> None:
    start = from_cart(tenant)
    await reserve(db, start)
    if wish is expire:
        await rows.end_now(start.ref)
    for _ in range(2):
        await settle(db, wish(start.ref))
        assert await state(rows, cart) == ("available", None, {coffee: 3, mug: 2})
    assert await rows.stock(tenant, coffee) == (10, 0, 0)


async def test_confirm_empties_the_cart(db: Database, rows: Rows, tenant: TenantId, cart: CartId) -> None:
    start = from_cart(tenant)
    total = (await reserve(db, start)).total
    capture = a_capture(start.checkout_id, total)
    for _ in range(2):
        assert (await settle(db, confirm(start.ref, capture))).status is CheckoutStatus.CONFIRMED
        assert await state(rows, cart) == ("available", None, {})


async def test_an_early_expiry_leaves_the_cart_to_its_hold(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId
) -> None:
    start = from_cart(tenant)
    await reserve(db, start)
    assert (await settle(db, expire(start.ref))).status is CheckoutStatus.HELD
    assert (await state(rows, cart))[:2] == ("processing", start.checkout_id)


@pytest.mark.usefixtures("cart")
async def test_a_refusal_leaves_the_cart_alone(db: Database, rows: Rows, tenant: TenantId, mug: ProductId) -> None:
    other = a_start(tenant, {mug: 4}, buyer=BuyerKey("user:2"))
    await reserve(db, other)
    start = from_cart(tenant)
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    row = await rows.checkout(start.ref)
    assert [short["product_id"] for short in row["refusal"]["shortages"]] == [mug]
    assert row["cart_id"] is None
    assert await rows.value("SELECT status FROM carts") == "available"
    await settle(db, cancel(other.ref))
    changed = from_cart(tenant, expected_total=5)
    assert (await reserve(db, changed)).status is CheckoutStatus.REFUSED
    assert (await rows.checkout(changed.ref))["refusal"] == {"code": "price_changed", "total": 6000}


async def test_without_a_cart_or_with_an_empty_one_there_is_nothing_to_start(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    for _ in range(2):
        start = from_cart(tenant)
        assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
        assert (await rows.checkout(start.ref))["refusal"] == {"code": "cart_empty"}
        await admin.execute("DELETE FROM carts")
        await shop.make_cart(admin, tenant, BUYER, {})


async def test_a_cart_that_is_being_processed_starts_no_second_checkout(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, cart: CartId, coffee: ProductId
) -> None:
    first, second = from_cart(tenant), from_cart(tenant)
    await reserve(db, first)
    assert (await reserve(db, second)).status is CheckoutStatus.REFUSED
    assert (await rows.checkout(second.ref))["refusal"] == {
        "code": "cart_processing",
        "checkout_id": first.checkout_id,
    }
    assert await rows.stock(tenant, coffee) == (7, 3, 0)
    await settle(db, cancel(first.ref))
    await admin.execute("UPDATE carts SET status = 'processing' WHERE id = %s", (cart,))
    by_hand = from_cart(tenant)
    await reserve(db, by_hand)
    assert (await rows.checkout(by_hand.ref))["refusal"] == {"code": "cart_processing", "checkout_id": None}


async def test_two_starts_of_one_cart_at_once_hold_it_once(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId, coffee: ProductId
) -> None:
    starts = [from_cart(tenant) for _ in range(8)]
    results = await asyncio.gather(*(reserve(db, start) for start in starts))
    assert sorted(result.status for result in results) == [CheckoutStatus.HELD] + [CheckoutStatus.REFUSED] * 7
    assert await rows.stock(tenant, coffee) == (7, 3, 0)
    assert (await state(rows, cart))[0] == "processing"


async def test_a_hold_past_its_end_does_not_keep_the_cart(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId, coffee: ProductId
) -> None:
    late = from_cart(tenant)
    await reserve(db, late)
    await rows.end_now(late.ref)
    start = from_cart(tenant)
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    assert (await rows.checkout(late.ref))["status"] == "expired"
    assert (await state(rows, cart))[:2] == ("processing", start.checkout_id)
    assert await rows.stock(tenant, coffee) == (7, 3, 0)


@pytest.mark.usefixtures("cart")
async def test_a_hold_of_somebody_else_past_its_end_does_not_keep_the_carts_products(
    db: Database, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    late = a_start(tenant, {coffee: 10}, buyer=BuyerKey("user:2"))
    await reserve(db, late)
    await rows.end_now(late.ref)
    assert (await reserve(db, from_cart(tenant))).status is CheckoutStatus.HELD
    assert await rows.stock(tenant, coffee) == (7, 3, 0)


async def test_a_change_in_the_instant_of_the_start_is_wholly_in(
    database_url: str, db: Database, rows: Rows, tenant: TenantId, cart: CartId, coffee: ProductId, mug: ProductId
) -> None:
    """Somebody has locked the cart and changes both lines; the start waits, and then holds what is there then."""
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SELECT FROM carts WHERE id = %s FOR UPDATE", (cart,))
        await other.execute("UPDATE cart_lines SET quantity = 1 WHERE cart_id = %s", (cart,))
        waiting = asyncio.create_task(reserve(db, from_cart(tenant)))
        await rows.until_somebody_waits_for_a_lock()
        await other.commit()
    assert (await waiting).total == 2500
    assert (await rows.stock(tenant, coffee), await rows.stock(tenant, mug)) == ((9, 1, 0), (4, 1, 0))


async def test_every_change_of_the_carts_state_is_in_the_audit_log(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId
) -> None:
    given_up, paid = from_cart(tenant), from_cart(tenant)
    await reserve(db, given_up)
    await settle(db, cancel(given_up.ref))
    total = (await reserve(db, paid)).total
    await settle(db, confirm(paid.ref, a_capture(paid.checkout_id, total)))
    noted = await rows.all(
        "SELECT actor, action, before, after FROM audit_log WHERE subject = %s ORDER BY id", f"cart:{cart}"
    )
    assert [(one["actor"], one["action"]) for one in noted] == [
        (BUYER, "cart.processing"),
        ("system:checkout", "cart.cancelled"),
        (BUYER, "cart.processing"),
        ("system:checkout", "cart.confirmed"),
    ]
    assert noted[2]["after"] == {"status": "processing", "checkout_id": paid.checkout_id}
    assert noted[3]["before"] == noted[2]["after"]
    assert noted[3]["after"] == {"status": "available", "checkout_id": None}


async def test_explicit_lines_touch_no_cart(
    db: Database, rows: Rows, tenant: TenantId, cart: CartId, coffee: ProductId, mug: ProductId
) -> None:
    start = a_start(tenant, {coffee: 1})
    total = (await reserve(db, start)).total
    assert await state(rows, cart) == ("available", None, {coffee: 3, mug: 2})
    await settle(db, confirm(start.ref, a_capture(start.checkout_id, total)))
    assert await state(rows, cart) == ("available", None, {coffee: 3, mug: 2})


async def test_starts_and_ends_of_many_carts_beside_changes_of_them_never_deadlock(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId, mug: ProductId
) -> None:
    await admin.execute("UPDATE stock_items SET total = 10000")
    buyers = [BuyerKey(f"user:{number}") for number in range(100, 108)]
    for number, buyer in enumerate(buyers):
        order = [coffee, mug] if number % 2 else [mug, coffee]
        await shop.make_cart(admin, tenant, buyer, dict.fromkeys(order, 1))

    async def come_and_go(buyer: BuyerKey) -> None:
        for _ in range(5):
            start = from_cart(tenant, buyer, patience=60)
            assert (await reserve(db, start)).status is CheckoutStatus.HELD
            await settle(db, cancel(start.ref))

    await asyncio.gather(*map(come_and_go, buyers))
    assert await rows.stock(tenant, coffee) == (10000, 0, 0)
    assert await rows.value("SELECT count(*) FROM carts WHERE status = 'available' AND checkout_id IS NULL") == 8
