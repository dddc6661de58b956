"""How often carts wait for the database, read off the wire; and that it does not grow with the lines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from db.carts import add_units, clear_cart, read_cart, set_quantities
from db.database import Database
from domain.errors import CartRefused
from domain.ids import ProductId, TenantId
from tests.support import shop
from tests.support.checkouts import BUYER, opened
from tests.support.proxy import Wire, wire_to


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    async with wire_to(database_url) as wire:
        yield wire


@pytest.fixture
async def db(wire: Wire) -> AsyncIterator[Database]:
    """A pool of one connection through the proxy."""
    async with opened(wire.url, size=1) as db:
        yield db


@pytest.fixture
async def products(admin: shop.Connection, tenant: TenantId) -> list[ProductId]:
    return [await shop.make_product(admin, tenant, stock=1000) for _ in range(100)]


async def counts(
    db: Database, wire: Wire, admin: shop.Connection, tenant: TenantId, products: list[ProductId]
) -> dict[str, tuple[int, int]]:
    """(round trips, statements) of each use of a cart with a line for each product; the connection is warm."""
    found = {}

    def counted(step: str) -> None:
        found[step] = (wire.round_trips, wire.statements)
        wire.forget()

    for _ in range(3):  # The first times prepare the statements.
        await clear_cart(db, tenant, BUYER)
        wire.forget()
        await set_quantities(db, tenant, BUYER, dict.fromkeys(products, 2))
        counted("fill")
        await set_quantities(db, tenant, BUYER, dict.fromkeys(products, 3))
        counted("change")
        await set_quantities(db, tenant, BUYER, dict.fromkeys(products, 3))
        counted("change nothing")
        with pytest.raises(CartRefused):
            await set_quantities(db, tenant, BUYER, dict.fromkeys(products, 1001))
        counted("refused")
        await add_units(db, tenant, BUYER, products[0], 1)
        counted("add")
        await read_cart(db, tenant, BUYER)
        counted("read")
        await admin.execute("UPDATE stock_items SET total = 1")
        wire.forget()
        assert len((await read_cart(db, tenant, BUYER)).notices) == len(products)
        counted("read and lower")
        await admin.execute("UPDATE products SET available = false")
        assert (await read_cart(db, tenant, BUYER)).lines == {}
        counted("read and remove")
        await admin.execute("UPDATE stock_items SET total = 1000")
        await admin.execute("UPDATE products SET available = true")
        await set_quantities(db, tenant, BUYER, dict.fromkeys(products, 2))
        wire.forget()
        await clear_cart(db, tenant, BUYER)
        counted("clear")
    return found


async def test_a_read_is_one_round_trip_and_a_change_two_however_many_lines(
    db: Database, wire: Wire, admin: shop.Connection, tenant: TenantId, products: list[ProductId]
) -> None:
    one = await counts(db, wire, admin, tenant, products[:1])
    changing = ("fill", "change", "change nothing", "refused", "add", "clear")
    assert {step: trips for step, (trips, _) in one.items()} == {
        **dict.fromkeys(changing, 2),
        "read": 1,
        "read and lower": 3,
        "read and remove": 3,
    }
    assert one["read"] == (1, 2)
    assert one["change"][1] <= 7
    assert await counts(db, wire, admin, tenant, products[:10]) == one
    assert await counts(db, wire, admin, tenant, products) == one


async def test_cart_statements_are_prepared_once(
    db: Database, wire: Wire, admin: shop.Connection, tenant: TenantId, products: list[ProductId]
) -> None:
    await counts(db, wire, admin, tenant, products[:3])
    wire.forget()
    await set_quantities(db, tenant, BUYER, {products[0]: 1})
    await read_cart(db, tenant, BUYER)
    assert wire.statements >= 6
    assert wire.prepared == 0
