"""Keeps a set of servers running, in order, until told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from local.errors import LocalError

_LONGEST_PAUSE = 30.0
_STEADY = 60.0
"""A server that ran this long before it died starts again at once."""


class Server(Protocol):
    """What the supervisor needs of Postgres, Temporal and Program."""

    @property
    def running(self) -> bool: ...

    def start(self, timeout: float = 60.0) -> None: ...

    def stop(self) -> None: ...


@dataclass
class _Supervised:
    name: str
    server: Server
    failures: int = 0
    started: float = 0.0
    next_try: float | None = None
    """When to start it again; None while it is thought to run."""


@dataclass
class Supervisor:
    """Servers in the order of their starting. `say` tells a person what happens."""

    say: Callable[[str], None]
    _all: list[_Supervised] = field(default_factory=list)

    def start(self, name: str, server: Server) -> None:
        """Start it and wait until it is ready; from now on it is kept running. Raises what the server raises."""
        supervised = _Supervised(name, server)
        self._all.append(supervised)  # First, so that it is stopped also when the start is interrupted.
        server.start()
        supervised.started = time.monotonic()

    def keep_running(self) -> None:
        """Start again whatever dies, until an exception (KeyboardInterrupt from a signal) ends this."""
        while True:
            for supervised in self._all:
                self._look_after(supervised)
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop everything, last started first."""
        for supervised in reversed(self._all):
            if supervised.server.running:
                self.say(f"stopping {supervised.name}")
            supervised.server.stop()

    def _look_after(self, it: _Supervised) -> None:
        now = time.monotonic()
        if it.next_try is None:
            if it.server.running:
                return
            it.failures = 0 if now - it.started > _STEADY else it.failures
            self._plan(it, f"{it.name} died")
        elif now >= it.next_try:
            self._start_again(it)

    def _start_again(self, it: _Supervised) -> None:
        try:
            it.server.stop()
            it.server.start()
        except LocalError as error:
            self._plan(it, f"{it.name} did not start again: {error}")
            return
        it.next_try, it.started = None, time.monotonic()
        self.say(f"{it.name} is running again")

    def _plan(self, it: _Supervised, what: str) -> None:
        pause = min(_LONGEST_PAUSE, 0.0 if it.failures == 0 else 2.0 ** (it.failures - 1))
        it.failures += 1
        it.next_try = time.monotonic() + pause
        self.say(f"{what}; starting it again" + (f" in {pause:.0f} s" if pause else ""))
