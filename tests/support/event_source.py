"""A client of event streams, which reads them as the HTML standard says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Message:
    """One event. `data` is its JSON."""

    event: str
    data: Any
    id: str | None


@dataclass
class Stream:
    """An open stream."""

    response: httpx.Response
    retry: int | None = None
    comments: list[str] = field(default_factory=list)
    _messages: AsyncIterator[Message] | None = None

    async def next(self, seconds: float = 10.0) -> Message | None:
        """The next event; None at the end of the stream. TimeoutError when none comes."""
        if self._messages is None:
            self._messages = self._read()
        async with asyncio.timeout(seconds):
            return await anext(self._messages, None)

    async def until(self, event: str, seconds: float = 20.0) -> list[Message]:
        """The events up to the first of this kind, which must come."""
        got: list[Message] = []
        async with asyncio.timeout(seconds):
            while True:
                message = await self.next(seconds)
                assert message is not None, f"the stream ended before {event}: {got}"
                got.append(message)
                if message.event == event:
                    return got

    async def rest(self, seconds: float = 20.0) -> list[Message]:
        """All that comes to the end of the stream."""
        got = []
        async with asyncio.timeout(seconds):
            while (message := await self.next(seconds)) is not None:
                got.append(message)
        return got

    async def _read(self) -> AsyncIterator[Message]:
        fields: dict[str, str] = {}
        async for line in self.response.aiter_lines():
            name, _, value = line.partition(": ")
            if not line:
                if "data" in fields:
                    yield Message(fields.get("event", "message"), json.loads(fields["data"]), fields.get("id"))
                fields = {}
            elif line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif name == "retry":
                self.retry = int(value)
            else:
                fields[name] = value


@asynccontextmanager
async def watching(
    http: httpx.AsyncClient, checkout: str, headers: Mapping[str, str] | None = None, **params: Any
) -> AsyncIterator[Stream]:
    """The checkout's stream, by a connection of its own."""
    async with (
        httpx.AsyncClient(base_url=http.base_url, timeout=30) as own,
        own.stream("GET", f"/v1/checkouts/{checkout}/events", headers=dict(headers or {}), params=params) as response,
    ):
        yield Stream(response)


def kinds(messages: list[Message]) -> list[str]:
    """What they are."""
    return [one.event for one in messages]
