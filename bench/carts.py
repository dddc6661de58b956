"""Carts: read and change, with few and with many lines, on one API process and on two, beside doing nothing.

The yardstick is a route that checks the same token, on the same processes, in the same round.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx

from bench.figures import Round, Series
from bench.light_client import LightClient, Streams, request
from bench.processor import processor_seconds
from bench.recovery import token
from bench.stage import Stage
from local import processes
from local.ports import free_port

PROCESSES = (1, 2)
LINES = (3, 100)
STARTED_SECONDS = 60.0
P99_MS, OF_NOTHING, OF_FEW, PER_SECOND = 100.0, 0.35, 2.0, 1000.0
"""The aims: PATCH's p99 and rate beside nothing; what 100 lines may cost beside 3; requests a second."""


NOTHING = "nothing, token checked"
PARTS = ("API", "PostgreSQL", "client")


@dataclass(frozen=True)
class Contestant:
    """One kind of request, and what each connection sends."""

    name: str
    streams: Streams


@dataclass
class Found:
    """The series of one number of processes, by the contestants' names."""

    processes: int
    series: dict[str, Series]

    @property
    def nothing(self) -> Series:
        return self.series[NOTHING]


def measure(stage: Stage, *, clients: int, seconds: float, rounds: int) -> list[Found]:
    """Every contestant on every number of processes, in turns within each round."""
    with _apis(stage) as ports, LightClient() as client:
        contestants = _contestants(next(iter(ports.values())), clients)
        found = {count: Found(count, {one.name: Series(one.name) for one in contestants}) for count in ports}
        _take_turns(stage, client, ports, contestants, 0.5)  # Warm, and not counted.
        for _ in range(rounds):
            for count, name, done in _take_turns(stage, client, ports, contestants, seconds):
                found[count].series[name].rounds.append(done)
        return list(found.values())


def rows(found: Found) -> list[list[str]]:
    """A row a contestant: rate, p50, p99, its rate beside nothing's, and the processor time of each part."""
    return [
        [
            one.name,
            f"{one.rate:.0f}/s",
            f"{one.percentile(50):.1f} ms",
            f"{one.percentile(99):.1f} ms",
            "1" if one is found.nothing else f"{one.ratio_to(found.nothing):.2f}",
            *(f"{one.cost(part):.2f} ms" for part in PARTS),
        ]
        for one in found.series.values()
    ]


def aims(everything: Sequence[Found]) -> list[list[str]]:
    """A row an aim and number of processes: what was wanted, what was found, and whether it was met."""
    return [row for found in everything for row in _aims(found)]


def _aims(found: Found) -> Iterator[list[str]]:
    few, many = LINES
    where = f"{found.processes} process" + ("es" if found.processes > 1 else "")
    ratio = found.series[_change(few)].ratio_to(found.nothing)
    yield [f"{_change(few)}, {where}: beside nothing", f"≥ {OF_NOTHING}", f"{ratio:.2f}", _met(ratio >= OF_NOTHING)]
    for lines in LINES:
        p99 = found.series[_change(lines)].percentile(99)
        yield [f"{_change(lines)}, {where}: p99", f"≤ {P99_MS:.0f} ms", f"{p99:.0f} ms", _met(p99 <= P99_MS)]
    for name in (_change, _read):
        cost = found.series[name(few)].ratio_to(found.series[name(many)])
        yield [
            f"{name(many)}, {where}: cost beside {few} lines",
            f"≤ {OF_FEW:.0f}",
            f"{cost:.2f}",
            _met(cost <= OF_FEW),
        ]
    for name in (_change, _read):
        rate = found.series[name(few)].rate
        yield [f"{name(few)}, {where}: rate", f"≥ {PER_SECOND:.0f}/s", f"{rate:.0f}/s", _met(rate >= PER_SECOND)]


def _met(met: bool) -> str:
    return "met" if met else "not met"


def _change(lines: int) -> str:
    return f"PATCH /v1/cart, {lines} lines"


def _read(lines: int) -> str:
    return f"GET /v1/cart, {lines} lines"


def _take_turns(
    stage: Stage, client: LightClient, ports: Mapping[int, int], contestants: Sequence[Contestant], seconds: float
) -> list[tuple[int, str, Round]]:
    turns = []
    for count, port in ports.items():
        api, postgres = stage.children[f"carts-{count}"].pid, stage.postgres.pid
        for one in contestants:
            before = processor_seconds(api), processor_seconds(postgres)
            done = client.run(port, one.streams, seconds)
            done.used["API"] = processor_seconds(api) - before[0]
            done.used["PostgreSQL"] = processor_seconds(postgres) - before[1]
            turns.append((count, one.name, done))
    return turns


def _contestants(port: int, clients: int) -> list[Contestant]:
    """Each of the clients is a buyer with a cart of each size."""
    made = [Contestant(NOTHING, [[request("GET", "/bench/nothing", token())] for _ in range(clients)])]
    for lines in LINES:
        buyers = [token() for _ in range(clients)]
        for buyer in buyers:
            _fill(port, buyer, lines)
        # Another quantity each time: each request changes something.
        changes = [json.dumps({"1": quantity}, separators=(",", ":")) for quantity in range(2, 10)]
        made += [
            Contestant(
                _change(lines), [[request("PATCH", "/v1/cart", buyer, one) for one in changes] for buyer in buyers]
            ),
            Contestant(_read(lines), [[request("GET", "/v1/cart", buyer)] for buyer in buyers]),
        ]
    return made


def _fill(port: int, buyer: str, lines: int) -> None:
    httpx.patch(
        f"http://127.0.0.1:{port}/v1/cart",
        json={str(product): 1 for product in range(1, lines + 1)},
        headers={"authorization": f"Bearer {buyer}"},
        timeout=15,
    ).raise_for_status()


@contextmanager
def _apis(stage: Stage) -> Iterator[Mapping[int, int]]:
    """Ports by number of processes; each answers."""
    ports = {count: free_port() for count in PROCESSES}
    for count, port in ports.items():
        stage.start_child(f"carts-{count}", "-m", "bench.carts_api", str(port), str(count))
    try:
        for port in ports.values():
            _until_served(port)
        yield ports
    finally:
        for count in ports:
            processes.stop(stage.children.pop(f"carts-{count}"))


def _until_served(port: int) -> None:
    deadline = time.monotonic() + STARTED_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).raise_for_status()
            return
        time.sleep(0.1)
    raise RuntimeError(f"the API did not start within {STARTED_SECONDS:.0f} s; see its log")
