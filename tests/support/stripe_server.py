"""A stand-in of Stripe's API over real HTTP, at the address that Stripe's own library is told; and its webhooks.

    with standing_in() as stripe: ... stripe.url, stripe.key ...

It takes what the library sends (form-encoded bodies, bearer keys, idempotency keys), keeps what Stripe keeps (see
stripe_state), fails on command, and signs its webhooks by the library's own function.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import httpx
import stripe
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.support.gateway import served
from tests.support.stripe_state import Json, Refused, StripeState, missing

KEY = "sk_test_51StandInStandInStandIn"
SECRET = "whsec_StandInStandInStandInStandIn0001"
SLOW_SECONDS = 4.0
_TALKATIVE = ("x-stripe-client-telemetry", "x-stripe-client-user-agent")


@dataclass
class StripeStandIn:
    """A running one."""

    state: StripeState = field(default_factory=StripeState)
    key: str = KEY
    secret: str = SECRET
    url: str = ""
    faults: dict[str, str] = field(default_factory=dict)
    """By operation (`intents`, `sessions`, `refunds`, with `:list`, `:fetch`, `:cancel`, `:expire`, else making):
    down, garbage, slow, timeout_after_acting, or an HTTP status."""
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """(method, path, headers) of every request."""

    async def send(self, http: httpx.AsyncClient, tenant: str, event: Json, **more: Any) -> httpx.Response:
        """The event as Stripe sends it. `at`: seconds since 1970 that it is signed for; `secret`: another one."""
        body = json.dumps(event, indent=2)
        header = signed(body, more.get("secret", self.secret), more.get("at"))
        headers = {"stripe-signature": header, "content-type": "application/json; charset=utf-8"}
        return await http.post(f"/v1/webhooks/{tenant}/stripe", content=body.encode(), headers=headers)

    async def send_all(self, http: httpx.AsyncClient, tenant: str) -> list[httpx.Response]:
        """Every event that was not sent yet, the oldest first."""
        events, self.state.events = self.state.events, []
        return [await self.send(http, tenant, event) for event in events]

    def calls(self, path: str) -> int:
        """How often a path was asked."""
        return sum(1 for _, asked, _ in self.seen if asked == path)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(routes=[Route("/v1/{path:path}", self._serve, methods=["GET", "POST"])])

    async def _serve(self, request: Request) -> Response:
        path = request.path_params["path"]
        self.seen.append((request.method, "/v1/" + path, dict(request.headers)))
        assert not any(name in request.headers for name in _TALKATIVE), "telemetry"
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse(Refused(401, "api_key_invalid").body, 401)
        raw = (await request.body()).decode() if request.method == "POST" else request.url.query
        operation = _operation(request.method, path)
        return await self._failing(self.faults.get(operation), lambda: self._answer(request, path, raw))

    async def _failing(self, fault: str | None, act: Any) -> Response:
        if fault == "garbage":
            return PlainTextResponse("<html>\x00 not JSON", media_type="text/html")
        if fault == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        if fault == "down" or (fault or "").isdigit():
            status = 503 if fault == "down" else int(fault or "")
            kind = "rate_limit_error" if status == 429 else "api_error"
            return JSONResponse(Refused(status, "lock_timeout", kind).body, status)
        answer: Response = act()
        if fault == "timeout_after_acting":
            await asyncio.sleep(SLOW_SECONDS)
        return answer

    def _answer(self, request: Request, path: str, raw: str) -> Response:
        asked, key = nested(raw), request.headers.get("idempotency-key")
        try:
            if request.method == "POST":
                work = lambda: self._posted(path, asked)  # noqa: E731
                status, answer = self.state.once(key, f"{path}?{raw}", work)
                return JSONResponse(answer, status)
            with self.state.lock:
                return JSONResponse(self._got(path, asked))
        except Refused as refused:
            return JSONResponse(refused.body, refused.status)

    def _posted(self, path: str, asked: Json) -> Json:
        state, expand = self.state, list(asked.pop("expand", {}).values())
        if path == "payment_intents":
            return state.shown(state.create_intent(asked), expand)
        if path == "checkout/sessions":
            return state.shown(state.create_session(asked), expand)
        if path == "refunds":
            return state.create_refund(asked)
        if found := re.fullmatch(r"payment_intents/(\w+)/cancel", path):
            return state.shown(state.cancel_intent(found[1]), expand)
        if found := re.fullmatch(r"checkout/sessions/(\w+)/expire", path):
            return state.shown(state.expire_session(found[1]), expand)
        raise missing(path)

    def _got(self, path: str, asked: Json) -> Json:
        kept = {
            "payment_intents": self.state.intents,
            "checkout/sessions": self.state.sessions,
            "refunds": self.state.refunds,
        }
        if path in kept:
            return self.state.page(kept[path], asked)
        collection, _, wanted = path.rpartition("/")
        if wanted not in kept.get(collection, {}):
            raise missing(wanted)
        return self.state.shown(kept[collection][wanted], list(asked.get("expand", {}).values()))


@contextlib.contextmanager
def standing_in() -> Iterator[StripeStandIn]:
    """A new account at a new stand-in."""
    stand_in = StripeStandIn()
    with served(stand_in.app) as url:
        stand_in.url = url
        yield stand_in


def signed(body: str, secret: str = SECRET, at: float | None = None) -> str:
    """The Stripe-Signature header, by the library's own function."""
    when = int(time.time() if at is None else at)
    header: str = stripe.WebhookSignature.generate_signature_header(body, secret, when)
    return header


def nested(raw: str) -> Json:
    """`a[b][0]=c` as {"a": {"b": {"0": "c"}}}."""
    whole: Json = {}
    for name, value in parse_qsl(raw, keep_blank_values=True, strict_parsing=bool(raw)):
        *outer, last = [part.rstrip("]") for part in name.split("[")]
        inner = whole
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return whole


def _operation(method: str, path: str) -> str:
    thing = path.removeprefix("checkout/").partition("/")
    name = {"payment_intents": "intents", "sessions": "sessions", "refunds": "refunds"}.get(thing[0], thing[0])
    action = thing[2].rpartition("/")[2]
    if method == "GET":
        return f"{name}:fetch" if action else f"{name}:list"
    return f"{name}:{action}" if action else name
