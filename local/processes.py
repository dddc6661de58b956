"""Child processes that never outlive us, each with its own log file."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from local.system_user import SystemUser

_SHIM = Path(__file__).parent / "child.py"


@functools.cache
def _spawner() -> ThreadPoolExecutor:
    """The one thread that starts children: Linux sends the death signal when the starting *thread* ends."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


@dataclass(frozen=True)
class Command:
    """What to run. `argv[0]` is an absolute path; `death_signal` is what the child gets should we be killed."""

    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None
    user: SystemUser | None = None
    cwd: Path | None = None
    death_signal: int = signal.SIGKILL


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, so that Ctrl-C reaches us alone; its output is appended to its log."""
    return _spawner().submit(_spawn, command).result()


def _spawn(command: Command) -> subprocess.Popen[bytes]:
    uid, gid = (str(command.user.uid), str(command.user.gid)) if command.user else ("-", "-")
    shim = [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), str(int(command.death_signal)), uid, gid]
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log:
        return subprocess.Popen(
            [*shim, *command.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=command.env,
            cwd=command.cwd,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], first: int = signal.SIGTERM, patience: float = 15.0) -> None:
    """Ask with `first`; after `patience` seconds, kill the whole process group."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # What it left in its group, if anything.
    process.wait()


def kill_tree(pid: int) -> None:
    """SIGKILL the process and its descendants: what `kill -9` of a whole server means. Waits until they are gone."""
    family = [pid, *descendants(pid)]
    for member in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(is_running(member) for member in family[1:]) and time.monotonic() < deadline:
        time.sleep(0.01)


def descendants(pid: int) -> Iterator[int]:
    """Every process below this one, as /proc tells it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in map(int, children):
        yield child
        yield from descendants(child)


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for a message that says why a child failed."""
    try:
        text = log.read_bytes()[-8192:].decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-count:])
