"""Answers that are dear to make and may be a moment old: made once for all who ask at the same time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
MAX_AGE = 1.0
TIMES_ITS_COST = 20.0
"""How long an answer is kept, in times of what making it took: so it takes a twentieth of that time at most."""


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    until: float


class Fresh(Generic[T]):
    """The newest so many answers, by key. One that was quick to make is made anew almost each time."""

    def __init__(self, *, most: int = 1_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._kept = OrderedDict[Hashable, _Kept[T]]()
        self._making: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The answer, at most MAX_AGE seconds old. Raises what `make` raises, which is not kept."""
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept.until:
            return kept.value
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._make(key, make))
            task.add_done_callback(lambda _: self._making.pop(key))
        return await asyncio.shield(task)  # One who hangs up must not take the answer from the others.

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        began = self._clock()
        value = await make()
        self._kept[key] = _Kept(value, began + min(MAX_AGE, TIMES_ITS_COST * (self._clock() - began)))
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value
