"""A client that costs little beside the server it measures: prepared requests, kept connections, a process of its own.

with LightClient() as client: client.run(port, streams, seconds)
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

import uvloop

from bench.figures import Round

Streams = Sequence[Sequence[str]]
"""For each connection the requests, as they go over the wire, that it sends in turn, one after the other's answer."""


def request(method: str, path: str, token: str, body: str = "") -> str:
    """A request as it goes over the wire."""
    content = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{content}\r\n{body}"


class LightClient:
    """The process."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.light_client"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, port: int, streams: Streams, seconds: float) -> Round:
        """As many requests as are answered in `seconds`, each with a 200; RuntimeError for another answer."""
        assert self._process.stdin is not None  # noqa: S101  # as __enter__ opened them
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(json.dumps({"port": port, "streams": streams, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        if "error" in found:
            raise RuntimeError(found["error"])
        return Round(len(found["latencies"]), found["seconds"], found["latencies"], {"client": found["cpu"]})


class _Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last is complete, until `deadline`."""

    def __init__(self, requests: Sequence[bytes], deadline: float) -> None:
        self._requests, self._deadline = itertools.cycle(requests), deadline
        self._buffer = b""
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0 or len(self._buffer) < head_end + 4 + _length(self._buffer[:head_end]):
            return
        if not self._buffer.startswith(b"HTTP/1.1 200 "):
            self._end(RuntimeError(self._buffer.decode(errors="replace")[:600]))
            return
        now = time.perf_counter()
        self.latencies.append(now - self._sent)
        self._buffer = b""
        if now >= self._deadline:
            self._end()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or RuntimeError("the server closed the connection"))

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))

    def _end(self, error: Exception | None = None) -> None:
        if not self.done.done():
            if error is not None:
                self.done.set_exception(error)
            else:
                self.done.set_result(None)
        self._transport.close()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


async def _one(job: dict[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    began, cpu = time.perf_counter(), time.process_time()
    deadline = began + job["seconds"]
    connections = []
    for stream in job["streams"]:
        make = functools.partial(_Connection, [each.encode() for each in stream], deadline)
        _, connection = await loop.create_connection(make, "127.0.0.1", job["port"])
        connections.append(connection)
    await asyncio.gather(*(connection.done for connection in connections))
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    latencies = [latency for connection in connections for latency in connection.latencies]
    return {"seconds": seconds, "cpu": used, "latencies": latencies}


def main() -> None:
    """Jobs from standard input, a line each; what was found to standard output, a line each."""
    for line in sys.stdin:
        try:
            found = uvloop.run(_one(json.loads(line)))
        except (OSError, RuntimeError) as error:
            found = {"error": str(error)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
