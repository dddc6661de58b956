"""Waiting for what another program will do, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import WorkflowHandle


async def eventually(look: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
    """Until `look` gives something true; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            if await look():
                return
            await asyncio.sleep(0.02)


async def pausing(run: WorkflowHandle[Any, Any]) -> bool:
    """Whether an activity of the run has failed and waits for its next attempt."""
    pending = (await run.describe()).raw_description.pending_activities
    scheduled = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return any(one.attempt > 1 and one.state == scheduled for one in pending)
