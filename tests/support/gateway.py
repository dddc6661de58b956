"""A real sandbox gateway for tests: uvicorn in a thread of its own, on a free port, and a client that speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from local.gateway.app import create_app
from local.gateway.config import GatewayConfig

SECRET = "whsec_c2FuZGJveC1nYXRld2F5LXRlc3Qtc2VjcmV0LTAwMDE="
Json = dict[str, Any]
_JSON = {"content-type": "application/json"}


class RunningGateway:
    """Speaks to a running sandbox gateway; every method raises for an answer that is not 2xx."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url, self._client = url, client

    async def create(self, tenant: str, checkout_id: str | None, amount: int, currency: str = "COP") -> Json:
        """A payment that nobody has paid yet."""
        body = {"tenant": tenant, "checkout_id": checkout_id, "amount": amount, "currency": currency}
        made: Json = await self.call("POST", "/payments", body)
        return made

    async def pay(self, payment_id: str, **behaviour: int | bool) -> Json:
        """Take the money; `behaviour` as in local.gateway.schemas.Behaviour."""
        return await self._act(payment_id, "pay", {}, behaviour)

    async def process(self, payment_id: str, **behaviour: int | bool) -> Json:
        """Say that the buyer has begun to pay."""
        return await self._act(payment_id, "process", {}, behaviour)

    async def decline(self, payment_id: str, **behaviour: int | bool) -> Json:
        """Refuse the buyer's card."""
        return await self._act(payment_id, "decline", {}, behaviour)

    async def expire(self, payment_id: str, **behaviour: int | bool) -> Json:
        """Let nobody pay it any more, as the gateway itself might."""
        return await self._act(payment_id, "expire", {}, behaviour)

    async def refund(self, payment_id: str, amount: int | None = None, **behaviour: int | bool) -> Json:
        """Give money back, as an operator at the gateway's own desk would."""
        return await self._act(payment_id, "refund", {"amount": amount}, behaviour)

    async def payment(self, payment_id: str) -> Json:
        """The payment as it is now."""
        found: Json = await self.call("GET", f"/payments/{payment_id}")
        return found

    async def payments_of(self, checkout_id: str) -> list[Json]:
        """The checkout's payments, the newest first."""
        found = await self.call("GET", f"/payments?checkout_id={checkout_id}&limit=1000")
        return list(reversed(found["items"]))

    async def ledger(self, tenant: str | None = None) -> list[Json]:
        """Every movement of money."""
        found: list[Json] = await self.call("GET", "/ledger" + (f"?tenant={tenant}" if tenant else ""))
        return found

    async def webhooks(self, payment_id: str) -> list[Json]:
        """Each copy of each of the payment's events."""
        found: list[Json] = await self.call("GET", f"/webhooks?payment_id={payment_id}")
        return found

    async def resend(self, event_id: str) -> None:
        """Send the event once more."""
        await self.call("POST", f"/webhooks/{event_id}/resend")

    async def behave(self, **behaviour: int | bool) -> None:
        """The behaviour of actions that do not say; none makes it well-behaved."""
        await self.call("PUT", "/behaviour", behaviour)

    async def fail(self, **faults: str) -> None:
        """Fail so (`fetch="down"`, `refund="timeout_after_acting"`); none mends it."""
        await self.call("PUT", "/faults", faults)

    async def settled(self, payment_id: str, seconds: float = 10.0) -> list[Json]:
        """The payment's webhooks once none is pending any more; AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            found = await self.webhooks(payment_id)
            if not any(copy["state"] == "pending" for copy in found):
                return found
            assert time.monotonic() < deadline, f"webhooks still pending: {found}"
            await asyncio.sleep(0.02)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that it answers. Raises httpx.HTTPStatusError for a no."""
        # Not httpx's own JSON, which cannot send the lone surrogates that a test wants to send.
        content = None if body is None else json.dumps(body).encode()
        response = await self._client.request(method, self.url + path, content=content, headers=_JSON)
        response.raise_for_status()
        return response.json()

    async def _act(self, payment_id: str, action: str, body: Json, behaviour: dict[str, int | bool]) -> Json:
        asked = body | ({"behaviour": behaviour} if behaviour else {})
        answer: Json = await self.call("POST", f"/payments/{payment_id}/{action}", asked)
        return answer


@contextlib.asynccontextmanager
async def running_gateway(
    folder: Path, target_url: str, secret: str = SECRET, **config: float
) -> AsyncIterator[RunningGateway]:
    """A gateway that keeps `folder`/gateway.db and sends webhooks to `target_url` (the API's address).

    `secret` may be several, with spaces between; `config` is more of GatewayConfig. Retries are quick (0.05 to 0.5 s)
    unless it says otherwise. Entered again with the same folder, it is the same gateway after a restart.
    """
    quick = {"first_retry": 0.05, "longest_retry": 0.5, "fault_delay": 4.0}
    settings: Any = quick | config
    chosen = GatewayConfig(folder / "gateway.db", secret.split(), target_url, **settings)
    started: Any = await asyncio.to_thread(_Server, lambda: create_app(chosen))
    try:
        # Connections are given up before the server does so (5 s): a request sent in that instant would be lost.
        limits = httpx.Limits(max_connections=100, keepalive_expiry=2.0)
        async with httpx.AsyncClient(timeout=30.0, trust_env=False, limits=limits) as client:
            yield RunningGateway(started.url, client)
    finally:
        await asyncio.to_thread(started.stop)


@contextlib.contextmanager
def served(make_app: Callable[[], Any]) -> Iterator[str]:
    """Any ASGI application on a free port of this machine, in a thread; gives its address."""
    server = _Server(make_app)
    try:
        yield server.url
    finally:
        server.stop()


class _Server:
    def __init__(self, make_app: Callable[[], Any]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(make_app(), log_level="warning", ws="none", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                self._socket.close()
                raise RuntimeError("the server did not start; its log says why")
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()
        assert not self._thread.is_alive(), "the server did not stop"
