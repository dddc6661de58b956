"""Sending one message: signed (Standard Webhooks), to the pinned address, bounded in time; no answer's body is read."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks import Webhook

from activities.hooks.targets import BadTarget, Targets
from db.hook_deliveries import ToSend
from domain.hooks import SEND_SECONDS
from domain.ids import HookDeliveryId

USER_AGENT = "Holdfast-Webhooks/1"
_MOST_PAUSE = 3600
_GONE = 410


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it. `error`: a word of ours, None when it got through. `pause`: seconds that were asked for."""

    answer: int | None
    error: str | None = None
    pause: int | None = None

    @property
    def gone(self) -> bool:
        """The receiver wants nothing more, ever (Standard Webhooks: 410)."""
        return self.answer == _GONE


def client() -> httpx.AsyncClient:
    """For a Sender. No proxy of the environment's, which would look the name up itself; no connection is kept, because
    one to an address may have shown another name's certificate."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=0)
    return httpx.AsyncClient(trust_env=False, follow_redirects=False, limits=limits, timeout=SEND_SECONDS)


class Sender:
    """Sends messages to tenants' endpoints."""

    def __init__(self, http: httpx.AsyncClient, targets: Targets) -> None:
        self._http, self._targets = http, targets

    async def send(self, delivery: HookDeliveryId, message: ToSend) -> Told:
        """Send it once. Never raises for what a receiver, or the network, does."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                return await self._send(delivery, message)
        except BadTarget as bad:
            return Told(None, bad.reason)
        except (TimeoutError, httpx.TimeoutException):
            return Told(None, "timeout")
        except httpx.ConnectError as error:
            return Told(None, "certificate" if _is_tls(error) else "no_connection")
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError):
            return Told(None, "connection_broke")

    async def _send(self, delivery: HookDeliveryId, message: ToSend) -> Told:
        at = await self._targets.pinned(message.url)
        body = body_of(message)
        headers = {**signed(delivery, message, body, datetime.now(UTC)), "connection": "close"}
        extensions: dict[str, Any] = {}
        if at.host is not None:
            headers["host"] = at.host
            extensions["sni_hostname"] = at.name
        async with self._http.stream(
            "POST", at.url, content=body, headers=headers, extensions=extensions, follow_redirects=False
        ) as response:
            return _told(response)


def body_of(message: ToSend) -> str:
    """The same text at each try."""
    at = message.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": message.kind.value, "timestamp": at, "data": message.data}, separators=(",", ":"))


def message_id(delivery: HookDeliveryId) -> str:
    """`webhook-id`: the same at each try, and when it is asked for again."""
    return f"msg_{delivery.replace('-', '')}"


def signed(delivery: HookDeliveryId, message: ToSend, body: str, now: datetime) -> dict[str, str]:
    """The headers. While a secret is being replaced, both sign."""
    name = message_id(delivery)
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "accept-encoding": "identity",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(name, now, body) for secret in message.secrets),
    }


def _told(response: httpx.Response) -> Told:
    if response.is_success:
        return Told(response.status_code)
    wished = response.headers.get("retry-after", "")
    pause = min(_MOST_PAUSE, int(wished)) if wished.isascii() and wished.isdecimal() and len(wished) < 9 else None
    return Told(response.status_code, "redirect" if response.has_redirect_location else "answer", pause)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
