"""Places that are few: connections to a mail server, processes that render."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from activities.fulfilment.outcomes import NotYet


@asynccontextmanager
async def place(places: asyncio.Semaphore, patience: float) -> AsyncIterator[None]:
    """Have one, within `patience` seconds. Raises NotYet.

    Who waits for long keeps a place of the worker's from steps that need none of these.
    """
    try:
        async with asyncio.timeout(patience):
            await places.acquire()
    except TimeoutError:
        raise NotYet("all places are taken") from None
    try:
        yield
    finally:
        places.release()
