"""Small factories: a tenant, a user, a product, straight into a test's database by its admin role."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import psycopg

from db.passwords import hash_password
from domain.ids import BuyerKey, CartId, ProductId, TenantId

PASSWORD = "correct horse battery staple"
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_numbers = itertools.count(1)


@asynccontextmanager
async def connect(admin_url: str) -> AsyncIterator[Connection]:
    """An autocommit connection of the admin role, which sees all tenants."""
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as connection:
        yield connection


async def make_tenant(
    connection: Connection,
    tenant: str | None = None,
    *,
    currency: str = "COP",
    hold_seconds: int = 900,
    extension_seconds: int = 900,
    maximum_seconds: int = 3600,
    max_held_lines: int = 10_000,
    late_payments: str = "reserve",
) -> TenantId:
    """A tenant; a new name when none is given. Its limits are wide: a test's buyers are often one."""
    tenant = tenant or f"shop-{next(_numbers)}"
    await connection.execute(
        "INSERT INTO tenants (id, name, currency, hold_seconds, extension_seconds, maximum_seconds, max_held_lines,"
        " late_payments) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (tenant, tenant, currency, hold_seconds, extension_seconds, maximum_seconds, max_held_lines, late_payments),
    )
    return TenantId(tenant)


async def make_product(
    connection: Connection,
    tenant: TenantId,
    *,
    stock: int = 10,
    price: int = 1000,
    offer_price: int | None = None,
    available: bool = True,
    name: str = "Coffee",
) -> ProductId:
    """A product and its stock item; ids count up within the tenant, from 1."""
    cursor = await connection.execute(
        """
        WITH item AS (
            INSERT INTO stock_items (tenant_id, kind, total) VALUES (%(tenant)s, 'product', %(stock)s) RETURNING id
        )
        INSERT INTO products (tenant_id, id, stock_item_id, name, price, offer_price, available)
        SELECT %(tenant)s, (SELECT coalesce(max(id), 0) + 1 FROM products WHERE tenant_id = %(tenant)s), item.id,
            %(name)s, %(price)s, %(offer_price)s, %(available)s
        FROM item RETURNING id
        """,
        {
            "tenant": tenant,
            "stock": stock,
            "name": name,
            "price": price,
            "offer_price": offer_price,
            "available": available,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return ProductId(row[0])


async def make_cart(
    connection: Connection, tenant: TenantId, owner: BuyerKey, lines: Mapping[ProductId, int]
) -> CartId:
    """The owner's cart, with these quantities in it in this order."""
    cursor = await connection.execute(
        "INSERT INTO carts (tenant_id, owner_key) VALUES (%s, %s) RETURNING id::text", (tenant, owner)
    )
    row = await cursor.fetchone()
    assert row is not None
    for product, quantity in lines.items():
        await connection.execute(
            "INSERT INTO cart_lines (tenant_id, cart_id, product_id, quantity) VALUES (%s, %s, %s, %s)",
            (tenant, row[0], product, quantity),
        )
    return CartId(row[0])


async def make_user(
    connection: Connection,
    tenant: TenantId,
    username: str = "ana",
    *,
    scopes: Sequence[str] = ("buyer",),
    disabled: bool = False,
) -> str:
    """A user `username@example.com` whose password is PASSWORD. Gives the user's id."""
    cursor = await connection.execute(
        """
        INSERT INTO users (tenant_id, username, email, password_hash, scopes, disabled_at)
        VALUES (%s, %s, %s, %s, %s, CASE WHEN %s THEN clock_timestamp() END) RETURNING id
        """,
        (tenant, username, f"{username}@example.com", _password_hash(), list(scopes), disabled),
    )
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


@cache
def _password_hash() -> str:
    return hash_password(PASSWORD)
