"""A small TCP proxy before PostgreSQL that reads the wire: round trips and statements, independent of our own code.

The client must connect without TLS (`sslmode=disable`), so that the messages can be read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import conninfo

_READY_FOR_QUERY, _EXECUTE, _PARSE, _SIMPLE_QUERY = b"Z", b"E", b"P", b"Q"


@dataclass
class Wire:
    """What went over the wire: message types counted by direction (PostgreSQL's frontend/backend protocol 3)."""

    url: str
    """libpq keyword string that leads through the proxy."""
    to_server: Counter[bytes] = field(default_factory=Counter)
    to_client: Counter[bytes] = field(default_factory=Counter)

    @property
    def round_trips(self) -> int:
        """Times that the server said it was ready for the next query: one for each that was waited for."""
        return self.to_client[_READY_FOR_QUERY]

    @property
    def statements(self) -> int:
        """Statements executed, prepared or not."""
        return self.to_server[_EXECUTE] + self.to_server[_SIMPLE_QUERY]

    @property
    def prepared(self) -> int:
        """Statements that had to be parsed."""
        return self.to_server[_PARSE]

    def forget(self) -> None:
        """Count from zero again."""
        self.to_server.clear()
        self.to_client.clear()


@asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[Wire]:
    """A proxy on a free port that leads to the server of `url`."""
    target = conninfo.conninfo_to_dict(url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(str(target["host"]), int(str(target["port"])))
        there = _pass_on(reader, far_writer, wire.to_server, startup=True)
        back = _pass_on(far_reader, writer, wire.to_client, startup=False)
        await asyncio.gather(there, back)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire = Wire(conninfo.make_conninfo(url, port=port, sslmode="disable", gssencmode="disable"))
    try:
        yield wire
    finally:
        server.close()
        await server.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: Any, counts: Counter[bytes], *, startup: bool) -> None:
    """Message by message: one byte of type (none in the first, the start-up), four of length, and the rest."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            kind = b"" if startup else await reader.readexactly(1)
            length = await reader.readexactly(4)
            rest = await reader.readexactly(int.from_bytes(length, "big") - 4)
            startup = False
            counts[kind] += 1
            writer.write(kind + length + rest)
            await writer.drain()
    writer.close()
