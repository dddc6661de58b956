"""What a killed run can leave behind in PostgreSQL's folder: a server still running, or a stale postmaster.pid."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from local.errors import LocalError
from local.processes import is_running, kill_tree


def clear_earlier_server(data: Path, patience: float = 20.0) -> None:
    """Stop the server that runs on this folder, if one does; drop a postmaster.pid that names a stranger.

    A pid file whose process is gone is left to PostgreSQL, which deals with it. One whose number now belongs to some
    other program (a reboot) would stop PostgreSQL, so it goes; its shared-memory check still guards the folder.
    """
    pid_file = data / "postmaster.pid"
    pid = _recorded_pid(pid_file)
    if pid is None or not is_running(pid):
        return
    if not _is_our_server(pid, data):
        pid_file.unlink(missing_ok=True)
        return
    for request in (signal.SIGINT, signal.SIGQUIT):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, request)
        if _gone_within(pid, patience):
            return
    kill_tree(pid)
    if not _gone_within(pid, patience):
        raise LocalError(f"an earlier PostgreSQL (process {pid}) still runs on {data} and does not stop: end it first")


def _recorded_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _is_our_server(pid: int, data: Path) -> bool:
    """PostgreSQL's first process runs in its data folder: that is what tells it from a stranger with its old number."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data) and Path(f"/proc/{pid}/exe").readlink().name.startswith(
            "postgres"
        )
    except OSError:
        return False


def _gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
