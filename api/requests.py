"""Reading a body: how large, how slowly, of what type. By FastAPI's Request and APIRoute: OpenAPI stays true."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from api import strict_json
from api.addresses import address_of
from api.limits import BY_ADDRESS
from domain.errors import BadRequest, BodyTooSlow, TooLarge, UnsupportedMediaType

_JSON_TYPE = re.compile(r"application/json[ \t]*(?:;[ \t]*(?:charset=\"?utf-8\"?[ \t]*)?)?", re.IGNORECASE | re.ASCII)
CLOSE = {"connection": "close"}
"""Sent when the rest of a body is not read: the connection cannot serve another request."""


class StrictRequest(Request):
    """A request whose body is bounded in size and time, and whose JSON is read by `strict_json`."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body's chunks. Raises TooLarge past the limit, with or without a Content-Length."""
        limit: int = self.app.state.max_body_bytes
        declared = self.headers.get("content-length", "0")
        if declared.isdecimal() and (len(declared) > 15 or int(declared) > limit):
            raise TooLarge(f"Send at most {limit} bytes.")
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"Send at most {limit} bytes.")
            yield chunk

    async def body(self) -> bytes:
        """The whole body. Raises BodyTooSlow when it takes too long, BadRequest when the sender hangs up."""
        seconds: float = self.app.state.body_seconds
        try:
            async with asyncio.timeout(seconds):
                return await super().body()
        except TimeoutError:
            raise BodyTooSlow(f"Send the whole body within {seconds:g} seconds.") from None
        except ClientDisconnect:
            raise BadRequest("The connection was closed before the body was complete.") from None

    async def json(self) -> Any:
        """The body's JSON. Raises BadJson or UnsupportedMediaType."""
        if not hasattr(self, "_json"):
            _require_json(self.headers.get("content-type", ""))
            self._json = strict_json.parse(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route that reads its body before FastAPI does, because FastAPI turns every error there into a plain 400.

    Before that, it counts the requests of operations that are limited by address.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler, reads_body = super().get_route_handler(), self.body_field is not None
        limit = BY_ADDRESS.get(self.operation_id or "")

        async def strict(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            if limit is not None:
                await request.app.state.services.limits.hit(limit, address_of(request.scope))
            if reads_body and await request.body():
                await request.json()  # Without any body FastAPI takes the default, or says what is missing.
            return await handler(request)

        return cast("Callable[[Request], Coroutine[Any, Any, Response]]", strict)


def _require_json(content_type: str) -> None:
    if not _JSON_TYPE.fullmatch(content_type):
        raise UnsupportedMediaType("Send Content-Type: application/json, in UTF-8.")
