"""`holdfast up` as a child of a test, with ports and a data folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

from local.ports import free_port

ROOT = Path(__file__).parents[2]
PORTS = ("API", "GATEWAY", "POSTGRES", "TEMPORAL", "TEMPORAL_UI")


class Launcher:
    """Environment and ports are chosen once, so that `start` after an end is a second run of the same installation.

    As a context manager it kills what the test left running.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.data_dir = folder / "data"
        self.ports = {name: free_port() for name in PORTS}
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "TEMPORAL_"))}
        ports = {f"HOLDFAST_{name}_PORT": str(port) for name, port in self.ports.items()}
        self.environment = {**ours, **ports, "HOLDFAST_DATA_DIR": str(self.data_dir), **(environment or {})}
        self.output = folder / "launcher.out"
        self._process: subprocess.Popen[bytes] | None = None
        self._family: list[psutil.Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
            self.left_running()

    def start(self) -> None:
        """Start it, without waiting for anything."""
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli", "up"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until_running(self, seconds: float = 180) -> None:
        """Wait for the addresses. Fails with all it printed when it ends before."""
        self.wait_for("Holdfast is running", seconds)

    def wait_for(self, text: str, seconds: float) -> None:
        """Wait until it has printed this."""
        deadline = time.monotonic() + seconds
        while text not in self.printed():
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, f"{text!r} did not come:\n{self.printed()}"
            time.sleep(0.1)

    def send(self, signum: int) -> None:
        """A signal to the launcher alone; remembers the family it had."""
        self._family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signum)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Stop it in the orderly way. Gives its exit code."""
        self.send(signum)
        return self.process.wait(90)

    def kill(self) -> None:
        """`kill -9` of the launcher alone."""
        self.send(signal.SIGKILL)
        self.process.wait(10)

    def wait(self, seconds: float = 60) -> int:
        """Its exit code, once it ends by itself."""
        return self.process.wait(seconds)

    def left_running(self, patience: float = 15) -> list[str]:
        """Command lines of its former children that still run after this many seconds."""
        psutil.wait_procs(self._family, timeout=patience)
        return [" ".join(each.cmdline()) for each in self._family if each.is_running() and each.status() != "zombie"]

    def child(self, *words: str) -> psutil.Process:
        """Its child with all these words in the command line; the first one, if that has children of its own."""
        for each in psutil.Process(self.process.pid).children():
            if all(word in " ".join(each.cmdline()) for word in words):
                return each
        raise AssertionError(f"no child {words}")

    def printed(self) -> str:
        """All it printed so far."""
        return self.output.read_text() if self.output.exists() else ""

    def published(self) -> dict[str, str]:
        """What it tells other commands: addresses by environment variable."""
        environment: dict[str, str] = json.loads((self.data_dir / "running.json").read_text())
        return environment

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`holdfast <arguments>` beside it, as from another terminal."""
        argv = [sys.executable, "-m", "cli", *arguments]
        return subprocess.run(
            argv, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The launcher's own."""
        assert self._process is not None
        return self._process
