"""One running launcher per data folder, and how commands in another terminal find it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from local.errors import LocalError
from local.folders import make_folder

_LOCK = "lock"
_ENVIRONMENT = "running.json"


@contextlib.contextmanager
def only_launcher(data_dir: Path) -> Iterator[None]:
    """Hold the folder's lock. The kernel drops it with the process, so that a killed launcher leaves nothing stale.

    Raises LocalError when another launcher has it.
    """
    make_folder(data_dir)
    with (data_dir / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            who = lock.read().strip() or "unknown"
            raise LocalError(
                f"another launcher (process {who}) is running on {data_dir}: stop it,"
                " or set HOLDFAST_DATA_DIR and the HOLDFAST_*_PORT variables to run a second one beside it"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            (data_dir / _ENVIRONMENT).unlink(missing_ok=True)


def publish(data_dir: Path, environment: Mapping[str, str]) -> None:
    """Leave the addresses of what runs here for `running_environment`. Readable by us alone: it holds a password."""
    path = data_dir / _ENVIRONMENT
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(dict(environment), file)


def running_environment(data_dir: Path) -> dict[str, str]:
    """The environment of what a launcher runs on this folder now; empty when none does."""
    try:
        with (data_dir / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with contextlib.suppress(FileNotFoundError):
            environment: dict[str, str] = json.loads((data_dir / _ENVIRONMENT).read_text())
            return environment
    except OSError:
        return {}
    return {}
