"""A server that receives webhooks as a shop would, and remembers them; it can be told to answer otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.gateway import served


@dataclass(frozen=True)
class Received:
    """One webhook as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    """`time.monotonic()` on arrival."""

    @property
    def event(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)

    @property
    def type(self) -> str:
        """For example `payment.captured`."""
        return str(self.event["type"])


@dataclass
class Receiver:
    """What came, in order. `answer` gives the status for each, from how many came before it."""

    url: str = ""
    got: list[Received] = field(default_factory=list)
    answer: Callable[[int], int] = lambda _: 200
    most_at_once: int = 0
    _now: int = 0

    async def take(self, request: Request) -> Response:
        """The endpoint: it takes a moment, so that copies sent together are seen together."""
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        body = await request.body()
        status = self.answer(len(self.got))
        self.got.append(Received(request.url.path, dict(request.headers), body, time.monotonic()))
        await asyncio.sleep(0.02)
        self._now -= 1
        return Response(status_code=status)

    async def wait_for_some(self) -> None:
        """Until at least one has come, however many; AssertionError after 10 s."""
        deadline = time.monotonic() + 10
        while True:
            if self.got:
                return
            assert time.monotonic() < deadline, "no webhook came"
            await asyncio.sleep(0.01)

    async def wait_for(self, count: int, seconds: float = 10.0) -> list[Received]:
        """The webhooks once `count` have come; AssertionError when they do not, or when more have."""
        deadline = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"{len(self.got)} of {count} webhooks came"
            await asyncio.sleep(0.01)
        assert len(self.got) == count
        return self.got


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    routes = [Route("/v1/webhooks/{tenant}/{gateway}", receiver.take, methods=["POST"])]
    with served(lambda: Starlette(routes=routes)) as url:
        receiver.url = url
        yield receiver
