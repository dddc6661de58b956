"""The demo data: two tenants that differ in how long they hold, the same users and goods in both. Development only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from db.demo_catalogue import DemoProduct, demo_products
from db.demo_event import add_demo_event
from db.passwords import hash_password
from domain.ids import TenantId

DEMO_TENANT = TenantId("demo")
QUICK_TENANT = TenantId("demo-quick")
"""Holds for 5 seconds, to see a hold end."""
DEMO_PASSWORD = "holdfast-demo"  # noqa: S105  # public: the seed runs in development only
DEMO_USERS = {"ana": "buyer", "luis": "buyer", "admin": "admin", "ops": "operator"}
"""Scope by user name; each one's e-mail is `<name>@example.com`."""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_ONE_AT_A_TIME = 7_016_534_002
_TENANTS = {DEMO_TENANT: ("Demo shop", 900), QUICK_TENANT: ("Demo shop with quick holds", 5)}
_INSERT_TENANT = """
    INSERT INTO tenants (id, name, currency, hold_seconds, extension_seconds, maximum_seconds)
    VALUES (%s, %s, 'COP', %s, %s, 3600) ON CONFLICT DO NOTHING
"""
_INSERT_SERIES = """
    WITH series AS (
        INSERT INTO fiscal_series (tenant_id, name, prefix, padding) VALUES (%(tenant)s, 'demo', 'DEMO-', 6)
        ON CONFLICT DO NOTHING RETURNING name
    )
    INSERT INTO fiscal_ranges (tenant_id, series, first_number, last_number, valid_from, valid_until, starts_at,
                               ends_at, authorisation)
    SELECT %(tenant)s, name, 1, 999999, '2026-01-01', '2099-12-31', '2026-01-01', '2100-01-01', 'Demo' FROM series
"""
# Only with a new series: whoever has turned it off does not find it on again.
_USE_SERIES = "UPDATE tenants SET fiscal_series = 'demo' WHERE id = %(tenant)s AND fiscal_series IS NULL"
_INSERT_USER = """
    INSERT INTO users (tenant_id, username, email, password_hash, scopes)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_INSERT_PRODUCT = """
    WITH item AS (
        INSERT INTO stock_items (tenant_id, kind, total) VALUES (%(tenant)s, 'product', %(stock)s) RETURNING id
    )
    INSERT INTO products (tenant_id, id, stock_item_id, name, description, price, offer_price, available)
    SELECT %(tenant)s, %(id)s, item.id, %(name)s, %(description)s, %(price)s, %(offer_price)s, %(available)s FROM item
"""


@dataclass(frozen=True, slots=True)
class Seeded:
    """How much was new: all zero when the demo data was there already."""

    tenants: int
    users: int
    products: int
    events: int
    zones: int


async def seed_demo(admin_url: str) -> Seeded:
    """Add what is missing of the demo data, in one transaction; what is there (also its stock) stays as it is.

    `admin_url`: libpq URL of the role that owns the tables.
    """
    async with await psycopg.AsyncConnection.connect(admin_url) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
        tenants = [await _add_tenant(connection, tenant) for tenant in _TENANTS]
        users = [await _add_users(connection, tenant) for tenant in _TENANTS]
        products = [await _add_products(connection, tenant) for tenant in _TENANTS]
        events, zones = zip(*[await add_demo_event(connection, tenant) for tenant in _TENANTS], strict=True)
    return Seeded(sum(tenants), sum(users), sum(products), sum(events), sum(zones))


async def _add_tenant(connection: Connection, tenant: TenantId) -> int:
    name, seconds = _TENANTS[tenant]
    made = (await connection.execute(_INSERT_TENANT, (tenant, name, seconds, seconds))).rowcount
    series = (await connection.execute(_INSERT_SERIES, {"tenant": tenant})).rowcount
    if series:
        await connection.execute(_USE_SERIES, {"tenant": tenant})
    return made


async def _add_users(connection: Connection, tenant: TenantId) -> int:
    known = await _column(connection, "SELECT username FROM users WHERE tenant_id = %s", tenant)
    wanted = {name: scope for name, scope in DEMO_USERS.items() if name not in known}
    for name, scope in wanted.items():
        values = (tenant, name, f"{name}@example.com", hash_password(DEMO_PASSWORD), [scope])
        await connection.execute(_INSERT_USER, values)
    return len(wanted)


async def _add_products(connection: Connection, tenant: TenantId) -> int:
    known = await _column(connection, "SELECT id FROM products WHERE tenant_id = %s", tenant)
    wanted = [product for product in demo_products() if product.id not in known]
    for product in wanted:
        await connection.execute(_INSERT_PRODUCT, _values(tenant, product))
    return len(wanted)


def _values(tenant: TenantId, product: DemoProduct) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "id": product.id,
        "stock": product.stock,
        "name": product.name,
        "description": product.description,
        "price": product.price,
        "offer_price": product.offer_price,
        "available": product.available,
    }


async def _column(connection: Connection, sql: str, tenant: TenantId) -> set[Any]:
    return {row[0] for row in await (await connection.execute(sql, (tenant,))).fetchall()}
