"""Our own programs as children of the launcher: worker, API, gateway, and the commands that run once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local import processes
from local.errors import ServerDidNotStart


def argv(*arguments: str) -> list[str]:
    """`holdfast <arguments>` in this same Python."""
    return [sys.executable, "-m", "cli", *arguments]


@dataclass
class Program:
    """A program that runs until stopped. `is_ready(started)` is asked until it says so; `started` is a Unix time."""

    arguments: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]
    is_ready: Callable[[float], bool]

    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, timeout: float = 60.0) -> None:
        """Start and wait until ready. Raises ServerDidNotStart with the end of the log."""
        started, deadline = time.time(), time.monotonic() + timeout
        self._process = processes.spawn(processes.Command(argv(*self.arguments), self.log, self.environment))
        while not self.is_ready(started):
            if self._process.poll() is not None or time.monotonic() > deadline:
                what = "stopped" if self._process.poll() is not None else f"was not ready after {timeout:.0f} s"
                self.stop()
                raise ServerDidNotStart(f"it {what}; see {self.log}:\n{processes.last_lines(self.log)}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Ask it to drain and stop. Does nothing when not running."""
        if self._process is not None:
            processes.stop(self._process)
            self._process = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None


def run_once(arguments: tuple[str, ...], log: Path, environment: Mapping[str, str]) -> None:
    """Run `holdfast <arguments>` to its end. Raises ServerDidNotStart with the end of the log when it fails."""
    process = processes.spawn(processes.Command(argv(*arguments), log, environment))
    try:
        code = process.wait()
    finally:
        processes.stop(process)
    if code != 0:
        raise ServerDidNotStart(f"`holdfast {' '.join(arguments)}` failed; see {log}:\n{processes.last_lines(log)}")
