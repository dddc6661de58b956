"""Carts in PostgreSQL: read, changed, and what a product's fate does to them between two reads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from db.carts import add_units, clear_cart, read_cart, set_quantities
from db.database import Database
from db.reserve import reserve
from domain.cart import CartStatus, NoticeReason
from domain.errors import AlreadyInCart, CartProcessing, CartRefused, NotFound
from domain.ids import BuyerKey, ProductId, TenantId
from tests.support import shop
from tests.support.checkouts import BUYER, Rows, a_start
from tests.support.waiting import eventually


@pytest.fixture
async def coffee(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=10, price=1000)


@pytest.fixture
async def mug(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=5, price=2000, offer_price=1500, name="Mug")


async def stored(rows: Rows, owner: BuyerKey = BUYER) -> dict[int, int]:
    """Quantities by product, in the order in which the lines are shown."""
    lines = await rows.all(
        "SELECT product_id, quantity FROM cart_lines l JOIN carts c ON c.tenant_id = l.tenant_id AND c.id = l.cart_id"
        " WHERE c.owner_key = %s ORDER BY l.added_at, l.product_id",
        owner,
    )
    return {line["product_id"]: line["quantity"] for line in lines}


async def audited(rows: Rows) -> list[tuple[str, str, Any, Any]]:
    """(actor, action, before, after), oldest first."""
    found = await rows.all("SELECT actor, action, before, after FROM audit_log ORDER BY id")
    return [(row["actor"], row["action"], row["before"], row["after"]) for row in found]


async def test_reading_a_cart_that_is_not_there_writes_nothing(db: Database, rows: Rows, tenant: TenantId) -> None:
    view = await read_cart(db, tenant, BUYER)
    assert (view.id, view.status, view.updated_at, view.currency) == (None, CartStatus.AVAILABLE, None, "COP")
    assert (view.lines, view.notices, view.totals.total) == ({}, [], 0)
    assert (await set_quantities(db, tenant, BUYER, {ProductId(1): 0})).id is None
    assert await rows.value("SELECT count(*) FROM carts") == 0
    assert await audited(rows) == []


async def test_a_tenant_that_does_not_exist_has_no_carts(db: Database) -> None:
    with pytest.raises(NotFound):
        await read_cart(db, TenantId("nobody"), BUYER)


async def test_a_delta_sets_adds_and_removes_lines_and_is_audited(
    db: Database, rows: Rows, tenant: TenantId, coffee: ProductId, mug: ProductId
) -> None:
    first = await set_quantities(db, tenant, BUYER, {mug: 1, coffee: 3})
    assert (first.lines, first.totals.subtotal, first.totals.discount) == ({mug: 1, coffee: 3}, 5000, 500)
    second = await set_quantities(db, tenant, BUYER, {coffee: 2, mug: 0})
    assert second.lines == {coffee: 2} == await stored(rows)
    assert second.id == first.id
    assert first.updated_at is not None
    assert second.updated_at is not None
    assert second.updated_at > first.updated_at
    assert await audited(rows) == [
        (BUYER, "cart.changed", {"lines": {"1": 0, "2": 0}}, {"lines": {"1": 3, "2": 1}}),
        (BUYER, "cart.changed", {"lines": {"1": 3, "2": 1}}, {"lines": {"1": 2, "2": 0}}),
    ]
    read = await read_cart(db, tenant, BUYER)
    assert (read.lines, read.totals, read.updated_at) == (second.lines, second.totals, second.updated_at)


async def test_a_delta_that_changes_nothing_writes_nothing(
    db: Database, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    first = await set_quantities(db, tenant, BUYER, {coffee: 3})
    assert (await set_quantities(db, tenant, BUYER, {coffee: 3})).updated_at == first.updated_at
    assert len(await audited(rows)) == 1


async def test_one_bad_line_refuses_the_whole_delta(
    db: Database, rows: Rows, tenant: TenantId, coffee: ProductId, mug: ProductId
) -> None:
    await set_quantities(db, tenant, BUYER, {coffee: 1})
    with pytest.raises(CartRefused) as caught:
        await set_quantities(db, tenant, BUYER, {coffee: 2, mug: 6, ProductId(999): 1})
    assert caught.value.extra["products"] == [
        {"product_id": mug, "reason": "insufficient_stock", "requested": 6, "available": 5},
        {"product_id": 999, "reason": "gone", "requested": 1, "available": 0},
    ]
    assert await stored(rows) == {coffee: 1}
    assert len(await audited(rows)) == 1


async def test_adding_increases_and_clearing_empties(
    db: Database, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    await add_units(db, tenant, BUYER, coffee, 2)
    assert (await add_units(db, tenant, BUYER, coffee, 3)).lines == {coffee: 5}
    with pytest.raises(CartRefused):
        await add_units(db, tenant, BUYER, coffee, 6)
    cleared = await clear_cart(db, tenant, BUYER)
    assert (cleared.lines, await stored(rows)) == ({}, {})
    assert (await clear_cart(db, tenant, BUYER)).updated_at == cleared.updated_at


async def test_a_product_sold_once_per_cart_is_refused_the_second_time(
    db: Database, admin: shop.Connection, tenant: TenantId, coffee: ProductId
) -> None:
    await admin.execute("UPDATE products SET one_per_cart = true")
    await add_units(db, tenant, BUYER, coffee, 1)
    with pytest.raises(AlreadyInCart):
        await add_units(db, tenant, BUYER, coffee, 1)


async def test_the_answer_to_a_change_tells_what_had_to_go_from_the_other_lines(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, coffee: ProductId, mug: ProductId
) -> None:
    await set_quantities(db, tenant, BUYER, {mug: 4})
    await admin.execute("UPDATE stock_items SET total = 2 WHERE id = (SELECT stock_item_id FROM products WHERE id = 2)")
    view = await set_quantities(db, tenant, BUYER, {coffee: 1})
    assert view.lines == {mug: 2, coffee: 1} == await stored(rows)
    assert [(each.product_id, each.name, each.reason) for each in view.notices] == [(mug, "Mug", NoticeReason.REDUCED)]
    assert (await audited(rows))[-2:] == [
        (BUYER, "cart.changed", {"lines": {"1": 0}}, {"lines": {"1": 1}}),
        (BUYER, "cart.validated", {"lines": {"2": 4}}, {"lines": {"2": 2}, "reasons": {"2": "reduced"}}),
    ]


FATES = {
    "DELETE FROM products WHERE id = 1": NoticeReason.GONE,
    "UPDATE products SET available = false WHERE id = 1": NoticeReason.UNAVAILABLE,
    "UPDATE products SET price = 0 WHERE id = 1": NoticeReason.NO_PRICE,
    "UPDATE stock_items SET total = 0 WHERE id = (SELECT stock_item_id FROM products WHERE id = 1)": (
        NoticeReason.SOLD_OUT
    ),
}


@pytest.mark.parametrize(("fate", "reason"), FATES.items())
async def test_what_became_impossible_between_two_reads_is_gone_at_the_second_and_told_once(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, coffee: ProductId, mug: ProductId,
    fate: str, reason: NoticeReason,
) -> None:  # fmt: skip
    await set_quantities(db, tenant, BUYER, {coffee: 2, mug: 1})
    assert (await read_cart(db, tenant, BUYER)).notices == []
    await admin.execute(fate)
    view = await read_cart(db, tenant, BUYER)
    assert (view.lines, await stored(rows)) == ({mug: 1}, {mug: 1})
    [notice] = view.notices
    assert (notice.product_id, notice.reason, notice.before, notice.after) == (coffee, reason, 2, 0)
    assert view.totals.total == 1500
    assert (await audited(rows))[-1] == (
        BUYER,
        "cart.validated",
        {"lines": {"1": 2}},
        {"lines": {"1": 0}, "reasons": {"1": reason.value}},
    )
    assert (await read_cart(db, tenant, BUYER)).notices == []


async def test_a_new_price_is_the_next_reads_price(
    db: Database, admin: shop.Connection, tenant: TenantId, coffee: ProductId
) -> None:
    await set_quantities(db, tenant, BUYER, {coffee: 2})
    await admin.execute("UPDATE products SET price = 3000, offer_price = 2500")
    view = await read_cart(db, tenant, BUYER)
    assert (view.totals.subtotal, view.totals.discount, view.totals.total) == (6000, 1000, 5000)
    assert view.notices == []


async def test_units_that_others_hold_cannot_be_put_in_until_the_holds_end(
    db: Database, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    start = a_start(tenant, {coffee: 8})
    await reserve(db, start)
    with pytest.raises(CartRefused) as caught:
        await set_quantities(db, tenant, BUYER, {coffee: 3})
    assert caught.value.extra["products"][0]["available"] == 2
    await rows.end_now(start.ref)
    assert (await set_quantities(db, tenant, BUYER, {coffee: 10})).lines == {coffee: 10}


async def test_carts_of_other_owners_and_tenants_are_apart(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, coffee: ProductId
) -> None:
    other, luis = await shop.make_tenant(admin), BuyerKey("user:2")
    await shop.make_product(admin, other)
    await set_quantities(db, tenant, BUYER, {coffee: 1})
    await set_quantities(db, tenant, luis, {coffee: 2})
    await set_quantities(db, other, BUYER, {coffee: 3})
    views = [await read_cart(db, *whose) for whose in ((tenant, BUYER), (tenant, luis), (other, BUYER))]
    assert [view.lines for view in views] == [{coffee: 1}, {coffee: 2}, {coffee: 3}]
    await clear_cart(db, other, BUYER)
    assert [(await read_cart(db, tenant, owner)).lines for owner in (BUYER, luis)] == [{coffee: 1}, {coffee: 2}]


async def test_the_first_two_changes_at_once_make_one_cart(
    db: Database, rows: Rows, tenant: TenantId, coffee: ProductId, mug: ProductId
) -> None:
    for number in range(10):
        owner = BuyerKey(f"user:new-{number}")
        await asyncio.gather(
            set_quantities(db, tenant, owner, {coffee: 1}), set_quantities(db, tenant, owner, {mug: 1})
        )
        assert await stored(rows, owner) in ({coffee: 1, mug: 1}, {mug: 1, coffee: 1})


async def test_a_cart_set_to_processing_by_hand_refuses_changes_and_is_shown_as_it_is(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, coffee: ProductId, mug: ProductId
) -> None:
    await set_quantities(db, tenant, BUYER, {coffee: 2, mug: 1})
    await admin.execute("UPDATE carts SET status = 'processing'")
    await admin.execute("DELETE FROM products WHERE id = 1")
    for change in (
        set_quantities(db, tenant, BUYER, {coffee: 0}),
        add_units(db, tenant, BUYER, mug, 1),
        clear_cart(db, tenant, BUYER),
    ):
        with pytest.raises(CartProcessing) as caught:
            await change
        assert caught.value.extra["checkout_id"] is None
    view = await read_cart(db, tenant, BUYER)
    assert (view.status, view.lines, view.notices) == (CartStatus.PROCESSING, {coffee: 2, mug: 1}, [])
    assert (view.products[coffee].name, view.totals.total) == (None, 1500)
    assert await stored(rows) == {coffee: 2, mug: 1}
    assert len(await audited(rows)) == 1


async def test_a_change_waits_for_the_one_before_it_and_builds_on_it(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, coffee: ProductId
) -> None:
    await set_quantities(db, tenant, BUYER, {coffee: 1})
    async with admin.transaction():
        await admin.execute("SELECT FROM carts FOR UPDATE")
        waiting = asyncio.create_task(add_units(db, tenant, BUYER, coffee, 1))
        await eventually(lambda: _one(admin, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        await admin.execute("UPDATE cart_lines SET quantity = 5")
        await admin.execute("UPDATE products SET price = 7000")
    view = await waiting
    assert (view.lines, view.totals.total) == ({coffee: 6}, 42_000)


async def _one(admin: shop.Connection, query: str) -> Any:
    row = await (await admin.execute(query)).fetchone()
    assert row is not None
    return row[0]
