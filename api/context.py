"""Around every request: its id, its log line, a problem for what nobody expected. Plain ASGI, because it is fast."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from domain.errors import BadRequest, HoldfastError

_log = structlog.stdlib.get_logger("api")
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = frozenset({"/healthz", "/readyz"})


class RequestContext:
    """Gives each request an id (the caller's X-Request-ID if it is good), logs how it ended, answers 500 itself."""

    def __init__(self, app: ASGIApp, around: Callable[[ASGIApp], ASGIApp] = lambda app: app) -> None:
        """`around`: what is put around the app and around its 500s, within what has an id and is logged."""
        self._app = app
        self._inner = around(self._answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, _request_id(scope))
        scope["request_id"] = answer.request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=answer.request_id)
        began = time.perf_counter()
        try:
            scope["answer"] = answer
            await self._inner(scope, receive, answer)
        finally:
            _log_request(scope, answer.status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _readable(scope):
            await problem(scope, BadRequest("The address has bytes that are not UTF-8, or NUL."))(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception:
            _log.exception("unexpected")
            if scope["answer"].status:
                raise  # Half an answer is out: only closing the connection tells the caller that it is not whole.
            await problem(scope, HoldfastError("It is logged under this request_id."))(scope, receive, send)


class _Answer:
    """`send` that adds the id to the headers and notes the status (0: not begun)."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self.request_id, self.status = send, request_id, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.request_id
        await self._send(message)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex


def _readable(scope: Scope) -> bool:
    """Whether path and query, decoded, are UTF-8 without NUL, which PostgreSQL cannot store."""
    try:
        decoded = unquote_to_bytes(scope["raw_path"] + b"?" + scope["query_string"]).decode()
    except UnicodeDecodeError:
        return False
    return "\0" not in decoded


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    log = _log.debug if scope["path"] in _QUIET else _log.info
    route = getattr(scope.get("route"), "path", None)
    log("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
