"""The renderer's process: reads documents from its standard input, writes PDFs to its standard output.

It is started without any of our settings, with bounds on memory and processor time, and ends with its parent. What it
is given came from outside in part, so whatever it does must stay its own affair.

    request:  length (4 bytes, big-endian), JSON        answer:  length, pages (4 bytes, 0: it failed), PDF or error
"""

from __future__ import annotations

import json
import resource
import struct
import sys
from typing import BinaryIO

from activities.fulfilment.pdf_pages import render

MEMORY = 768 * 1024 * 1024
"""Bytes of address space."""
MOST_REQUEST = 64 * 1024 * 1024


def serve(source: BinaryIO, sink: BinaryIO, seconds: int) -> None:
    """Render until the input ends. `seconds`: of processor time, for each document."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while header := source.read(4):
        [length] = struct.unpack(">I", header)
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = int(used.ru_utime + used.ru_stime) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        content, pages = _answer(source.read(length))
        sink.write(struct.pack(">II", len(content), pages) + content)
        sink.flush()


def _answer(request: bytes) -> tuple[bytes, int]:
    try:
        return render(json.loads(request))
    except Exception as error:  # noqa: BLE001  # Told to the parent, by its kind alone.
        return type(error).__name__.encode(), 0


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
