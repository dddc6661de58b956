"""A PostgreSQL server of our own on this machine, kept in one folder, listening on loopback only."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from local import processes
from local.errors import PortBusy, ServerDidNotStart
from local.folders import database_folder
from local.ports import LOOPBACK, is_busy
from local.postgres_binaries import postgres_binaries
from local.postgres_orphan import clear_earlier_server
from local.system_user import SystemUser, give

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


@dataclass
class Postgres:
    """One server. `start` may be called again after `stop` or `kill`: same folder, same port, same data."""

    data_dir: Path
    port: int
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """More of PostgreSQL's settings, beside and over SETTINGS."""

    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _password: str = field(default="", init=False)

    def start(self, timeout: float = 60.0) -> None:
        """Initialise the folder if new, start, wait until it answers, make role and database `holdfast`.

        Raises PortBusy, ServerDidNotStart, or LocalError when the folder cannot be used.
        """
        folder, user = self._prepare()
        if is_busy(self.port):
            raise PortBusy(f"port {self.port} (PostgreSQL) is in use by another program")
        binaries = postgres_binaries(folder, user)
        if not (folder / "data" / "PG_VERSION").exists():
            self._initialise(folder, user, binaries)
        self._password = (folder / "password").read_text().strip()
        self._run(folder, user, binaries, time.monotonic() + timeout)
        self._ensure_database()

    def clear(self) -> None:
        """End what an earlier, killed run left on this folder, so that its port is free again."""
        self._prepare()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything is written. Does nothing when not running."""
        if self._process is not None:
            processes.stop(self._process, signal.SIGINT)
            self._process = None

    def kill(self) -> None:
        """`kill -9` of the server and all its backends at once."""
        if self._process is not None:
            processes.kill_tree(self._process.pid)
            self._process.wait()
            self._process = None

    @property
    def folder(self) -> Path:
        """Where its files are: not inside `data_dir` when its user cannot reach that."""
        return database_folder(self.data_dir)[0]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the server's first process. Only while it runs."""
        if self._process is None:
            raise RuntimeError("PostgreSQL is not running")
        return self._process.pid

    def url(self, database: str = "holdfast") -> str:
        """libpq URL as `holdfast`: no superuser; owns its databases, may create roles, bypasses row-level security."""
        return f"postgresql://holdfast:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def superuser_url(self, database: str = "postgres") -> str:
        """libpq URL as `postgres`, for the test's own looks into the server."""
        return f"postgresql://postgres:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def _prepare(self) -> tuple[Path, SystemUser | None]:
        folder, user = database_folder(self.data_dir)
        clear_earlier_server(folder / "data")
        return folder, user

    def _initialise(self, folder: Path, user: SystemUser | None, binaries: Path) -> None:
        """initdb under another name, then renamed: an interrupted one is begun again."""
        password, partial = folder / "password", folder / "data.partial"
        password.write_text(secrets.token_urlsafe(18))
        give(password, user, 0o600)
        argv = [str(binaries / "initdb"), "-D", str(partial), "-U", "postgres", "--pwfile", str(password), "-E", "UTF8"]
        argv += ["--auth=scram-sha-256", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        shutil.rmtree(partial, ignore_errors=True)
        code = processes.spawn(processes.Command(argv, self.log, user=user, cwd=folder)).wait()
        if code != 0:
            raise ServerDidNotStart(f"PostgreSQL's initdb failed; see {self.log}:\n{processes.last_lines(self.log)}")
        partial.rename(folder / "data")

    def _run(self, folder: Path, user: SystemUser | None, binaries: Path, deadline: float) -> None:
        options = [f"--{name}={value}" for name, value in {**SETTINGS, **self.settings, "port": str(self.port)}.items()]
        command = processes.Command(
            [str(binaries / "postgres"), "-D", str(folder / "data"), *options],
            self.log,
            user=user,
            cwd=folder,
            death_signal=signal.SIGQUIT,  # Stops its backends too; the next start recovers, as after a power cut.
        )
        self._process = processes.spawn(command)
        while not self._answers():
            if self._process.poll() is not None and "shared memory block" in processes.last_lines(self.log, 3):
                self._process = processes.spawn(command)  # Backends of a killed server are still on their way out.
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerDidNotStart(f"PostgreSQL did not start; see {self.log}:\n{processes.last_lines(self.log)}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.superuser_url(), connect_timeout=2):
            return True
        return False

    def _ensure_database(self) -> None:
        with psycopg.connect(self.superuser_url(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'holdfast'").fetchone():
                role = "CREATE ROLE holdfast LOGIN CREATEDB CREATEROLE BYPASSRLS PASSWORD {}"
                connection.execute(sql.SQL(role).format(sql.Literal(self._password)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'holdfast'").fetchone():
                connection.execute("CREATE DATABASE holdfast OWNER holdfast")
