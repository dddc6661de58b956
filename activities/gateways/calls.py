"""Asking a gateway over HTTP: bounded in time and size, and every failure is GatewayUnavailable."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from domain.errors import GatewayUnavailable

TIMEOUT = httpx.Timeout(3.0)
WHOLE_CALL_SECONDS = 6.0
"""A gateway that trickles its answer meets every read timeout, so the whole call has one too."""
MOST_BYTES = 8 * 1024 * 1024
"""Of an answer; a hundred payments are a few hundred kilobytes."""
_MOST_KEY = 200
_PLAIN = {"accept-encoding": "identity"}
"""A compressed megabyte can be a gigabyte."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a gateway answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes


async def ask(client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], **request: Any) -> Heard:
    """The answer, whatever it says; redirects are not followed. Raises GatewayUnavailable, without what was sent."""
    try:
        async with asyncio.timeout(WHOLE_CALL_SECONDS):
            asked = client.stream(
                method, url, headers={**headers, **_PLAIN}, timeout=TIMEOUT, follow_redirects=False, **request
            )
            async with asked as response:
                return Heard(response.status_code, response.headers, await _bounded(response))
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise GatewayUnavailable(f"the gateway did not answer ({type(error).__name__})") from error


def bounded_key(key: str) -> str:
    """The Idempotency-Key to send for ours: itself, or its SHA-256 where it is longer than gateways take."""
    return key if len(key) <= _MOST_KEY else hashlib.sha256(key.encode()).hexdigest()


async def _bounded(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise GatewayUnavailable("the gateway's answer is compressed, which was not asked for")
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MOST_BYTES:
            raise GatewayUnavailable("the gateway's answer is too long")
    return bytes(content)
