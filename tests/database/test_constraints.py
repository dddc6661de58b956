"""What buggy code would do, tried with hand-written SQL of the role that owns everything: the database refuses."""

from __future__ import annotations

import psycopg
import pytest

from db.database import Database
from db.reserve import reserve
from db.settle import settle
from domain.ids import TenantId
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import a_capture, a_start, confirm


@pytest.fixture
async def sold(db: Database, admin: shop.Connection, tenant: TenantId) -> StartCheckout:
    """A confirmed checkout of product 1 (10 units, 3 sold, 2 more held), another tenant, and a refund owed."""
    product = await shop.make_product(admin, tenant, stock=10)
    start = a_start(tenant, {product: 3})
    await reserve(db, start)
    await reserve(db, a_start(tenant, {product: 2}))
    await settle(db, confirm(start.ref, a_capture(start.checkout_id, 3000, payment="paid")))
    await settle(db, confirm(start.ref, a_capture(start.checkout_id, 3000, payment="paid-twice")))
    other = await shop.make_tenant(admin, "other")
    await shop.make_product(admin, other)
    return start


REFUSED = {
    "oversell": ("UPDATE stock_items SET reserved = 8", "stock_items_never_oversold"),
    "sell more than there is": ("UPDATE stock_items SET sold = 9", "stock_items_never_oversold"),
    "a total below what is promised": ("UPDATE stock_items SET total = 4", "stock_items_never_oversold"),
    "overflow past the check": ("UPDATE stock_items SET reserved = 2147483647, sold = 1", "stock_items_never_oversold"),
    "negative reserved": ("UPDATE stock_items SET reserved = -1", "stock_items_reserved_not_negative"),
    "negative sold": ("UPDATE stock_items SET sold = -1", "stock_items_sold_not_negative"),
    "negative total": ("UPDATE stock_items SET total = -1", "stock_items_"),
    "a seat of two": (
        "INSERT INTO stock_items (tenant_id, kind, total) VALUES ('other', 'seat', 2)",
        "stock_items_seat_is_one_unit",
    ),
    "an offer above the price": ("UPDATE products SET offer_price = price + 1", "products_offer_below_price"),
    "an offer of nothing": ("UPDATE products SET offer_price = 0", "products_offer_below_price"),
    "a negative price": ("UPDATE products SET price = -1", "products_price_check"),
    "two products of one stock item": (
        "INSERT INTO products (tenant_id, id, stock_item_id, name, price)"
        " SELECT tenant_id, 99, stock_item_id, 'twin', 1 FROM products",
        "products_tenant_id_stock_item_id_key",
    ),
    "another tenant's stock item": (
        "INSERT INTO products (tenant_id, id, stock_item_id, name, price)"
        " SELECT 'other', 99, stock_item_id, 'stolen', 1 FROM products WHERE tenant_id <> 'other'",
        "products_tenant_id_stock_item_id_fkey",
    ),
    "a line in another tenant's checkout": (
        "UPDATE checkout_lines SET tenant_id = 'other'",
        "checkout_lines_tenant_id_checkout_id_fkey",
    ),
    "an order in another tenant": ("UPDATE orders SET tenant_id = 'other'", "fkey"),
    "a line of no units": ("UPDATE checkout_lines SET quantity = 0", "checkout_lines_quantity_check"),
    "a line above its list price": ("UPDATE checkout_lines SET unit_price = list_price + 1", "checkout_lines_check"),
    "a status that does not exist": ("UPDATE checkouts SET status = 'paid'", "checkouts_"),
    "held without an end": (
        "UPDATE checkouts SET expires_at = NULL WHERE status = 'held'",
        "checkouts_held_has_an_end",
    ),
    "ended without a time": ("UPDATE checkouts SET ended_at = NULL", "checkouts_ended_has_a_time"),
    "refused without a reason": (
        "UPDATE checkouts SET status = 'refused' WHERE status = 'held'",
        "checkouts_refused_says_why",
    ),
    "a total that does not add up": ("UPDATE checkouts SET total = total + 1", "checkouts_total_adds_up"),
    "two orders of one checkout": (
        "INSERT INTO orders SELECT tenant_id, gen_random_uuid(), checkout_id, buyer_key, currency, subtotal, discount,"
        " tax, total, gateway, payment_id, created_at FROM orders",
        "orders_tenant_id_checkout_id_key",
    ),
    "two outcomes of one payment": (
        "INSERT INTO payment_outcomes (tenant_id, gateway, payment_id, checkout_id, kind, amount, currency, reason,"
        " refund_status, decided_at) SELECT tenant_id, gateway, payment_id, checkout_id, 'refund', amount, currency,"
        " 'late', 'intended', decided_at FROM payment_outcomes WHERE kind = 'order'",
        "payment_outcomes_pkey",
    ),
    "two payments of one order": (
        "INSERT INTO payment_outcomes (tenant_id, gateway, payment_id, checkout_id, kind, order_id, amount, currency,"
        " decided_at) SELECT tenant_id, gateway, 'third', checkout_id, kind, order_id, amount, currency, decided_at"
        " FROM payment_outcomes WHERE kind = 'order'",
        "payment_outcomes_tenant_id_order_id_key",
    ),
    "an outcome that is order and refund": (
        "UPDATE payment_outcomes SET refund_status = 'intended', reason = 'late' WHERE kind = 'order'",
        "payment_outcomes_order_or_refund",
    ),
    "a refund without a reason": (
        "UPDATE payment_outcomes SET reason = NULL WHERE kind = 'refund'",
        "payment_outcomes_order_or_refund",
    ),
    "more given back than was bought": ("UPDATE order_lines SET returned = 4", "order_lines_check"),
    "an extension backwards": (
        "INSERT INTO checkout_extensions SELECT tenant_id, id, 'k', expires_at, expires_at - interval '1 second',"
        " expires_at FROM checkouts WHERE status = 'held'",
        "checkout_extensions_check",
    ),
    "a tenant's name that is no name": (
        "INSERT INTO tenants (id, name, currency) VALUES ('No Name', 'x', 'COP')",
        "tenants_id_check",
    ),
}


@pytest.mark.usefixtures("sold")
async def test_the_database_refuses_all_of_it(admin: shop.Connection) -> None:
    for what, (statement, constraint) in REFUSED.items():
        with pytest.raises(psycopg.errors.IntegrityError) as refused:
            await admin.execute(statement)
        assert constraint in (refused.value.diag.constraint_name or ""), (what, refused.value)
