"""Whom the API listens to at all: host names it answers for, and pages of which origins."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog import stdlib

from api.addresses import address_of
from api.problems import problem
from domain.errors import HostNotAllowed, PreflightRefused

_log = stdlib.get_logger("security")
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_BY_ADDRESS = frozenset({"/healthz", "/readyz"})
"""Probes ask by address, and neither answer depends on the name."""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer", "X-Request-ID")
_READ = ("X-Request-ID", "Location", "Retry-After")


def edge(hosts: Collection[str], origins: Collection[str]) -> Callable[[ASGIApp], ASGIApp]:
    """What goes around the app. `hosts`: names without ports, `*.` before one for all below it. `origins`: as browsers
    send them; none are allowed without."""

    def around(app: ASGIApp) -> ASGIApp:
        inner = AllowedHosts(app, hosts)
        return Cors(inner, origins) if origins else inner

    return around


class AllowedHosts:
    """Refuses requests whose Host is not ours: links made of it, and the tenant chosen by it, would be a stranger's."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._names = frozenset(host for host in hosts if not host.startswith("*."))
        self._endings = tuple(host.removeprefix("*") for host in hosts if host.startswith("*."))
        self._allows = functools.lru_cache(maxsize=1024)(self._judge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _BY_ADDRESS:
            given = [value for name, value in scope["headers"] if name == b"host"]
            if len(given) != 1 or not self._allows(given[0]):
                named = b", ".join(given)[:100].decode("latin-1")
                _log.warning("host_refused", host=named, address=address_of(scope))
                await problem(scope, HostNotAllowed())(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _judge(self, host: bytes) -> bool:
        match = _HOST.fullmatch(host.decode("latin-1").lower())
        return match is not None and (match[1] in self._names or match[1].endswith(self._endings))


class Cors(CORSMiddleware):
    """Starlette's, for named origins and without cookies; a refused preflight is a problem, and logged."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=frozenset(origins),
            allow_methods=_METHODS,
            allow_headers=_SENT,
            expose_headers=_READ,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except PreflightRefused as error:
            origin = Headers(scope=scope).get("origin", "")[:100]
            _log.warning("preflight_refused", origin=origin, address=address_of(scope))
            await problem(scope, error)(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code >= 400:
            raise PreflightRefused(bytes(response.body).decode())
        return response
