"""The plans of carts and of the audit log on a big shop: what one cart needs is looked up, whatever others have."""

from __future__ import annotations

import pytest

from db.audit_reading import AuditFilter, read_audit
from db.cart_admin import cart_state, set_status
from db.carts import add_units, clear_cart, read_cart, set_quantities
from db.database import Database
from domain.cart import CartStatus
from domain.ids import Actor, BuyerKey, CartId, ProductId, TenantId
from tests.support import shop
from tests.support.checkouts import Rows, opened
from tests.support.plans import looked_over, rows_read

CARTS, PRODUCTS, ENTRIES = 10_000, 20_000, 40_000
FILL = f"""
    INSERT INTO tenants (id, name, currency) VALUES ('big', 'Big', 'COP');
    INSERT INTO stock_items (tenant_id, id, kind, total)
        SELECT 'big', n, 'product', 1000 FROM generate_series(1, {PRODUCTS}) n;
    INSERT INTO products (tenant_id, id, stock_item_id, name, price)
        SELECT 'big', n, n, 'p', 1000 FROM generate_series(1, {PRODUCTS}) n;
    INSERT INTO users (tenant_id, username, email, password_hash)
        SELECT 'big', 'u' || n, 'u' || n || '@example.com', '' FROM generate_series(1, {CARTS}) n;
    INSERT INTO carts (tenant_id, owner_key) SELECT 'big', 'user:' || id FROM users WHERE tenant_id = 'big';
    INSERT INTO cart_lines (tenant_id, cart_id, product_id, quantity)
        SELECT 'big', c.id, 1 + (c.n * 7 + k) % {PRODUCTS}, 1
        FROM (SELECT id, row_number() OVER () AS n FROM carts) c, generate_series(1, 4) k;
    INSERT INTO audit_log (tenant_id, at, actor, action, subject)
        SELECT 'big', now() - n * interval '1 second', 'user:' || n % 1000, 'cart.changed', 'cart:' || n % 1000
        FROM generate_series(1, {ENTRIES}) n;
"""
BIG, ANA, MAIL = TenantId("big"), BuyerKey("user:ana"), "u77@example.com"
WATCHED = {"carts": CARTS, "cart_lines": 4 * CARTS, "products": PRODUCTS, "stock_items": PRODUCTS,
           "audit_log": ENTRIES}  # fmt: skip
"""The big tables, and the rows they have."""


async def use_everything(db: Database) -> None:
    """Each look at and change of one cart, with 50 lines, and a page of the audit log by each of its filters."""
    asked = [ProductId(number) for number in range(10, PRODUCTS, PRODUCTS // 50)]
    for _ in range(3):
        await set_quantities(db, BIG, ANA, dict.fromkeys(asked, 2))
        await add_units(db, BIG, ANA, asked[0], 1)
        view = await read_cart(db, BIG, ANA)
        assert view.updated_at is not None
        await clear_cart(db, BIG, ANA)
        await cart_state(db, BIG, MAIL)
        await set_status(db, BIG, Actor("user:admin"), MAIL, CartStatus.PROCESSING)
        await set_status(db, BIG, Actor("user:admin"), MAIL, CartStatus.AVAILABLE)
        for wanted in (
            AuditFilter(),
            AuditFilter(cart=CartId("7")),
            AuditFilter(actor=Actor("user:7")),
            AuditFilter(since=view.updated_at),
            AuditFilter(until=view.updated_at),
        ):
            page = await read_audit(db, BIG, wanted, limit=50)
            await read_audit(db, BIG, wanted, limit=50, before=(page[-1].at, page[-1].id))


async def test_one_cart_costs_what_it_has_and_a_page_of_the_audit_log_what_it_shows(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    one = await shop.make_product(admin, tenant, stock=1000)
    await admin.execute(FILL)
    await looked_over(admin)
    name = await rows.value("SELECT current_database()")
    for plans in ("force_generic_plan", "force_custom_plan"):
        await admin.execute(f"ALTER DATABASE {name} SET plan_cache_mode = {plans}")
        before = await rows_read(rows, WATCHED)
        async with opened(database_url, size=1) as db:
            for quantity in range(1, 9):  # A plan made for a tiny shop serves the big one, too.
                await set_quantities(db, tenant, ANA, {one: quantity})
            await use_everything(db)
        for table, count in (await rows_read(rows, WATCHED)).items():
            assert count - before[table] < WATCHED[table] / 3, (plans, table)


@pytest.mark.parametrize("table", ["carts", "audit_log"])
async def test_the_measure_would_see_a_whole_table_read(
    database_url: str, admin: shop.Connection, rows: Rows, table: str
) -> None:
    await admin.execute(FILL)
    before = await rows_read(rows, WATCHED)
    async with opened(database_url, size=1) as db:
        await db.run(BIG, (f"SELECT count(*) FROM {table} WHERE tenant_id <> 'x'", {}))
    assert (await rows_read(rows, WATCHED))[table] >= before[table] + WATCHED[table]
