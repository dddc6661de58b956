"""Places among the starts in flight, shared fairly: one tenant's on-sale must not keep the others waiting.

There are so many places. While one is free, whoever asks has it: a tenant alone may use them all. When none is, each
tenant has a queue of its own, and places that come back go round the tenants that wait, one start of each in turn. So
a tenant waits at most for as many places as other tenants wait, however long their queues are.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from domain.errors import Unavailable
from domain.ids import TenantId

QUEUE_SECONDS = 2.0
"""How long a start waits for a place before it is refused early: a queue of hundreds helps nobody."""
MOST_WAITING = 256
"""Of one tenant, in one process: more than are served in QUEUE_SECONDS."""
_FULL = "Too many checkouts are being started at this moment; try again shortly."


class Places(Protocol):
    """A bounded number of things that may be done at once."""

    def place(self, tenant: TenantId) -> AbstractAsyncContextManager[None]:
        """`async with` it: a place, while the block runs. Raises Unavailable when there is none in time."""
        ...


class FairPlaces:
    """The places of one process. For one event loop; it has no lock, because nothing here awaits between two steps."""

    def __init__(self, places: int, *, most_waiting: int = MOST_WAITING, patience: float = QUEUE_SECONDS) -> None:
        """`most_waiting`: of one tenant, more are refused at once. `patience`: seconds before who waits is refused."""
        self._free = places
        self._most_waiting = most_waiting
        self._patience = patience
        self._queues: OrderedDict[TenantId, deque[asyncio.Future[None]]] = OrderedDict()
        """Of the tenants that wait, the one whose turn is next first. Never an empty queue, and none while a place is
        free."""

    @property
    def free(self) -> int:
        """Places that nobody has."""
        return self._free

    def waiting(self, tenant: TenantId) -> int:
        """How many of this tenant's wait."""
        return len(self._queues.get(tenant, ()))

    @asynccontextmanager
    async def place(self, tenant: TenantId) -> AsyncIterator[None]:
        """See Places. A tenant whose queue is full is refused at once, the others are not."""
        try:
            async with asyncio.timeout(self._patience):
                await self._take(tenant)
        except TimeoutError:
            raise Unavailable(_FULL) from None
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, tenant: TenantId) -> None:
        if self._free:
            self._free -= 1
            return
        queue = self._queues.setdefault(tenant, deque())
        if len(queue) >= self._most_waiting:
            if not queue:
                del self._queues[tenant]
            raise Unavailable(_FULL)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()  # It was given to us in the very moment in which we stopped waiting for it.
            else:
                self._leave(tenant, turn)
            raise

    def _give_back(self) -> None:
        while self._queues:
            tenant, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[tenant] = queue  # At the end: its next turn is after everybody else's.
            if not turn.done():  # Else it was cancelled, and has not run since to leave by itself.
                turn.set_result(None)
                return
        self._free += 1

    def _leave(self, tenant: TenantId, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(tenant)
        if queue is None or turn not in queue:
            return
        queue.remove(turn)
        if not queue:
            del self._queues[tenant]
