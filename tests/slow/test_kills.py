"""kill -9 of each part in the middle of 50 checkouts: what a buyer was told stays true, and every invariant holds."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from db import migrate
from domain.ids import ProductId, TenantId
from local.postgres import Postgres
from local.temporal import Temporal
from tests.support import servers, shop
from tests.support.buyers import Buyer, insist
from tests.support.fleet import Fleet, running_fleet
from tests.support.system import DEMO, QUICK

pytestmark = pytest.mark.slow
BUYERS = 50
AT_ONCE = 12
KILLS = 4
HOLD_SECONDS = 75
"""Of those who pay or cancel: long enough for that, and short enough for the test to see the holds' ends. For Temporal
may lose a request together with the task that carried it, after the row was settled: then nobody wakes the run (the
buyer's next try is answered by the row), and it must end by itself at its hold's end."""
QUIET_SECONDS = HOLD_SECONDS + 60


@dataclass
class Stage:
    """The parts that can be killed, and the products that are sold."""

    fleet: Fleet
    postgres: Postgres
    temporal: Temporal
    products: dict[TenantId, list[ProductId]]


@dataclass
class Told:
    """What the API acknowledged: a 2xx is a promise (I8)."""

    held: dict[str, TenantId] = field(default_factory=dict)
    orders: dict[str, str] = field(default_factory=dict)
    """Checkout → order."""
    cancelled: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    postgres, temporal = servers.private_postgres(folder), servers.private_temporal(folder)
    try:
        await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(temporal.start)
        await asyncio.to_thread(migrate.upgrade, postgres.url())
        async with running_fleet(postgres.url(), temporal.address, folder, delivery_timeout=8.0) as fleet:
            async with shop.connect(postgres.url()) as admin:
                await admin.execute("UPDATE tenants SET hold_seconds = %s WHERE id = %s", (HOLD_SECONDS, DEMO))
                products = {
                    tenant: [await shop.make_product(admin, tenant, stock=40, price=1000 + n) for n in range(3)]
                    for tenant in (DEMO, QUICK)
                }
            yield Stage(fleet, postgres, temporal, products)
    finally:
        await asyncio.gather(asyncio.to_thread(temporal.stop), asyncio.to_thread(postgres.stop))


async def test_a_killed_worker_breaks_no_promise(server_folder: Path) -> None:
    async with stage(server_folder) as here:
        await survive(here, lambda: asyncio.to_thread(here.fleet.worker.kill), seed(11))
        assert here.fleet.worker.starts >= 1 + KILLS


async def test_a_killed_api_breaks_no_promise(server_folder: Path) -> None:
    async with stage(server_folder) as here:
        await survive(here, lambda: asyncio.to_thread(here.fleet.api.kill), seed(12))
        assert here.fleet.api.starts >= 1 + KILLS


async def test_a_killed_postgres_breaks_no_promise(server_folder: Path) -> None:
    async with stage(server_folder) as here:
        await survive(here, lambda: asyncio.to_thread(kill_and_start, here.postgres), seed(13))


async def test_a_killed_temporal_breaks_no_promise(server_folder: Path) -> None:
    async with stage(server_folder) as here:
        await survive(here, lambda: asyncio.to_thread(kill_and_start, here.temporal), seed(14))


def kill_and_start(server: Postgres | Temporal) -> None:
    server.kill()
    server.start()


def seed(base: int) -> random.Random:
    number = base * 1_000_003 + 20261121
    print(f"seed {number}")
    return random.Random(number)


async def survive(here: Stage, kill: Callable[[], Awaitable[None]], dice: random.Random) -> None:
    """50 buyers go shopping while the part is killed again and again; then everything told must be so."""
    told, places = Told(), asyncio.Semaphore(AT_ONCE)
    buyers = [asyncio.create_task(shop_once(here, told, places, random.Random(dice.random()))) for _ in range(BUYERS)]
    for _ in range(KILLS):
        await some_good_answers(here.fleet, 4)
        await asyncio.sleep(dice.uniform(0, 0.3))
        await kill()
    killed_early = sum(not task.done() for task in buyers)
    await asyncio.gather(*buyers)
    print(f"{killed_early} of {BUYERS} buyers were still busy after the last kill; {dict(told.kinds)}")
    await here.fleet.end_well(QUIET_SECONDS)
    assert killed_early > 0, "the kills came too late to mean anything"
    await assert_told_is_so(here, told)


async def some_good_answers(fleet: Fleet, count: int) -> None:
    """Wait until writes succeed (again), so that every kill hits work in progress and none a part still starting."""
    enough, good = asyncio.Event(), 0

    async def hook(response: httpx.Response) -> None:
        nonlocal good
        good += response.is_success and response.request.method == "POST"
        if good >= count:
            enough.set()

    hooks = fleet.http.event_hooks["response"]
    fleet.http.event_hooks = {"response": [*hooks, hook]}
    async with asyncio.timeout(30):
        await enough.wait()
    fleet.http.event_hooks = {"response": hooks}


async def shop_once(here: Stage, told: Told, places: asyncio.Semaphore, dice: random.Random) -> None:
    """One buyer: hold, then pay (told by webhook, by confirm or both), cancel, or walk away."""
    async with places:
        await asyncio.sleep(dice.uniform(0, 0.4))
        kind = dice.choice(["webhook", "confirm", "both", "cancel", "leave"])
        told.kinds[kind] += 1
        tenant = QUICK if kind == "leave" else DEMO
        buyer = here.fleet.buyer(tenant)
        key, lines = f"k{dice.random()}", [(product, dice.randint(1, 2)) for product in here.products[tenant]]
        chosen = dice.sample(lines, dice.randint(1, 3))
        answer = await insist(lambda: buyer.start(*chosen, key=key))
        assert answer.status_code in (201, 409), answer.text
        if answer.status_code == 201:
            held = answer.json()
            told.held[held["id"]] = tenant
            await SCRIPTS[kind](here, told, buyer, held)


async def pay(here: Stage, told: Told, buyer: Buyer, held: dict[str, Any], *, drop: bool) -> str:
    made = await here.fleet.gateway.create(buyer.tenant, held["id"], held["total"], held["currency"])
    await here.fleet.gateway.pay(made["id"], drop=drop)
    return str(made["id"])


async def by_webhook(here: Stage, told: Told, buyer: Buyer, held: dict[str, Any]) -> None:
    await pay(here, told, buyer, held, drop=False)
    await until_over(buyer, held["id"])


async def by_confirm(here: Stage, told: Told, buyer: Buyer, held: dict[str, Any], *, drop: bool = True) -> None:
    payment = await pay(here, told, buyer, held, drop=drop)
    for _ in range(60):
        answer = await insist(lambda: buyer.confirm(held["id"], payment, key=f"c{held['id']}"))
        assert answer.status_code in (200, 202), answer.text
        if answer.status_code == 200:
            told.orders[held["id"]] = answer.json()["id"]
            return
        await asyncio.sleep(0.5)
    raise AssertionError("never confirmed")


async def by_both(here: Stage, told: Told, buyer: Buyer, held: dict[str, Any]) -> None:
    await by_confirm(here, told, buyer, held, drop=False)


async def cancelling(here: Stage, told: Told, buyer: Buyer, held: dict[str, Any]) -> None:
    answer = await insist(lambda: buyer.cancel(held["id"], key="c"))
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled"), answer.text
    told.cancelled.add(held["id"])


async def leaving(here: Stage, told: Told, buyer: Buyer, held: dict[str, Any]) -> None:
    """The hold ends by itself."""


Script = Callable[[Stage, Told, Buyer, dict[str, Any]], Coroutine[Any, Any, None]]
SCRIPTS: dict[str, Script] = {
    "webhook": by_webhook,
    "confirm": by_confirm,
    "both": by_both,
    "cancel": cancelling,
    "leave": leaving,
}


async def until_over(buyer: Buyer, checkout: str) -> None:
    for _ in range(300):
        if (await insist(lambda: buyer.look(checkout))).json()["status"] != "held":
            return
        await asyncio.sleep(0.2)
    raise AssertionError("never confirmed")


async def assert_told_is_so(here: Stage, told: Told) -> None:
    """I8, in the database itself."""
    async with shop.connect(here.fleet.admin_url) as admin:
        cursor = await admin.execute(
            "SELECT c.id::text, c.tenant_id, c.status, o.id::text FROM checkouts c"
            " LEFT JOIN orders o ON o.tenant_id = c.tenant_id AND o.checkout_id = c.id"
        )
        rows = {row[0]: (row[1], row[2], row[3]) for row in await cursor.fetchall()}
        cursor = await admin.execute("SELECT event_id FROM payment_events WHERE state = 'settled'")
        settled = {row[0] for row in await cursor.fetchall()}
    assert len(told.held) >= BUYERS // 2
    for checkout, tenant in told.held.items():
        assert rows[checkout][0] == tenant
        assert rows[checkout][1] != "refused"
    assert {checkout: rows[checkout][2] for checkout in told.orders} == told.orders
    assert {rows[checkout][1] for checkout in told.cancelled} <= {"cancelled"}
    copies = await here.fleet.gateway.call("GET", "/webhooks")
    delivered = {copy["event_id"] for copy in copies if copy["state"] == "delivered"}
    assert delivered, "the gateway's webhooks were part of it"
    assert delivered <= settled
