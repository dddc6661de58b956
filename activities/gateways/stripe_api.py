"""Stripe's own library, made to call as we do: bounded in time, asked once, and silent about what it sends."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Mapping
from typing import Any

import httpx
import stripe

from activities.gateways.calls import ask
from domain.errors import GatewayRefused, GatewayUnavailable

REUSED_KEY = "idempotency_error"
"""The reason of a refusal: an Idempotency-Key came with another request."""
_KEY = re.compile(r"(sk|rk)_(test|live)_[A-Za-z0-9]{8,250}")
_REASON = re.compile(r"[a-z_]{1,80}")
_TALKATIVE = frozenset({"x-stripe-client-user-agent", "x-stripe-client-telemetry"})
"""They tell of this machine."""
_NO = (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError)
_NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What the library raises for JSON of another shape than Stripe's."""


class StripeApi:
    """Makes the library's clients; what they need of the network is `client`, which stays the caller's to close."""

    def __init__(self, client: httpx.AsyncClient, base: str | None = None) -> None:
        """`base`: where Stripe is, if not at Stripe."""
        self._http, self._base = _Http(client), base
        stripe.enable_telemetry = False
        logging.getLogger("stripe").disabled = True  # It would log bodies, and with them client secrets.

    def client(self, api_key: str) -> stripe.StripeClient:
        """One for each call: it costs microseconds, and keeps no key longer than needed."""
        bases: Any = {"api": self._base} if self._base else None
        return stripe.StripeClient(api_key, http_client=self._http, base_addresses=bases, max_network_retries=0)


async def said(asking: Awaitable[Any]) -> Mapping[str, Any]:
    """The JSON object that Stripe answers. Raises GatewayRefused with Stripe's `reason`, or GatewayUnavailable."""
    try:
        answer = await asking
    except stripe.StripeError as error:
        raise _translated(error) from None  # Not from it: it carries Stripe's whole answer.
    except _NONSENSE:
        raise GatewayUnavailable("Stripe's answer makes no sense") from None
    if not isinstance(answer, stripe.StripeObject):
        raise GatewayUnavailable("Stripe's answer is not a JSON object")
    return answer.to_dict()


def checked_key(text: str) -> str:
    """A secret or restricted API key. Raises ValueError, which does not show it."""
    if not _KEY.fullmatch(text):
        raise ValueError("a secret API key of Stripe's begins with sk_live_, sk_test_, rk_live_ or rk_test_")
    return text


def is_live(api_key: str) -> bool:
    """Whether the key is for real money."""
    return "_live_" in api_key


def _translated(error: stripe.StripeError) -> GatewayRefused | GatewayUnavailable:
    if isinstance(error, _NO):
        reason = REUSED_KEY if isinstance(error, stripe.IdempotencyError) else _reason(error.code)
        return GatewayRefused(f"Stripe refused ({reason})", reason=reason)
    if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)):
        return GatewayUnavailable("Stripe does not accept the shop's API key for this")
    return GatewayUnavailable(f"Stripe does not answer (HTTP {error.http_status})")


def _reason(code: str | None) -> str:
    return code if isinstance(code, str) and _REASON.fullmatch(code) else "no reason given"


class _Http(stripe.HTTPClient):
    """The library's way to the network."""

    name = "httpx"

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__()
        self._client = client

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """What the library calls for each request. Raises GatewayUnavailable."""
        sent = {name: value for name, value in headers.items() if name.lower() not in _TALKATIVE}
        heard = await ask(self._client, method, url, sent, content=post_data)
        # No header of the answer is needed; some make the library warn, or ask again.
        return heard.content, heard.status, {}
