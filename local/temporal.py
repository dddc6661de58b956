"""Temporal's development server on this machine: history kept in one SQLite file, listening on loopback only."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from domain import search_attributes
from local import processes
from local.errors import LocalError, PortBusy, ServerDidNotStart
from local.folders import make_folder
from local.ports import LOOPBACK, is_busy

PRAGMAS = {"journal_mode": "wal", "synchronous": "1"}
"""Three times the rate under load. A crash of the server loses nothing; a power cut may lose the last moments."""

DYNAMIC_CONFIG = {
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "history.transferProcessorMaxPollRPS": "1000",
    "history.timerProcessorMaxPollRPS": "1000",
    "matching.enableFairness": "true",
}
"""Measured: the median of a start falls from 50 to 24 ms."""

TIME_SKIPPING = {"frontend.WorkflowTimeSkippingEnabled": "true"}
"""Lets tests live through a hold's 15 minutes in virtual time."""


@dataclass
class Temporal:
    """One server. `start` may be called again after `stop` or `kill`: same file, same port, same runs."""

    data_dir: Path
    port: int
    log: Path
    ui_port: int | None = None
    """None: no web UI."""
    namespaces: Sequence[str] = ()
    """Made at start beside `default`, all with our search attributes."""
    dynamic_config: Mapping[str, str] = field(default_factory=dict)

    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self, timeout: float = 60.0) -> None:
        """Start and wait until it serves every namespace with our search attributes.

        Raises PortBusy or ServerDidNotStart."""
        if is_busy(self.port):  # Else the check below would be answered by the other program, and believed.
            raise PortBusy(f"port {self.port} (Temporal) is in use by another program")
        make_folder(self.data_dir)
        deadline = time.monotonic() + timeout
        # It picks free ports for its inner services before it listens on them, and dies when another program was
        # quicker: so one that ends at once is started a second time.
        if not self._started(deadline) and not (time.monotonic() < deadline and self._started(deadline)):
            raise ServerDidNotStart(f"Temporal did not start; see {self.log}:\n{processes.last_lines(self.log)}")

    def _started(self, deadline: float) -> bool:
        """Whether a new process came to serve; when not, it is stopped."""
        self._process = processes.spawn(processes.Command(self._argv(), self.log))
        while not _in_own_thread(self.address, ["default", *self.namespaces]):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                return False
            time.sleep(0.1)
        return True

    def stop(self) -> None:
        """Does nothing when not running."""
        if self._process is not None:
            processes.stop(self._process)
            self._process = None

    def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None:
            processes.kill_tree(self._process.pid)
            self._process.wait()
            self._process = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the server's process. Only while it runs."""
        if self._process is None:
            raise RuntimeError("Temporal is not running")
        return self._process.pid

    def _argv(self) -> list[str]:
        argv = [str(temporal_program()), "server", "start-dev", "--ip", LOOPBACK, "--port", str(self.port)]
        argv += ["--headless"] if self.ui_port is None else ["--ui-ip", LOOPBACK, "--ui-port", str(self.ui_port)]
        argv += ["--db-filename", str(self.data_dir.absolute() / "temporal.db"), "--ui-disable-news-fetch"]
        argv += ["--log-level", "warn"]
        for option, pairs in (
            ("--sqlite-pragma", PRAGMAS),
            ("--dynamic-config-value", {**DYNAMIC_CONFIG, **self.dynamic_config}),
            ("--search-attribute", search_attributes.TYPES),
        ):
            argv += [part for name, value in pairs.items() for part in (option, f"{name}={value}")]
        return argv + [part for name in self.namespaces for part in ("--namespace", name)]


def temporal_program() -> Path:
    """The `temporal` command: of this virtual environment, else of the PATH. Raises LocalError when there is none."""
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise LocalError("the command `temporal` is missing: `make run` installs it, or set TEMPORAL_ADDRESS")
    return Path(found)


def _in_own_thread(address: str, namespaces: Sequence[str]) -> bool:
    """Ask from a thread without an event loop, so that synchronous callers inside one (a test) can wait too."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, serves(address, namespaces)).result()


async def serves(address: str, namespaces: Sequence[str]) -> bool:
    """Whether the server answers and each namespace has our search attributes."""
    try:
        client = await Client.connect(address)
        for namespace in namespaces:
            if await missing_search_attributes(client, namespace):
                return False
    except (RPCError, RuntimeError):  # RuntimeError is how the SDK says that it cannot connect.
        return False
    return True


async def missing_search_attributes(client: Client, namespace: str) -> dict[str, str]:
    """Which of our search attributes the namespace lacks: name → type. Raises RPCError when it cannot be asked."""
    listed = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=namespace))
    return {name: kind for name, kind in search_attributes.TYPES.items() if name not in listed.custom_attributes}
