"""Tickets: what is available and the best available, of 50,000 seats beside 500; and what each line costs.

By the functions that API and worker call, one after the other; and what is available by HTTP, as buyers ask for it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from bench.figures import Round, Series
from bench.light_client import LightClient, request
from bench.recovery import token
from bench.stage import PRODUCTS, TENANT, Stage
from db.database import Database
from db.event_admin import NewEvent, create_event
from db.events import NO_SEAT, list_seats, zones_of
from db.reserve import reserve
from db.settle import settle
from db.zone_admin import NewZone, create_zone
from domain.checkout import CheckoutStatus
from domain.ids import Actor, BuyerKey, CheckoutId, EventKey, ProductId, SeatId, TenantId, ZoneId
from domain.messages import Line, SettleRequest, StartCheckout, Wanted
from domain.venue import SeatRow

SIZES = {500: 20, 50_000: 500}
"""Seats of a zone, and its rows."""
LINES = (1, 10, 50)
CLIENTS = 8
PAGE = 1_000
_ACTOR = Actor("system:bench")
_TENANT = TenantId(TENANT)
_TAKE = """
    UPDATE stock_items i SET total = 0 FROM seats s
    WHERE s.tenant_id = i.tenant_id AND s.stock_item_id = i.id AND s.zone_id = %(zone)s AND {which}
"""
_STATES = {
    "all free": "false",
    "front half gone": "s.rank <= %(half)s",
    "every second gone: refused": "s.number %% 2 = 0",
}
"""What is blocked of a zone, one after the other."""


@dataclass(frozen=True)
class _House:
    """An event of one zone."""

    event: EventKey
    zone: ZoneId
    rows: int
    seats: list[SeatId]


async def measure(stage: Stage, rounds: int) -> tuple[dict[int, list[Series]], list[Series]]:
    """(by the size of the zone: reads and picks, by lines: reserves of products and of seats)."""
    async with _database(stage) as db:
        houses = {size: await _house(db, size, rows) for size, rows in SIZES.items()}
        with psycopg.connect(stage.url, autocommit=True) as admin:
            admin.execute("VACUUM ANALYZE")
        lines = await _reserves(db, houses[min(SIZES)], 40 * rounds)
        found = {size: await _reads(db, house, 20 * rounds) for size, house in houses.items()}
        for size, house in houses.items():
            found[size] += _by_http(stage, house, rounds)
        for state, which in _STATES.items():
            with psycopg.connect(stage.url, autocommit=True) as admin:
                for house in houses.values():
                    values = {"zone": house.zone, "half": house.rows // 2}
                    admin.execute(_TAKE.format(which=which).encode(), values)
            for size, house in houses.items():
                found[size].append(await _picks(db, house, state, 10 * rounds))
    return found, lines


def rows(found: Mapping[int, Sequence[Series]]) -> list[list[str]]:
    """A row a thing done: its p50 and p95 with each size of the zone."""
    sizes = [found[size] for size in SIZES]
    return [
        [same[0].name, *(cell for one in same for cell in (_ms(one, 50), _ms(one, 95)))]
        for same in zip(*sizes, strict=True)
    ]


def line_rows(series: Sequence[Series]) -> list[list[str]]:
    """A row a number of lines: p50, p95, and p50 a line."""
    per_line = [one.percentile(50) / int(one.name.split()[2]) for one in series]
    return [
        [one.name, _ms(one, 50), _ms(one, 95), f"{each:.2f} ms"] for one, each in zip(series, per_line, strict=True)
    ]


async def _reads(db: Database, house: _House, count: int) -> list[Series]:
    async def available() -> None:
        assert await zones_of(db, _TENANT, house.event)  # noqa: S101

    async def page() -> None:
        assert await list_seats(db, _TENANT, house.zone, NO_SEAT, PAGE)  # noqa: S101

    return [
        await _timed("what is available, counted", available, count),
        await _timed(f"a page of up to {PAGE:,} seats", page, count),
    ]


def _by_http(stage: Stage, house: _House, rounds: int) -> list[Series]:
    series = Series(f"what is available, HTTP, {CLIENTS} clients")
    ask = request("GET", f"/v1/events/{house.event}/zones", token())
    with LightClient() as client:
        client.run(stage.ports["api"], [[ask]] * CLIENTS, 0.5)
        series.rounds += [client.run(stage.ports["api"], [[ask]] * CLIENTS, 1.0) for _ in range(rounds)]
    return [series]


async def _picks(db: Database, house: _House, state: str, count: int) -> Series:
    """Two seats together; given back each time, outside of the measured time."""
    wanted = CheckoutStatus.REFUSED if "refused" in state else CheckoutStatus.HELD
    return await _holds(f"two together, {state}", db, lambda _: [Line(None, 2, zone_id=house.zone)], count, wanted)


async def _reserves(db: Database, house: _House, count: int) -> list[Series]:
    def products(lines: int) -> Callable[[int], list[Line]]:
        return lambda number: [Line(ProductId((number * 50 + n) % PRODUCTS + 1), 1) for n in range(lines)]

    def seats(lines: int) -> Callable[[int], list[Line]]:
        return lambda _: [Line(None, 1, seat_id=seat) for seat in house.seats[:lines]]

    found = []
    for what, make in (("products", products), ("seats", seats)):
        for lines in LINES:
            name = f"reserve of {lines} {what}"
            await _holds(name, db, make(lines), 10, CheckoutStatus.HELD)  # Warm, and not counted.
            found.append(await _holds(name, db, make(lines), count, CheckoutStatus.HELD))
    return found


async def _holds(
    name: str, db: Database, lines: Callable[[int], list[Line]], count: int, wanted: CheckoutStatus
) -> Series:
    latencies = []
    for number in range(count):
        start = _start(lines(number))
        began = time.perf_counter()
        started = await reserve(db, start)
        latencies.append(time.perf_counter() - began)
        if started.status is not wanted:
            raise RuntimeError(f"{name}: {started.status}, not {wanted}")
        if wanted is CheckoutStatus.HELD:
            await settle(db, SettleRequest(start.ref, Wanted.CANCEL))
    return Series(name, [Round(count, sum(latencies), latencies)])


async def _timed(name: str, work: Callable[[], Awaitable[None]], count: int) -> Series:
    await work()
    latencies = []
    for _ in range(count):
        began = time.perf_counter()
        await work()
        latencies.append(time.perf_counter() - began)
    return Series(name, [Round(count, sum(latencies), latencies)])


def _start(lines: list[Line]) -> StartCheckout:
    name = str(uuid.uuid4())
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    return StartCheckout(_TENANT, CheckoutId(name), BuyerKey(f"user:{name}"), lines, "bench", deadline)


async def _house(db: Database, size: int, rows: int) -> _House:
    event = await create_event(db, _TENANT, _ACTOR, NewEvent(f"{size} seats"))
    parts = [SeatRow(f"{row}", 1, size // rows) for row in range(1, rows + 1)]
    zone = await create_zone(db, _TENANT, _ACTOR, event.id, NewZone("Stalls", 5000, rows=parts))
    page = await list_seats(db, _TENANT, zone.id, NO_SEAT, max(LINES))
    assert page is not None  # noqa: S101
    return _House(event.id, zone.id, rows, [SeatId(seat["id"]) for seat in page.seats])


@asynccontextmanager
async def _database(stage: Stage) -> AsyncIterator[Database]:
    db = Database(stage.url, size=2, name="holdfast-bench")
    await db.open()
    try:
        yield db
    finally:
        await db.close()


def _ms(series: Series, percent: int) -> str:
    return f"{series.percentile(percent):.1f} ms"


def run(stage: Stage, rounds: int) -> tuple[dict[int, list[Series]], list[Series]]:
    """`measure`, to its end."""
    return asyncio.run(measure(stage, rounds))
