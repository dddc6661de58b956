"""Faults around activities: slow ones, doubled ones, results lost after the commit. For a worker, by its client."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio import activity
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput
from temporalio.worker import Interceptor as WorkerInterceptor

Run = Callable[[], Awaitable[Any]]
Fault = Callable[[activity.Info, Run], Awaitable[Any]]
"""Runs the activity as it likes, and gives what the worker shall see."""


class ResultLost(RuntimeError):
    """The activity did its work; nobody hears of it."""


async def twice(_: activity.Info, run: Run) -> Any:
    """Run it again after it has succeeded, as a retry that overlaps does."""
    await run()
    return await run()


async def overlapping(_: activity.Info, run: Run) -> Any:
    """Run it two times at once."""
    first, second = await asyncio.gather(run(), run())
    assert type(first) is type(second)
    return second


async def lost_once(info: activity.Info, run: Run) -> Any:
    """Lose the first attempt's result, after it was committed."""
    result = await run()
    if info.attempt == 1:
        raise ResultLost
    return result


async def lost_while_local(info: activity.Info, run: Run) -> Any:
    """Lose the results of every local attempt, and of the first regular one."""
    result = await run()
    if info.is_local or info.attempt == 1:
        raise ResultLost
    return result


def slow(before: float, after: float) -> Fault:
    """Take a while before and after the work. Seconds."""

    async def run_slowly(_: activity.Info, run: Run) -> Any:
        await asyncio.sleep(before)
        result = await run()
        await asyncio.sleep(after)
        return result

    return run_slowly


class Faults(ClientInterceptor, WorkerInterceptor):
    """Which fault happens to which activity; "*" for every other one. `seen` counts the attempts by name."""

    def __init__(self) -> None:
        self.plan: dict[str, Fault] = {}
        self.seen: Counter[str] = Counter()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002  # the SDK's name
        return _Inbound(next, self)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, next_one: ActivityInboundInterceptor, faults: Faults) -> None:
        super().__init__(next_one)
        self._faults = faults

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002  # the SDK's name
        info = activity.info()
        self._faults.seen[info.activity_type] += 1
        fault = self._faults.plan.get(info.activity_type) or self._faults.plan.get("*")
        if fault is None:
            return await self.next.execute_activity(input)
        return await fault(info, lambda: self.next.execute_activity(input))
