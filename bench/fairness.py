"""What one tenant's on-sale costs another: starts of a quiet tenant alone, and beside a crowd at another tenant's.

The crowd waits for places; who is given the next one is what is compared: the tenants in turn, or who came first.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg
from temporalio.client import Client

from api.engine import Engine, Outlook
from api.fair_places import FairPlaces, Places
from bench.engine import PRICE, QUEUE, TRIES
from bench.figures import Round, Series
from bench.stage import HOT, STOCK, TENANT, Stage
from domain.errors import Unavailable
from domain.ids import BuyerKey, CheckoutId, ProductId, TenantId
from domain.messages import Line, StartCheckout

CROWD, QUIET = TenantId(TENANT), TenantId("quiet")
CLIENTS = 64
PLACES = 16
"""As HOLDFAST_MAX_INFLIGHT_STARTS has it by default. The crowd is four times as many."""
MANY_PLACES = 64
"""Then all of the crowd is in flight: nobody waits for a place, and everybody in the engine."""
PATIENCE = 30.0
"""Nobody is refused here: what is measured is how long it takes."""
_QUIET_TENANT = """
    INSERT INTO tenants (id, name, currency) VALUES ('quiet', 'Quiet', 'COP');
    WITH item AS (INSERT INTO stock_items (tenant_id, kind, total) VALUES ('quiet', 'product', {stock}) RETURNING id)
    INSERT INTO products (tenant_id, id, stock_item_id, name, price) SELECT 'quiet', 1, id, 'Thing', 1000 FROM item;
"""


class FirstCome:
    """The places as a plain semaphore shares them: one queue for all."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)

    @asynccontextmanager
    async def place(self, _: TenantId) -> AsyncIterator[None]:
        """See api.fair_places.Places."""
        async with self._places:
            yield


@dataclass
class Found:
    """The quiet tenant's starts, in each company, and the crowd's beside them."""

    quiet: list[Series] = field(default_factory=list)
    crowd: list[Series] = field(default_factory=list)


async def measure(stage: Stage, *, count: int, rounds: int) -> Found:
    """In turns, `rounds` times: `count` starts of the quiet tenant, one after the other, in each company."""
    with psycopg.connect(stage.url, autocommit=True) as connection:
        connection.execute(_QUIET_TENANT.format(stock=STOCK).encode())
        connection.execute("UPDATE tenants SET max_held_lines = 10000")
    client = await Client.connect(stage.temporal.address)
    companies: list[tuple[str, Callable[[], Places], int]] = [
        ("alone", lambda: _fair(PLACES), 0),
        (f"beside {CLIENTS} clients, {PLACES} places in turn", lambda: _fair(PLACES), CLIENTS),
        (f"beside {CLIENTS} clients, {PLACES} places, first come", lambda: FirstCome(PLACES), CLIENTS),
        (f"beside {CLIENTS} clients, {MANY_PLACES} places in turn", lambda: _fair(MANY_PLACES), CLIENTS),
    ]
    found = Found([Series(name) for name, _, _ in companies], [Series(name) for name, _, _ in companies])
    for number in range(-1, rounds):  # The first is to warm up, and not counted.
        for place, (_, places, clients) in enumerate(companies):
            engine = Engine(client, QUEUE, b"bench" * 8, places())
            quiet, crowd = await _together(engine, clients, count if number >= 0 else count // 4)
            if number >= 0:
                found.quiet[place].rounds.append(quiet)
                found.crowd[place].rounds.append(crowd)
    return found


def rows(found: Found) -> list[list[str]]:
    """A row a company: the quiet tenant's p50 and p95, beside those alone, and the crowd's rate."""
    alone = found.quiet[0]
    return [
        [
            quiet.name,
            f"{quiet.percentile(50):.0f} ms",
            f"{quiet.percentile(95):.0f} ms",
            f"{quiet.percentile(50) / alone.percentile(50):.1f}",
            f"{crowd.rate:.0f}/s" if crowd.rounds[0].done else "-",
        ]
        for quiet, crowd in zip(found.quiet, found.crowd, strict=True)
    ]


def _fair(places: int) -> FairPlaces:
    return FairPlaces(places, patience=PATIENCE)


async def _together(engine: Engine, clients: int, count: int) -> tuple[Round, Round]:
    """The quiet tenant's starts, and the crowd's meanwhile."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    crowd: list[float] = []

    async def one_of_the_crowd() -> None:
        while not done.is_set():
            crowd.append(await _start(engine, CROWD, HOT))

    tasks = [asyncio.create_task(one_of_the_crowd()) for _ in range(clients)]
    if tasks:
        await asyncio.sleep(1)  # Until the queue is as long as it gets.
    crowd.clear()
    began = loop.time()
    quiet = [await _start(engine, QUIET, HOT) for _ in range(count)]
    seconds = loop.time() - began
    meanwhile = Round(len(crowd), seconds, list(crowd))
    done.set()
    await asyncio.gather(*tasks)
    return Round(count, seconds, quiet), meanwhile


async def _start(engine: Engine, tenant: TenantId, product: int) -> float:
    """Seconds that one start took. Asked again, as a client would, when the engine did not answer in time."""
    now = datetime.now(UTC)
    start = StartCheckout(
        tenant=tenant,
        checkout_id=CheckoutId(str(uuid.uuid4())),
        buyer=BuyerKey(f"user:{uuid.uuid4()}"),
        lines=[Line(ProductId(product), 1)],
        fingerprint="f" * 64,
        deadline=now + timedelta(seconds=60),
    )
    outlook = Outlook(start.lines, PRICE, "COP", now + timedelta(seconds=900))
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(TRIES):
        with contextlib.suppress(Unavailable):
            started = await engine.start(start, outlook)
            if started.status != "held":
                raise RuntimeError(f"a start that should have held: {started}")
            return loop.time() - began
    raise RuntimeError(f"a start was not answered in {TRIES} tries")
