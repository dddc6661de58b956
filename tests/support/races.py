"""Races in the database: many buyers at once, and what the server says of deadlocks afterwards."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Mapping, Sequence

from db.reserve import reserve
from db.reserve_sql import GUARD
from domain.checkout import CheckoutStatus
from domain.ids import BuyerKey, ProductId, TenantId
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_start, opened
from tests.support.waiting import eventually

AT_ONCE = 24


def race_starts(tenant: TenantId, products: Sequence[ProductId], seed: int) -> list[StartCheckout]:
    """300 starts: overlapping lines in opposite orders, and single units enough to take every remainder."""
    dice = random.Random(seed)
    starts = []
    for _ in range(100):
        pair = dice.sample(list(products), 2)
        starts += [by_somebody(tenant, dict.fromkeys(order, 1)) for order in (pair, pair[::-1])]
    starts += [by_somebody(tenant, {products[n % len(products)]: 1}) for n in range(100)]
    dice.shuffle(starts)
    return starts


def by_somebody(tenant: TenantId, lines: Mapping[ProductId, int]) -> StartCheckout:
    """A start by a buyer of its own: one buyer's starts take turns at his limits, and would race for nothing else."""
    return a_start(tenant, lines, buyer=BuyerKey(f"user:{uuid.uuid4().hex[:12]}"), patience=60)


async def run_race(url: str, starts: Sequence[StartCheckout], *, guard: str = GUARD) -> list[CheckoutStatus]:
    """All starts, AT_ONCE at a time; what became of each. Every connection is closed at the end."""
    async with opened(url, size=AT_ONCE) as db:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(start: StartCheckout) -> CheckoutStatus:
            async with places:
                return (await reserve(db, start, guard=guard)).status

        return list(await asyncio.gather(*map(one, starts)))


async def deadlocks(rows: Rows) -> int:
    """Of this database so far. A backend reports them when it ends, so first all other ones must have ended."""
    others = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    await eventually(lambda: rows.value(others))
    await rows.all("SELECT pg_stat_clear_snapshot()")
    counted: int = await rows.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return counted


async def make_race_products(admin: shop.Connection, tenant: TenantId) -> list[ProductId]:
    """Five products of ten units: fifty to be had."""
    return [await shop.make_product(admin, tenant, stock=10) for _ in range(5)]
