"""Hearing of the process's end while it still serves: uvicorn tells the app only when every answer is complete."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def told_of_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in this loop when a signal asks the process to end, before whoever else hears of it (uvicorn).

    Where handlers cannot be set, in a thread that is not the main one, nothing is told.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, mine = asyncio.get_running_loop(), {}
    for number in _SIGNALS:
        before = signal.getsignal(number)
        if callable(before):
            mine[number] = (before, _both(loop, stop, before))
            signal.signal(number, mine[number][1])
    try:
        yield
    finally:
        for number, (before, ours) in mine.items():
            if signal.getsignal(number) is ours:
                signal.signal(number, before)


def _both(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None], before: Callable[[int, FrameType | None], Any]
) -> Callable[[int, FrameType | None], Any]:
    def handler(number: int, frame: FrameType | None) -> Any:
        with contextlib.suppress(RuntimeError):  # The loop is closed: there is nobody left to tell.
            loop.call_soon_threadsafe(stop)
        return before(number, frame)

    return handler
