"""Where rate limits are counted when nobody names a shared store: in this process, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from limits.aio.storage import Storage

MAX_COUNTERS = 100_000
"""Under 40 MB, measured. When there would be more, the one that would end first is forgotten."""


class Counters(Storage):
    """Counters of fixed windows for the asyncio strategies of `limits`; every window must be equally long.

    Not the library's own MemoryStorage, which looks through all of its keys at nearly every hit (1 ms for each hit at
    10,000 addresses, measured) and keeps as many as there come: somebody with many addresses could slow everybody down.
    """

    STORAGE_SCHEME = None

    def __init__(self, size: int = MAX_COUNTERS, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, that nobody sets back."""
        super().__init__()
        self._size, self._now = size, clock
        self._counters: OrderedDict[str, list[float]] = OrderedDict()
        """(count, end by the clock) by key. As windows are equally long, the first is the first to end."""

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, in a window that begins with its first hit and that later ones do not lengthen; the count so far."""
        now = self._now()
        counter = self._counters.get(key)
        if counter is None or counter[1] <= now:
            counter = self._begin(key, now + expiry)
        counter[0] += amount
        return int(counter[0])

    async def get(self, key: str) -> int:
        """How many in the window now; 0 without one."""
        counter = self._counters.get(key)
        return 0 if counter is None or counter[1] <= self._now() else int(counter[0])

    async def get_expiry(self, key: str) -> float:
        """When the window ends (seconds since 1970)."""
        counter = self._counters.get(key)
        return time.time() + (0 if counter is None else counter[1] - self._now())

    async def check(self) -> bool:
        return True

    async def reset(self) -> int:
        """Forget everything; how many counters there were."""
        count = len(self._counters)
        self._counters.clear()
        return count

    async def clear(self, key: str) -> None:
        self._counters.pop(key, None)

    def _begin(self, key: str, end: float) -> list[float]:
        """A new counter, the last in order. Two old ones go for each, so that those that have ended do not pile up."""
        self._counters.pop(key, None)
        counter = self._counters[key] = [0, end]
        for _ in range(2):
            first, (_, ends) = next(iter(self._counters.items()))
            if len(self._counters) <= self._size and ends > self._now():
                break
            del self._counters[first]
        return counter
