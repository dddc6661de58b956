"""`holdfast up`: a whole Holdfast on this machine, from its servers to the sandbox gateway, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from rich.console import Console

from domain.naming import fulfilment_queue
from domain.parts import Part
from local import readiness
from local.errors import ServerDidNotStart
from local.instance import only_launcher, publish
from local.ports import LOOPBACK, refuse_busy_ports
from local.postgres import Postgres
from local.programs import Program, run_once
from local.supervisor import Server, Supervisor
from local.temporal import Temporal
from settings import Settings


def run(settings: Settings) -> None:
    """Start everything, print the addresses, keep it running until SIGINT or SIGTERM, stop everything.

    Raises LocalError (busy port, another launcher, a part that does not start); everything is stopped by then.
    """
    console = Console(highlight=False)
    _stop_on_signals()
    data_dir = settings.data_dir.absolute()
    try:
        with only_launcher(data_dir):
            launch = _Launch(settings, console)
            try:
                launch.start()
                launch.print_addresses()
                launch.supervisor.keep_running()
            finally:
                _die_on_signals()
                launch.supervisor.stop()
    except KeyboardInterrupt:
        console.print("stopped; the data stays in", str(data_dir))


@dataclass
class _Launch:
    """One run of the launcher."""

    settings: Settings
    console: Console
    supervisor: Supervisor = field(init=False)
    environment: dict[str, str] = field(init=False)
    postgres: Postgres | None = None
    temporal: Temporal | None = None

    def __post_init__(self) -> None:
        s = self.settings
        self.data_dir = s.data_dir.absolute()
        self.logs = self.data_dir / "logs"
        self.supervisor = Supervisor(say=lambda text: self.console.print(f"  {text}"))
        self.environment = {
            **os.environ,
            "HOLDFAST_ENV": s.env,
            "HOLDFAST_DATA_DIR": str(self.data_dir),
            "PYTHONUNBUFFERED": "1",
        }
        self.environment.setdefault("HOLDFAST_SANDBOX_GATEWAY_URL", f"http://{LOOPBACK}:{s.gateway_port}")
        if "HOLDFAST_DATABASE_URL" not in os.environ:
            self.postgres = Postgres(self.data_dir, s.postgres_port, self.logs / "postgres.log")
        if "TEMPORAL_ADDRESS" not in os.environ:
            namespaces = [os.environ["TEMPORAL_NAMESPACE"]] if "TEMPORAL_NAMESPACE" in os.environ else []
            log = self.logs / "temporal.log"
            self.temporal = Temporal(self.data_dir, s.temporal_port, log, s.temporal_ui_port, namespaces)

    def start(self) -> None:
        """Every part in order, each ready before the next. Raises LocalError."""
        if self.postgres:
            self.postgres.clear()
        self._check_ports()
        self._start_servers()
        publish(self.data_dir, self._published())
        for arguments, what in ((("migrate", "up"), "migrations"), (("seed",), "demo data")):
            with self._step(what):
                run_once(arguments, self.logs / f"{arguments[0]}.log", self.environment)
        self._start_programs()

    def print_addresses(self) -> None:
        """Where everything is, and what to do next."""
        s, say = self.settings, self.console.print
        api = f"http://{LOOPBACK}:{s.api_port}"
        say("\n[bold]Holdfast is running.[/bold]")
        rows = {
            "API": api,
            "API docs": f"{api}/docs",
            "Temporal UI": f"http://{LOOPBACK}:{s.temporal_ui_port}" if self.temporal else "",
            "Sandbox gateway": f"http://{LOOPBACK}:{s.gateway_port}",
            "PostgreSQL": self.environment["HOLDFAST_DATABASE_URL"] if self.postgres else "",
            "Temporal": self.environment["TEMPORAL_ADDRESS"],
            "Logs": str(self.logs),
        }
        for name, address in rows.items():
            if address:
                say(f"  {name:16} {address}", markup=False, soft_wrap=True)
        if self.postgres and not self.postgres.folder.is_relative_to(self.data_dir.resolve()):
            say(
                f"  PostgreSQL's user cannot reach {self.data_dir}, so its files are in {self.postgres.folder}.",
                soft_wrap=True,
            )
            say("  Set HOLDFAST_DATA_DIR to keep all data in one folder of your choice.")
        say("\nTry `make demo` in another terminal. Ctrl-C stops everything; the data is kept.\n", markup=False)

    def _check_ports(self) -> None:
        s = self.settings
        needed = {
            "HOLDFAST_API_PORT": ("API", s.api_port),
            "HOLDFAST_GATEWAY_PORT": ("sandbox gateway", s.gateway_port),
        }
        if self.postgres:
            needed["HOLDFAST_POSTGRES_PORT"] = ("PostgreSQL", s.postgres_port)
        if self.temporal:
            needed["HOLDFAST_TEMPORAL_PORT"] = ("Temporal", s.temporal_port)
            needed["HOLDFAST_TEMPORAL_UI_PORT"] = ("Temporal UI", s.temporal_ui_port)
        refuse_busy_ports(needed)

    def _start_servers(self) -> None:
        if self.postgres:
            self._serve("PostgreSQL", self.postgres)
            self.environment["HOLDFAST_DATABASE_URL"] = self.postgres.url()
            self.environment.pop("HOLDFAST_ADMIN_DATABASE_URL", None)  # It belongs to some other server.
        else:
            with self._step("PostgreSQL (HOLDFAST_DATABASE_URL)"):
                readiness.check_database(self.environment["HOLDFAST_DATABASE_URL"])
        if self.temporal:
            self._serve("Temporal", self.temporal)
            self.environment["TEMPORAL_ADDRESS"] = self.temporal.address
        else:
            with self._step("Temporal (TEMPORAL_ADDRESS)"):
                readiness.check_temporal()
        os.environ["TEMPORAL_ADDRESS"] = self.environment["TEMPORAL_ADDRESS"]  # Read by the worker's readiness check.

    def _start_programs(self) -> None:
        s = self.settings
        worker = ("worker", "--only")
        programs: dict[str, tuple[tuple[str, ...], Callable[[float], bool]]] = {
            "worker": ((*worker, Part.CHECKOUTS), lambda started: readiness.worker_polls(s.task_queue, started)),
            "api": (("api",), lambda _: readiness.answers_http(f"http://{LOOPBACK}:{s.api_port}/readyz")),
            "gateway": (("gateway",), lambda _: readiness.answers_http(f"http://{LOOPBACK}:{s.gateway_port}/")),
            "fulfilment": (
                (*worker, Part.FULFILMENT),
                lambda started: readiness.worker_polls(fulfilment_queue(s.task_queue), started),
            ),
        }
        for name, (arguments, is_ready) in programs.items():
            self._serve(name, Program(arguments, self.logs / f"{name}.log", self.environment, is_ready))

    def _serve(self, name: str, server: Server) -> None:
        with self._step(name):
            self.supervisor.start(name, server)

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        """Show that something is being started, then how long it took."""
        began = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"  starting {what}")
        try:
            with self.console.status(f"starting {what}"):
                yield
        except ServerDidNotStart as error:
            raise ServerDidNotStart(f"{what}: {error}") from error
        self.console.print(f"  [green]✓[/green] {what} ({time.monotonic() - began:.1f} s)")

    def _published(self) -> dict[str, str]:
        ours = ("HOLDFAST_", "TEMPORAL_")
        ports = {
            f"HOLDFAST_{name.upper()}": str(getattr(self.settings, name))
            for name in ("api_port", "temporal_port", "temporal_ui_port", "gateway_port", "postgres_port")
        }
        return ports | {name: value for name, value in self.environment.items() if name.startswith(ours)}


def _stop_on_signals() -> None:
    """SIGINT and SIGTERM end the run in an orderly way, wherever it is."""

    def interrupt(_signum: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupt)


def _die_on_signals() -> None:
    """While stopping, a second signal ends us at once; our children then die with us."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
