"""A program of ours that kills itself, at each point of each step, once: `python -m tests.support.dying worker`.

A step is an activity, or a request that changes something. Its points: before and after each of its round trips to the
database (`1<`, `1>`, `2<`, …: before its transaction, before and after its commit, before the next), and `end`, when
all is done and nobody has been told. Where it has died stands in the file that DYING_AT names, so that the next start
lives through that point. DYING_STEPS is a regular expression of the steps that die.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

MOST_TRIPS = 3
"""What a step does after its third round trip is like what it did before."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass
class Step:
    """One attempt at a step, and how many round trips it has made."""

    name: str
    trips: int = 0


_step: ContextVar[Step | None] = ContextVar("step", default=None)


class Deaths:
    """Where this program has died, in all its lives."""

    def __init__(self, file: Path, steps: str) -> None:
        self._file, self._steps = file, re.compile(steps)
        self._died = set(file.read_text().splitlines()) if file.exists() else set[str]()

    def at(self, step: Step, point: str) -> None:
        """Die here, unless it did before."""
        line = f"{step.name} {point}"
        if line in self._died or not self._steps.fullmatch(step.name):
            return
        if step.trips > MOST_TRIPS and point != "end":
            return
        with self._file.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)


def watch_the_database(deaths: Deaths) -> None:
    """Let each round trip have a point before and one after it."""
    from db import database

    real = database._round_trip  # Every statement of ours goes through it.

    async def watched(connection: Any, statements: Sequence[Any]) -> list[Any]:
        step = _step.get()
        if step is None:
            return await real(connection, statements)
        step.trips += 1
        trip = step.trips
        deaths.at(step, f"{trip}<")
        rows = await real(connection, statements)
        deaths.at(step, f"{trip}>")
        return rows

    database._round_trip = watched


def watch_the_worker(deaths: Deaths) -> None:
    """Let each activity be a step."""
    import worker

    class Inbound(ActivityInboundInterceptor):
        async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002  # the SDK's name
            step = Step(activity.info().activity_type)
            _step.set(step)
            answer = await super().execute_activity(input)
            deaths.at(step, "end")
            return answer

    class Dying(Interceptor):
        def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
            return Inbound(super().intercept_activity(next))

    setattr(worker, "Worker", functools.partial(Worker, interceptors=[Dying()]))  # noqa: B010  # mypy: not exported


def watch_the_api(deaths: Deaths) -> None:
    """Let each request that changes something be a step."""
    from api.requests import StrictRoute

    real = StrictRoute.get_route_handler

    def handler_of(route: StrictRoute) -> Callable[[Any], Awaitable[Any]]:
        handler, changes = real(route), not (route.methods or set()) <= _READS
        name = f"{'/'.join(sorted(route.methods or ()))} {route.path_format}"

        async def watched(request: Any) -> Any:
            step = Step(name)
            _step.set(step if changes else None)
            answer = await handler(request)
            if changes:
                deaths.at(step, "end")
            return answer

        return watched

    StrictRoute.get_route_handler = handler_of  # type: ignore[method-assign,assignment]


def main() -> None:
    """Run `holdfast` with the arguments given, dying."""
    deaths = Deaths(Path(os.environ["DYING_AT"]), os.environ["DYING_STEPS"])
    watch_the_database(deaths)
    watch_the_worker(deaths)
    watch_the_api(deaths)
    import cli

    cli.app(sys.argv[1:])


if __name__ == "__main__":
    main()
