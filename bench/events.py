"""What telling costs, and how soon a listener hears of it: within a settle, with NOTIFY beside it, and by the tail.

The same settle in turns: without telling (its CTEs taken out), as it is, and with a NOTIFY in the same transaction.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
import unittest.mock
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

import db.settle as settling
from api.streams import Streams
from bench.figures import Round, Series
from bench.load import closed_loop
from bench.processor import processor_seconds
from bench.stage import PRODUCTS, TENANT, Stage
from db import reserve as reserving
from db.database import Database, Statement
from db.reserve import reserve
from db.settle import settle
from domain.checkout_events import CheckoutEventKind
from domain.ids import BuyerKey, CheckoutId, GatewayName, PaymentId, ProductId, TenantId
from domain.messages import Capture, Line, SettleRequest, StartCheckout, Wanted

CLIENTS, COUNT = 16, 320
PRICE = 1000
_TELLING = re.compile(r", (?:news AS \(.*?\n    \), )?told AS \(.*?\n    \)(?:, hooked AS \(.*?\n    \))?", re.DOTALL)


async def measure(stage: Stage, *, rounds: int) -> tuple[list[Series], list[Series]]:
    """(reserves, confirms), each without telling, with it, and (confirms) with NOTIFY; 16 at once."""
    db = Database(stage.url, size=CLIENTS)
    await db.open()
    reserves = [Series("reserve, telling nobody"), Series("reserve")]
    confirms = [Series("confirm, telling nobody"), Series("confirm"), Series("confirm with NOTIFY")]
    ways: list[Callable[[], Any]] = [untold, as_it_is, notifying]
    server = _server(stage.url)
    try:
        every = list(zip(ways, confirms, [*reserves, None], strict=True))
        for number in range(-1, rounds):
            for way, confirm, held in every[number % 3 :] + every[: number % 3]:
                with way():
                    starts = [_start() for _ in range(COUNT)]
                    made = await _timed(partial(_each, _reserve, db, starts), server)
                    done = await _timed(partial(_each, _confirm, db, starts), server)
                if number >= 0:  # The first round is warm, and not counted.
                    confirm.rounds.append(done)
                    if held is not None:
                        held.rounds.append(made)
    finally:
        await db.close()
    return reserves, confirms


async def latencies(stage: Stage, *, count: int = 60) -> list[Series]:
    """From the commit of an event to the listener that waits for it: by the tail, and by LISTEN."""
    tail, listen = Series("the tail, every 250 ms"), Series("LISTEN")
    db = Database(stage.url, size=4)
    await db.open()
    try:
        tail.rounds.append(Round(count, 1.0, [await _by_tail(db) for _ in range(count)]))
        with notifying():
            listen.rounds.append(Round(count, 1.0, [await _by_listen(db, stage) for _ in range(count)]))
    finally:
        await db.close()
    return [tail, listen]


async def looking(stage: Stage, *, listeners: int = 1_000, looks: int = 40) -> Series:
    """One look of the tail for so many listeners."""
    db = Database(stage.url, size=2)
    await db.open()
    try:
        starts = [_start() for _ in range(listeners)]
        for start in starts:
            await _reserve(db, start)
        streams = Streams(db, most=listeners, most_of_one=listeners)
        with _all_listening(streams, starts):
            reader = streams._reader  # noqa: SLF001  # Looks are made here, one after the other.
            if reader is not None:
                reader.cancel()
            server, took = _server(stage.url), list[float]()
            before, ours = processor_seconds(server), time.process_time()
            for _ in range(looks):
                began = time.perf_counter()
                await streams._look()  # noqa: SLF001
                took.append(time.perf_counter() - began)
        used = {"database": processor_seconds(server) - before, "process": time.process_time() - ours}
        return Series(f"a look for {listeners:,} listeners", [Round(looks, sum(took), took, used)])
    finally:
        await db.close()


@contextmanager
def _all_listening(streams: Streams, starts: list[StartCheckout]) -> Iterator[None]:
    with ExitStack() as stack:
        for start in starts:
            stack.enter_context(streams.listening("bench", start.tenant, start.checkout_id, 1))
        yield


@contextmanager
def as_it_is() -> Iterator[None]:
    """What runs in production."""
    yield


@contextmanager
def untold() -> Iterator[None]:
    """Without the CTEs that tell."""
    confirm: str = vars(settling)["CONFIRM_CHECKOUT"]
    statement: Callable[..., str] = vars(reserving)["reserve_statement"]
    bare = _TELLING.sub("", confirm)
    if "checkout_events" in bare or bare == confirm:
        raise RuntimeError("the statement does not look as this measurement thinks")

    def without(*args: Any, **kwargs: Any) -> str:
        return _TELLING.sub("", statement(*args, **kwargs))

    with (
        unittest.mock.patch.object(settling, "CONFIRM_CHECKOUT", bare),
        unittest.mock.patch.object(reserving, "reserve_statement", without),
    ):
        yield


@contextmanager
def notifying() -> Iterator[None]:
    """With a NOTIFY in the transaction of each settle."""
    writes = settling._writes  # noqa: SLF001

    def also(seen: Any, verdict: Any) -> list[Statement]:
        of = {"payload": f"{seen.request.ref.tenant}/{seen.request.ref.checkout_id}"}
        return [*writes(seen, verdict), ("SELECT pg_notify('checkout_events', %(payload)s)", of)]

    with unittest.mock.patch.object(settling, "_writes", also):
        yield


async def _timed(task: Callable[[int], Awaitable[None]], server: int) -> Round:
    before, ours = processor_seconds(server), time.process_time()
    done = await closed_loop(task, clients=CLIENTS, count=COUNT)
    done.used = {"database": processor_seconds(server) - before, "process": time.process_time() - ours}
    return done


async def _each(
    work: Callable[[Database, StartCheckout], Awaitable[None]], db: Database, starts: list[StartCheckout], number: int
) -> None:
    await work(db, starts[number])


_products = itertools.cycle(range(1, PRODUCTS + 1))


def _start() -> StartCheckout:
    return StartCheckout(
        tenant=TenantId(TENANT),
        checkout_id=CheckoutId(str(uuid.uuid4())),
        buyer=BuyerKey(f"user:{uuid.uuid4()}"),
        lines=[Line(ProductId(next(_products)), 1)],
        fingerprint="f" * 64,
        deadline=datetime.now(UTC) + timedelta(minutes=10),
    )


async def _reserve(db: Database, start: StartCheckout) -> None:
    started = await reserve(db, start)
    if started.status != "held":
        raise RuntimeError(f"a start that should have held: {started}")


async def _confirm(db: Database, start: StartCheckout) -> None:
    capture = Capture(
        GatewayName("sandbox"), PaymentId(uuid.uuid4().hex), start.checkout_id, PRICE, "COP", datetime.now(UTC)
    )
    settled = await settle(db, SettleRequest(start.ref, Wanted.CONFIRM, capture))
    if settled.status != "confirmed":
        raise RuntimeError(f"a confirm that should have sold: {settled}")


async def _by_tail(db: Database) -> float:
    start, streams = _start(), Streams(db, most=10, most_of_one=10)
    await _reserve(db, start)
    with streams.listening("bench", start.tenant, start.checkout_id, 1) as listener:
        await asyncio.sleep(uuid.uuid4().int % 250 / 1000)  # At any moment between two looks.
        await _confirm(db, start)
        began = time.perf_counter()
        event = await listener.next(10)
        if event is None or event.kind is not CheckoutEventKind.CONFIRMED:
            raise RuntimeError(f"the listener heard {event}")
        return time.perf_counter() - began


async def _by_listen(db: Database, stage: Stage) -> float:
    start = _start()
    await _reserve(db, start)
    async with await psycopg.AsyncConnection.connect(stage.url, autocommit=True) as connection:
        await connection.execute("LISTEN checkout_events")
        heard = asyncio.create_task(_first(connection))
        await asyncio.sleep(0.01)
        await _confirm(db, start)
        began = time.perf_counter()
        await heard
        return time.perf_counter() - began


async def _first(connection: psycopg.AsyncConnection[Any]) -> None:
    async for _ in connection.notifies():
        return


def _server(url: str) -> int:
    """The process id of PostgreSQL's first process."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        if row is None:
            raise RuntimeError("no answer")
        return _parent(row[0])


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def rows(series: list[Series]) -> list[list[str]]:
    """A row a contestant, beside the first: rate, p50, p95, and milliseconds of processor time for one."""
    return [
        [
            one.name,
            f"{one.rate:.0f}/s",
            f"{one.percentile(50):.1f} ms",
            f"{one.percentile(95):.1f} ms",
            "1" if one is series[0] else f"{one.ratio_to(series[0]):.2f}",
            *(f"{one.cost(part):.2f} ms" for part in ("database", "process")),
        ]
        for one in series
    ]
