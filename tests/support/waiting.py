"""Waiting for what another program will do, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(look: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
    """Until `look` gives something true; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            if await look():
                return
            await asyncio.sleep(0.02)
