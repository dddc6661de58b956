"""Buyers: clients of the API that do what storefronts do, over real HTTP."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from domain.ids import ProductId, TenantId

Json = dict[str, Any]
Lines = tuple[tuple[ProductId, int], ...]


@dataclass(frozen=True)
class Buyer:
    """One buyer with a good token. Methods that give a Response leave its status to the caller."""

    http: httpx.AsyncClient
    tenant: TenantId
    subject: str
    headers: Mapping[str, str]

    async def start(
        self, *lines: tuple[ProductId, int], key: str | None = None, expected_total: int | None = None
    ) -> httpx.Response:
        """Start a checkout of (product, quantity) lines; a new Idempotency-Key when none is given."""
        body: Json = {"lines": [{"product_id": product, "quantity": quantity} for product, quantity in lines]}
        if expected_total is not None:
            body["expected_total"] = expected_total
        return await self.post("/v1/checkouts", body, key)

    async def hold(self, *lines: tuple[ProductId, int], key: str | None = None) -> Json:
        """Start a checkout that must succeed."""
        answer = await self.start(*lines, key=key)
        assert answer.status_code == 201, answer.text
        return as_json(answer)

    async def look(self, checkout: str) -> httpx.Response:
        """GET the checkout."""
        return await self.http.get(f"/v1/checkouts/{checkout}", headers=self.headers)

    async def read(self, checkout: str) -> Json:
        """The checkout, which must be there."""
        answer = await self.look(checkout)
        assert answer.status_code == 200, answer.text
        return as_json(answer)

    async def extend(self, checkout: str, minutes: int | None = None, key: str | None = None) -> httpx.Response:
        """Ask for more time."""
        return await self.post(f"/v1/checkouts/{checkout}/extend", {"minutes": minutes} if minutes else None, key)

    async def cancel(self, checkout: str, key: str | None = None) -> httpx.Response:
        """Give the stock back."""
        return await self.post(f"/v1/checkouts/{checkout}/cancel", None, key)

    async def confirm(
        self, checkout: str, payment: str, key: str | None = None, prefer: str | None = None
    ) -> httpx.Response:
        """Say that it was paid."""
        more = {"prefer": prefer} if prefer else {}
        return await self.post(f"/v1/checkouts/{checkout}/confirm", {"payment_id": payment}, key, **more)

    async def start_payment(self, checkout: str, body: Json | None = None, key: str | None = None) -> httpx.Response:
        """Ask to pay."""
        return await self.post(f"/v1/checkouts/{checkout}/payments", body, key)

    async def pay(self, checkout: str, key: str | None = None) -> Json:
        """Start a payment that must succeed; it still waits to be made at the gateway."""
        answer = await self.start_payment(checkout, key=key)
        assert answer.status_code == 201, answer.text
        return as_json(answer)

    async def end_payment(self, checkout: str, payment: str, gateway: str = "sandbox") -> httpx.Response:
        """See to it that the payment can be made no more."""
        headers = {**self.headers, "idempotency-key": uuid.uuid4().hex}
        return await self.http.delete(f"/v1/checkouts/{checkout}/payments/{gateway}/{payment}", headers=headers)

    async def orders(self) -> list[Json]:
        """The newest twenty orders."""
        answer = await self.http.get("/v1/orders", headers=self.headers)
        assert answer.status_code == 200, answer.text
        items: list[Json] = answer.json()["items"]
        return items

    async def until(self, checkout: str, *statuses: str, seconds: float = 10.0) -> Json:
        """The checkout once it has one of these statuses; AssertionError after `seconds`."""
        return await self.when(checkout, lambda view: view["status"] in statuses, " or ".join(statuses), seconds)

    async def until_refunded(self, checkout: str, payment: str, seconds: float = 10.0) -> Json:
        """The payment's entry in the checkout once its refund is made; AssertionError after `seconds`."""

        def refunded(view: Json) -> bool:
            return any(one["payment_id"] == payment and one["refund_status"] == "refunded" for one in view["payments"])

        view = await self.when(checkout, refunded, f"{payment} refunded", seconds)
        return next(one for one in view["payments"] if one["payment_id"] == payment)

    async def post(self, path: str, body: Json | None, key: str | None, **headers: str) -> httpx.Response:
        """POST with an Idempotency-Key, a new one when none is given."""
        sent = {**self.headers, "idempotency-key": key or uuid.uuid4().hex, **headers}
        return await self.http.post(path, json=body, headers=sent)

    async def when(self, checkout: str, wanted: Callable[[Json], bool], what: str, seconds: float = 10.0) -> Json:
        """The checkout once it is as `wanted`; AssertionError that it is not `what` after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            view = await self.read(checkout)
            if wanted(view):
                return view
            assert time.monotonic() < deadline, f"not {what} after {seconds:g} s: {view}"
            await asyncio.sleep(0.03)


def as_json(answer: httpx.Response) -> Json:
    """The answer's JSON object."""
    body: Json = answer.json()
    return body


def code(answer: httpx.Response) -> str:
    """The stable code of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return str(answer.json()["code"])


async def insist(send: Callable[[], Awaitable[httpx.Response]], seconds: float = 60.0) -> httpx.Response:
    """Send the same request until it gets an answer other than 503, as a good client does: pauses, and a limit.

    AssertionError when there is none after `seconds`.
    """
    deadline, pause, last = time.monotonic() + seconds, 0.2, "nothing"
    while True:
        try:
            answer = await send()
            if answer.status_code != 503:
                return answer
            assert int(answer.headers["retry-after"]) >= 1
            last, pause = answer.text, 1.0
        except httpx.TransportError as error:
            last = repr(error)
        assert time.monotonic() < deadline, f"no answer after {seconds:g} s: {last}"
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))


def decided(view: Json) -> bool:
    """Whether one of the checkout's payments has its outcome."""
    return any(payment["outcome"] for payment in view["payments"])
