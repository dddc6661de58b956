"""Rendering PDFs in processes of their own, which may crash or hang: the worker only hears that it did not work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import struct
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Protocol

from activities.fulfilment.document import PdfDocument
from activities.fulfilment.outcomes import NotYet
from activities.fulfilment.places import place

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "activities.fulfilment.pdf_process")
PATIENCE = 20.0
"""Seconds for a process that is free."""
MOST_SECONDS = 90.0
"""For one document by the clock: its attempt has two minutes, the waiting included."""
MOST_DOCUMENTS = 200
"""Of one process; then a new one takes its place, whatever it may have gathered."""


class Renderer(Protocol):
    """Makes PDFs."""

    async def render(self, document: PdfDocument) -> tuple[bytes, int]:
        """(PDF, number of pages). Raises NotYet when it cannot be had now."""
        ...


class ProcessRenderer:
    """Some processes, started when they are needed and kept for the next document. To be closed."""

    def __init__(self, *, processes: int = 1, seconds: float = 30.0, command: tuple[str, ...] = COMMAND) -> None:
        """`seconds`: of the processor, for one document; then its process is killed. Also after three times as long by
        the clock: the worker gives way to others, and a busy machine is no reason to begin anew."""
        self._places = asyncio.Semaphore(processes)
        self._seconds, self._wall, self._command = seconds, min(3 * seconds, MOST_SECONDS), command
        self._idle: list[tuple[Process, int]] = []

    async def render(self, document: PdfDocument) -> tuple[bytes, int]:
        """See Renderer."""
        request = json.dumps(document.as_json()).encode()
        async with place(self._places, PATIENCE):
            process, done = self._idle.pop() if self._idle else (await self._start(), 0)
            try:
                async with asyncio.timeout(self._wall):
                    content, pages = await _ask(process, request)
            except TimeoutError:
                raise NotYet(f"the renderer took longer than {self._wall:g} s, and was ended") from None
            except (OSError, asyncio.IncompleteReadError):
                raise NotYet("the renderer's process ended") from None
            else:
                if done + 1 < MOST_DOCUMENTS:
                    self._idle.append((process, done + 1))
                    process = None  # type: ignore[assignment]  # It is kept.
            finally:
                if process is not None:
                    await _end(process)
        if pages == 0:
            raise NotYet(f"the renderer failed: {content.decode(errors='replace')[:80]}")
        return content, pages

    async def close(self) -> None:
        """End the processes that are idle."""
        while self._idle:
            process, _ = self._idle.pop()
            await _end(process)

    async def _start(self) -> Process:
        # Nothing of our environment: there are secrets in it.
        environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
        limit = str(math.ceil(self._seconds) + 1)
        return await asyncio.create_subprocess_exec(*self._command, limit, stdin=PIPE, stdout=PIPE, env=environment)


async def _ask(process: Process, request: bytes) -> tuple[bytes, int]:
    assert process.stdin is not None  # noqa: S101  # both are pipes
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(struct.pack(">I", len(request)) + request)
    await process.stdin.drain()
    length, pages = struct.unpack(">II", await process.stdout.readexactly(8))
    return await process.stdout.readexactly(length), pages


async def _end(process: Process) -> None:
    """Kill it, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()
