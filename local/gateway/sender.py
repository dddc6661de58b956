"""Delivers webhooks: at least once, signed for each attempt, retried with growing pauses, a bounded number at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks import Webhook

from local.gateway import outbox
from local.gateway.config import GatewayConfig
from local.gateway.database import Database

Row = dict[str, Any]
_LOG = logging.getLogger(__name__)


class Sender:
    """Sends what the outbox holds. What is in flight when the process dies is sent again by the next one."""

    def __init__(self, config: GatewayConfig, database: Database) -> None:
        self._config, self._database = config, database
        self._keys = [Webhook(secret) for secret in config.secrets]
        self._wake = asyncio.Event()
        self._in_flight: set[int] = set()
        self._busy: Counter[tuple[str, str]] = Counter()

    def wake(self) -> None:
        """There may be something new to send."""
        self._wake.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver while the block runs; at its end, stop at once and leave the rest for the next start."""
        limits = httpx.Limits(max_connections=self._config.deliveries_at_once)
        # The target is named outright, so proxies from the environment have no say.
        async with httpx.AsyncClient(timeout=self._config.delivery_timeout, limits=limits, trust_env=False) as client:
            loop = asyncio.create_task(self._keep_running(client))
            try:
                yield
            finally:
                loop.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await loop

    async def _keep_running(self, client: httpx.AsyncClient) -> None:
        """A full disk or a fault of ours stops deliveries for a moment, visibly; never for good, unseen."""
        while True:
            try:
                await self._run(client)
            except Exception:  # noqa: BLE001  # Whatever it was: it is logged, and deliveries must go on.
                _LOG.exception("deliveries stopped; they start again in %s s", self._config.first_retry)
                await asyncio.sleep(self._config.first_retry)

    async def _run(self, client: httpx.AsyncClient) -> None:
        async with asyncio.TaskGroup() as deliveries:
            while True:
                self._wake.clear()
                wait = await self._start_due(client, deliveries)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait)

    async def _start_due(self, client: httpx.AsyncClient, deliveries: asyncio.TaskGroup) -> float | None:
        """Start what is due and free; answers how long to sleep, or None to sleep until woken."""
        free = self._config.deliveries_at_once - len(self._in_flight)
        if free <= 0:
            return None
        rows, later = await self._database.run(outbox.due, len(self._in_flight) + 2 * free)
        for copy in rows:
            if free > 0 and self._may_go(copy):
                free -= 1
                self._in_flight.add(copy["id"])
                self._busy[copy["payment_id"], copy["event_id"]] += 1
                deliveries.create_task(self._deliver(client, copy))
        return None if later is None else max(later - time.time(), 0.0)

    def _may_go(self, copy: Row) -> bool:
        """Events of one payment go one after the other; copies of one event go together."""
        payment, event = copy["payment_id"], copy["event_id"]
        others = any(key[0] == payment and key[1] != event for key in self._busy)
        return copy["id"] not in self._in_flight and not others

    async def _deliver(self, client: httpx.AsyncClient, copy: Row) -> None:
        key = (copy["payment_id"], copy["event_id"])
        try:
            status, error = await self._post(client, copy)
            if error is None and status is not None:
                await self._database.run(outbox.delivered, copy, status)
            else:
                await self._database.run(outbox.failed, copy, status, error or "", self._config)
        finally:
            self._in_flight.discard(copy["id"])
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]
            self._wake.set()

    async def _post(self, client: httpx.AsyncClient, copy: Row) -> tuple[int | None, str | None]:
        """The HTTP status, if any, and why it counts as not delivered, or None."""
        url = f"{self._config.target_url.rstrip('/')}/v1/webhooks/{copy['tenant']}/sandbox"
        keys = [_wrong_key()] if copy["forged"] else self._keys
        headers = _signed_headers(copy["event_id"], copy["body"], keys)
        try:
            response = await client.post(url, content=copy["body"].encode(), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, type(error).__name__
        return response.status_code, None if response.is_success else f"HTTP {response.status_code}"


def _signed_headers(event_id: str, body: str, keys: Sequence[Webhook]) -> dict[str, str]:
    now = datetime.now(UTC).replace(microsecond=0)
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(key.sign(event_id, now, body) for key in keys),
    }


def _wrong_key() -> Webhook:
    return Webhook("whsec_" + b64encode(secrets.token_bytes(32)).decode())
