"""A closed loop of clients: each does one thing after another, so that no queue grows that nobody would wait in."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

from bench.figures import Round

Task = Callable[[int], Awaitable[None]]
"""One thing to do; it gets its number."""


async def closed_loop(task: Task, *, clients: int, count: int) -> Round:
    """Do `task` `count` times by `clients` at once; each gets its number. Bounded, and ends by itself."""
    numbers = itertools.count()
    latencies: list[float] = []

    async def client() -> None:
        while (number := next(numbers)) < count:
            began = time.perf_counter()
            await task(number)
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Round(count, time.perf_counter() - began, latencies)
