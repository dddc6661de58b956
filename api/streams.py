"""Streams of checkouts' events: the one reader of a process, and whom it hands what it reads.

The reader looks four times a second, in one round trip, and only while somebody listens. Why it does not wait for
PostgreSQL's NOTIFY instead: docs/decisions/25-events-by-a-short-tail.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from structlog import stdlib

from db.checkout_events import CheckoutEvent, events_after
from db.database import Database
from domain.errors import TooManyRequests, Unavailable
from domain.ids import CheckoutId, TenantId

_log = stdlib.get_logger("streams")
LOOK_EVERY = 0.25
LOOK_AGAIN = 1.0
"""Seconds between two looks, and after one that failed."""
MOST_WAITING = 64
"""Events that wait for one listener. Who takes them more slowly is let go, and comes back for the rest."""
RETRY_SECONDS = 5


class End(StrEnum):
    """Why a stream ended. After `over`, nothing more comes; after the others, whoever listened may come again."""

    OVER = "over"
    TOKEN_OVER = "token_over"  # noqa: S105  # The word for a reason.
    TOO_SLOW = "too_slow"
    STOPPING = "stopping"


@dataclass(eq=False)
class Listener:
    """One stream's place. `seq`: the number of the last event that was put in."""

    tenant: TenantId
    checkout: CheckoutId
    seq: int
    ended: End | None = None
    _waiting: deque[CheckoutEvent] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self, seconds: float) -> CheckoutEvent | None:
        """The next event; None when there is none in so many seconds, or when it has ended."""
        if not self._waiting and self.ended is None:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), max(0.0, seconds))
        return self._waiting.popleft() if self._waiting and self.ended is not End.TOO_SLOW else None

    def put(self, event: CheckoutEvent) -> None:
        """Hand over an event, unless it was handed over before."""
        if event.seq <= self.seq or self.ended is not None:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.end(End.TOO_SLOW)
            return
        self.seq = event.seq
        self._waiting.append(event)
        self._news.set()

    def end(self, why: End) -> None:
        """No more comes."""
        self.ended = self.ended or why
        self._news.set()


class Streams:
    """Everybody who listens in this process."""

    def __init__(self, db: Database, *, most: int, most_of_one: int) -> None:
        """`most`: listeners at once; `most_of_one`: of those, by one caller."""
        self._db, self._most, self._most_of_one = db, most, most_of_one
        self._listeners: dict[tuple[TenantId, CheckoutId], set[Listener]] = {}
        self._count = 0
        self._of_one: Counter[str] = Counter()
        self._reader: asyncio.Task[None] | None = None
        self._stopping = False
        self.looks = 0
        """How often the database was asked."""

    @contextlib.contextmanager
    def listening(self, who: str, tenant: TenantId, checkout: CheckoutId, seq: int) -> Iterator[Listener]:
        """A place for `who`, who has read the checkout's events up to `seq`.

        Raises Unavailable when there is none, or the process stops; TooManyRequests when `who` has too many.
        """
        self.check(who)
        listener = Listener(tenant, checkout, seq)
        self._add(who, listener)
        try:
            yield listener
        finally:
            self._remove(who, listener)

    def check(self, who: str) -> None:
        """Raise what `listening` would raise."""
        if self._stopping or self._count >= self._most:
            raise Unavailable("No more streams can be had here now.", retry_after=RETRY_SECONDS)
        if self._of_one[who] >= self._most_of_one:
            raise TooManyRequests(
                f"At most {self._most_of_one} streams at once.", retry_after=RETRY_SECONDS, limit="streams"
            )

    def stop(self) -> None:
        """End every stream, and begin no other: the process is about to end."""
        self._stopping = True
        for listener in [one for some in self._listeners.values() for one in some]:
            listener.end(End.STOPPING)

    def _add(self, who: str, listener: Listener) -> None:
        self._listeners.setdefault((listener.tenant, listener.checkout), set()).add(listener)
        self._count += 1
        self._of_one[who] += 1
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())

    def _remove(self, who: str, listener: Listener) -> None:
        key = (listener.tenant, listener.checkout)
        self._listeners[key].discard(listener)
        if not self._listeners[key]:
            del self._listeners[key]
        self._count -= 1
        self._of_one[who] -= 1
        if not self._of_one[who]:
            del self._of_one[who]

    async def _read(self) -> None:
        """Look while anybody listens."""
        while self._listeners:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._look()
            except Unavailable:
                _log.warning("streams_not_read")
                await asyncio.sleep(LOOK_AGAIN)
            except Exception:  # noqa: BLE001  # Whatever it was: it is logged, and the others must go on.
                _log.exception("streams_not_read")
                await asyncio.sleep(LOOK_AGAIN)

    async def _look(self) -> None:
        read: dict[TenantId, dict[CheckoutId, int]] = {}
        for (tenant, checkout), listeners in self._listeners.items():
            read.setdefault(tenant, {})[checkout] = min(one.seq for one in listeners)
        if not read:
            return
        self.looks += 1
        for tenant, events in (await events_after(self._db, read)).items():
            for event in events:
                for listener in self._listeners.get((tenant, event.checkout_id), ()):
                    listener.put(event)
