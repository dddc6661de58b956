"""`holdfast api` in several processes: all of them answer, one that dies comes back, SIGTERM ends them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from local.ports import free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


def environment(port: int, **more: str) -> dict[str, str]:
    """No server is behind it: `/healthz` asks none."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "TEMPORAL_"))}
    return {
        **inherited,
        "HOLDFAST_ENV": "development",
        "HOLDFAST_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "HOLDFAST_API_PORT": str(port),
        **more,
    }


@contextmanager
def serving(folder: Path, port: int, **more: str) -> Iterator[psutil.Process]:
    """`holdfast api`, from its start to its end, however the test ends."""
    with (folder / "api.log").open("wb") as log:
        command = [sys.executable, "-m", "cli", "api"]
        child = subprocess.Popen(command, cwd=ROOT, env=environment(port, **more), stdout=log, stderr=log)
        parent = psutil.Process(child.pid)
        try:
            yield parent
        finally:
            family = [parent, *workers(parent)]
            for member in family:
                if member.is_running():
                    member.resume()
                    member.kill()
            child.wait(PATIENCE)


def workers(parent: psutil.Process) -> list[psutil.Process]:
    """The living processes that serve."""
    try:
        return [child for child in parent.children() if is_worker(child)]
    except psutil.NoSuchProcess:
        return []


def is_worker(child: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # Also a zombie's.
        return False


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def answers(port: int) -> bool:
    """Whether a new connection is served."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_each_of_two_processes_answers_and_sigterm_ends_both(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port, HOLDFAST_API_PROCESSES="2") as parent:
        until(lambda: answers(port), "it did not start")
        until(lambda: len(workers(parent)) == 2, "there are not two")
        pair = workers(parent)
        for one, other in (pair, pair[::-1]):
            other.suspend()  # So that only `one` can answer.
            until(lambda: answers(port), f"{one} does not answer")
            other.resume()
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(PATIENCE) == 0
        assert not any(one.is_running() for one in pair)
        assert not answers(port)


@pytest.mark.slow
def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port, HOLDFAST_API_PROCESSES="2") as parent:
        until(lambda: answers(port), "it did not start")
        until(lambda: len(workers(parent)) == 2, "there are not two")
        first, second = workers(parent)
        first.kill()
        until(lambda: first not in workers(parent) and len(workers(parent)) == 2, "it did not come back")
        second.suspend()
        until(lambda: answers(port), "the new one does not answer")


def test_one_process_is_the_default(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port) as parent:
        until(lambda: answers(port), "it did not start")
        assert workers(parent) == []
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(PATIENCE) in (0, -signal.SIGTERM)  # uvicorn ends orderly, then as the signal says.


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HOLDFAST_LOG_DIR", "/dev/null/logs", "HOLDFAST_LOG_DIR: "),
        ("HOLDFAST_CORS_ORIGINS", "*", "HOLDFAST_CORS_ORIGINS: '*' is no origin"),
        ("HOLDFAST_ALLOWED_HOSTS", "*", "HOLDFAST_ALLOWED_HOSTS: '*' is no host name"),
        ("HOLDFAST_RATE_LIMIT_STORAGE", "paper", "HOLDFAST_RATE_LIMIT_STORAGE: "),
        ("HOLDFAST_RATE_LIMIT_LOGIN", "-1", "HOLDFAST_RATE_LIMIT_LOGIN: "),
        ("HOLDFAST_ENV", "production", "HOLDFAST_JWT_SECRET must be set"),
    ],
)
def test_a_setting_that_cannot_work_is_one_clear_message(variable: str, value: str, said: str) -> None:
    chosen = environment(free_port(), HOLDFAST_API_PROCESSES="2", **{variable: value})
    ended = subprocess.run(
        [sys.executable, "-m", "cli", "api"], cwd=ROOT, env=chosen, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"holdfast: {said}"), ended.stderr
    assert "Traceback" not in ended.stderr
