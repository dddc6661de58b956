"""Rate limits: every rule, and the one place that applies them.

Fixed windows of a minute, by the library `limits`. Its sliding window keeps bursts down at the edge of two windows
(at most twice the limit passes there), but takes two counters for each caller, costs half as much again (measured),
and cannot say exactly when the next request will pass; a fixed window can, so who waits for Retry-After gets through.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import cast

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from structlog import stdlib

from api.counters import Counters
from api.tokens import Caller, CallerKind
from domain.errors import TooManyRequests

_log = stdlib.get_logger("security")
STORE_SECONDS = 0.25
"""How long a shared store may take. A request then passes uncounted: a limit must not stop the shop."""
REST_SECONDS = 5.0
"""How long a store that failed is not asked again: requests pass at once, and one line says so, not one for each."""
_NO_TIMEOUT = contextlib.nullcontext()
_Ask = Callable[[RateLimitItem, str], Awaitable[bool]]
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Limit(StrEnum):
    """What is limited, each by `HOLDFAST_RATE_LIMIT_<NAME>` requests a minute (0: not at all)."""

    LOGIN = "login"
    REFRESH = "refresh"
    SESSIONS = "sessions"
    REFUSED_TOKENS = "refused_tokens"
    WRITES = "writes"
    READS = "reads"
    SERVICE_WRITES = "service_writes"
    SERVICE_READS = "service_reads"


BY_ADDRESS: Mapping[str, Limit] = {"login": Limit.LOGIN, "refreshToken": Limit.REFRESH, "openSession": Limit.SESSIONS}
"""The operations (by operation id) that need no token and are limited by address, before anything else is done."""


class Limits:
    """Counts requests, and refuses those over their limit."""

    def __init__(self, per_minute: Mapping[Limit, int], storage: Storage | None = None) -> None:
        """`storage`: as `storage_of` gives it; None counts in this process."""
        self._items = {
            limit: RateLimitItemPerMinute(amount, namespace=f"holdfast/{limit}")
            for limit, amount in per_minute.items()
            if amount > 0
        }
        self._shared, self._rests_until = storage is not None, float("-inf")
        self._limiter = FixedWindowRateLimiter(storage or Counters())

    async def hit(self, limit: Limit, who: str) -> None:
        """Count a request of `who`. Raises TooManyRequests over the limit; what is refused lengthens nothing."""
        if item := self._items.get(limit):
            await self._ask(self._limiter.hit, limit, item, who)

    async def check(self, limit: Limit, who: str) -> None:
        """Raise TooManyRequests if `who` is at the limit already; counts nothing."""
        if item := self._items.get(limit):
            await self._ask(self._limiter.test, limit, item, who)

    async def hit_by(self, caller: Caller, method: str) -> None:
        """Count a request with a good token. A service speaks for many buyers, so it has limits of its own."""
        reads = method in _READING
        if caller.kind is CallerKind.SERVICE:
            limit = Limit.SERVICE_READS if reads else Limit.SERVICE_WRITES
        else:
            limit = Limit.READS if reads else Limit.WRITES
        await self.hit(limit, f"{caller.tenant}/{caller.buyer_key}")

    async def _ask(self, passes: _Ask, limit: Limit, item: RateLimitItem, who: str) -> None:
        if self._shared and time.monotonic() < self._rests_until:
            return
        try:
            async with asyncio.timeout(STORE_SECONDS) if self._shared else _NO_TIMEOUT:
                if await passes(item, who):
                    return
                ends = (await self._limiter.get_window_stats(item, who)).reset_time
        except (StorageError, OSError) as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            cause = error.storage_error if isinstance(error, StorageError) else error
            _log.error("limits_not_counted", seconds=REST_SECONDS, error=type(cause).__name__)
            return
        seconds = max(1, math.ceil(ends - time.time()))
        _log.warning("limit_hit", limit=limit.value, who=who, retry_after=seconds)
        detail = f"At most {item.amount} a minute. Send it again in {seconds} s."
        raise TooManyRequests(detail, retry_after=seconds, limit=limit.value)


def storage_of(uri: str) -> Storage | None:
    """The store that a setting names: `memory` (None: each process counts for itself), or an address that the library
    `limits` knows, such as `redis://host:6379`. Raises ValueError for another, or when its client is not installed."""
    if uri == "memory":
        return None
    options = {"implementation": "redispy"} if uri.startswith("redis") else {}
    try:
        storage = storage_from_string(f"async+{uri}", wrap_exceptions=True, **options)
    except ConfigurationError:
        raise ValueError(
            "HOLDFAST_RATE_LIMIT_STORAGE: its scheme is not known, or its client is not installed"
        ) from None
    return cast("Storage", storage)
