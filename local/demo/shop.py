"""The demo's two counterparts over HTTP: the shop's API as one buyer uses it, and the sandbox gateway."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import Any

import httpx

from domain.ids import TenantId
from local.errors import LocalError

Json = dict[str, Any]


class DemoFailed(LocalError):
    """A step did not end as it should. The message says which, and what was answered instead."""


@dataclass(frozen=True)
class Buyer:
    """Somebody who is logged in. Each request that changes something carries an Idempotency-Key of its own."""

    name: str
    tenant: TenantId
    http: httpx.AsyncClient
    token: str

    async def products(self) -> list[Json]:
        """The first hundred products, with their stock now."""
        found: list[Json] = (await self._ask("GET", "/v1/products?limit=100"))["items"]
        return found

    async def product(self, product_id: int) -> Json:
        """One product with its stock now."""
        return await self._ask("GET", f"/v1/products/{product_id}")

    async def start(self, product_id: int, quantity: int) -> Json:
        """Hold units of one product."""
        lines = [{"product_id": product_id, "quantity": quantity}]
        return await self._ask("POST", "/v1/checkouts", {"lines": lines}, expected=201)

    async def checkout(self, checkout_id: str) -> Json:
        """The checkout as it is now."""
        return await self._ask("GET", f"/v1/checkouts/{checkout_id}")

    async def extend(self, checkout_id: str) -> Json:
        """Ask for as much more time as the shop gives."""
        return await self._ask("POST", f"/v1/checkouts/{checkout_id}/extend", {})

    async def cancel(self, checkout_id: str) -> Json:
        """Give the stock back."""
        return await self._ask("POST", f"/v1/checkouts/{checkout_id}/cancel", {})

    async def confirm(self, checkout_id: str, payment_id: str, expected: int = 200) -> Json:
        """Say that it was paid, and get the order."""
        body = {"payment_id": payment_id}
        return await self._ask("POST", f"/v1/checkouts/{checkout_id}/confirm", body, expected=expected)

    async def refused(self, checkout_id: str, action: str, status: int) -> Json:
        """An action that must be refused with this status; the problem document."""
        return await self._ask("POST", f"/v1/checkouts/{checkout_id}/{action}", {}, expected=status)

    async def until(self, checkout_id: str, status: str, seconds: float) -> Json:
        """The checkout once it has this status. Raises DemoFailed when it has not in time."""
        deadline = time.monotonic() + seconds
        while (checkout := await self.checkout(checkout_id))["status"] != status:
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"checkout {checkout_id} should be {status} by now and is {checkout['status']}"
                    " (is the worker running?)"
                )
            await asyncio.sleep(0.1)
        return checkout

    async def _ask(self, method: str, path: str, body: Json | None = None, *, expected: int = 200) -> Json:
        headers = {
            "authorization": f"Bearer {self.token}",
            "host": host_of(self.tenant),
            "idempotency-key": f"demo-{uuid.uuid4()}",
        }
        return await ask(self.http, method, path, body, headers, expected)


@dataclass(frozen=True)
class Gateway:
    """The sandbox gateway, as its own desk would use it."""

    http: httpx.AsyncClient

    async def create(self, tenant: TenantId, checkout: Json) -> Json:
        """A payment of the checkout's total that nobody has paid yet."""
        body = {
            "tenant": tenant,
            "checkout_id": checkout["id"],
            "amount": checkout["total"],
            "currency": checkout["currency"],
        }
        return await ask(self.http, "POST", "/payments", body, {}, 201)

    async def act(self, payment_id: str, action: str) -> Json:
        """`pay` or `decline`."""
        return await ask(self.http, "POST", f"/payments/{payment_id}/{action}", {}, {}, 200)

    async def payment(self, payment_id: str) -> Json:
        """The payment as the gateway has it now."""
        return await ask(self.http, "GET", f"/payments/{payment_id}", None, {}, 200)

    async def until_delivered(self, payment_id: str, seconds: float) -> None:
        """Wait until the API has taken every webhook of the payment. Raises DemoFailed when it has not in time."""
        deadline = time.monotonic() + seconds
        while any(each["state"] == "pending" for each in await self._webhooks(payment_id)):
            if time.monotonic() > deadline:
                raise DemoFailed(f"a webhook of payment {payment_id} has not been delivered to the API")
            await asyncio.sleep(0.1)

    async def _webhooks(self, payment_id: str) -> list[Json]:
        found: Any = await ask(self.http, "GET", f"/webhooks?payment_id={payment_id}", None, {}, 200)
        return list(found)


async def log_in(http: httpx.AsyncClient, name: str, password: str, tenant: TenantId) -> Buyer:
    """A buyer with a token. The host name says which shop it is."""
    body = {"username": name, "password": password}
    answer = await ask(http, "POST", "/v1/auth/token", body, {"host": host_of(tenant)}, 200)
    return Buyer(name, tenant, http, answer["access_token"])


async def ask(
    http: httpx.AsyncClient, method: str, path: str, body: Json | None, headers: dict[str, str], expected: int
) -> Json:
    """The JSON of an answer with the expected status.

    Raises LocalError when nobody answers, DemoFailed for another status.
    """
    try:
        response = await http.request(method, path, json=body, headers=headers)
    except httpx.TransportError as error:
        raise LocalError(
            f"nothing answers at {http.base_url} ({type(error).__name__}): start it with make run"
        ) from error
    if response.status_code != expected:
        raise DemoFailed(f"{method} {path} answered {response.status_code}, not {expected}: {response.text[:300]}")
    answer: Json = response.json()
    return answer


def host_of(tenant: TenantId) -> str:
    """The Host header by which the API knows the shop."""
    return f"{tenant}.localhost"
