"""The demo data."""

from __future__ import annotations

import asyncio
from typing import Any

from db.database import Database
from db.events import zones_of
from db.passwords import password_matches
from db.reserve import reserve
from db.seed import DEMO_PASSWORD, DEMO_TENANT, QUICK_TENANT, Seeded, seed_demo
from domain.checkout import CheckoutStatus
from domain.ids import EventKey, ProductId, ZoneId
from tests.support import shop
from tests.support.checkouts import a_start
from tests.support.venues import places, start_of

ALL = Seeded(tenants=2, users=8, products=120, events=2, zones=4)
NOTHING = Seeded(tenants=0, users=0, products=0, events=0, zones=0)


async def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    async with shop.connect(url) as connection:
        return await (await connection.execute(sql)).fetchall()


async def test_the_demo_shops_are_there(database_url: str) -> None:
    assert await seed_demo(database_url) == ALL
    tenants = await query(database_url, "SELECT id, currency, hold_seconds, maximum_seconds FROM tenants ORDER BY id")
    assert tenants == [(DEMO_TENANT, "COP", 900, 3600), (QUICK_TENANT, "COP", 5, 3600)]


async def test_the_goods_are_as_documented(database_url: str) -> None:
    await seed_demo(database_url)
    rows = await query(
        database_url,
        "SELECT p.id, price, offer_price, available, total, name FROM products p"
        " JOIN stock_items s ON s.tenant_id = p.tenant_id AND s.id = stock_item_id"
        " WHERE p.tenant_id = 'demo' ORDER BY p.id",
    )
    goods = {row[0]: row[1:] for row in rows}
    assert list(goods) == list(range(1, 61))
    assert [goods[number][:2] for number in (1, 2, 3)] == [(1000, None), (2000, 1500), (3000, None)]
    assert goods[38][3] == 50
    assert sum(total == 0 for *_, total, _ in goods.values()) == 1, "one is sold out"
    assert sum(not row[2] for row in goods.values()) == 1, "one is not on sale"
    assert sum(row[1] is not None for row in goods.values()) >= 5, "some are on offer"
    assert len({row[4] for row in goods.values()}) == 60, "each has a name of its own"


async def test_both_shops_have_an_event_with_200_numbered_seats_and_a_lawn_for_500(
    database_url: str, db: Database
) -> None:
    await seed_demo(database_url)
    for tenant in (DEMO_TENANT, QUICK_TENANT):
        zones = await zones_of(db, tenant, EventKey(1))
        assert zones is not None
        assert [(zone.id, zone.kind, zone.total, zone.available) for zone in zones] == [
            (1, "numbered", 200, 200),
            (2, "general", 500, 500),
        ]
    start = start_of(DEMO_TENANT, places(ZoneId(1), 20), places(ZoneId(2), 3))
    assert (await reserve(db, start)).status is CheckoutStatus.HELD, "a whole row, and room on the lawn"


async def test_the_demo_users_can_log_in(database_url: str) -> None:
    await seed_demo(database_url)
    rows = await query(
        database_url,
        "SELECT tenant_id, username, email, scopes, password_hash FROM users ORDER BY tenant_id, username",
    )
    users = [("admin", "admin"), ("ana", "buyer"), ("luis", "buyer"), ("ops", "operator")]
    assert [row[:4] for row in rows] == [
        (tenant, name, f"{name}@example.com", [scope])
        for tenant in (DEMO_TENANT, QUICK_TENANT)
        for name, scope in users
    ]
    assert password_matches(rows[0][4], DEMO_PASSWORD)


async def test_a_second_run_changes_nothing_and_keeps_what_is_held(database_url: str, db: Database) -> None:
    await seed_demo(database_url)
    await reserve(db, a_start(DEMO_TENANT, {ProductId(38): 3}))
    await query(database_url, "UPDATE products SET price = 7777, offer_price = NULL WHERE id = 1 RETURNING 1")
    before = await everything(database_url)
    assert await seed_demo(database_url) == NOTHING
    assert await everything(database_url) == before


async def test_a_run_adds_only_what_is_missing(database_url: str) -> None:
    await seed_demo(database_url)
    await query(database_url, "DELETE FROM products WHERE tenant_id = 'demo' AND id = 38 RETURNING 1")
    await query(database_url, "DELETE FROM users WHERE username = 'luis' RETURNING 1")
    assert await seed_demo(database_url) == Seeded(tenants=0, users=2, products=1, events=0, zones=0)


async def test_two_runs_at_once_seed_once(database_url: str) -> None:
    results = await asyncio.gather(seed_demo(database_url), seed_demo(database_url))
    assert sorted(results, key=lambda seeded: seeded.users) == [NOTHING, ALL]


async def everything(url: str) -> list[list[tuple[Any, ...]]]:
    return [
        await query(url, f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in ("tenants", "users", "stock_items", "products", "events", "zones", "seats")
    ]
