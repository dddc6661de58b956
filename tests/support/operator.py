"""An operator of a shop: refunds, returns and payments by hand, over real HTTP."""

from __future__ import annotations

import time
from asyncio import sleep
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from api.tokens import Scope
from domain.ids import ProductId, TenantId
from tests.support.buyers import Buyer, Json, as_json
from tests.support.system import DEMO, System


@dataclass(frozen=True)
class Operator:
    """Methods that give a Response leave its status to the caller."""

    who: Buyer

    @classmethod
    def of(cls, system: System, tenant: TenantId = DEMO, scope: Scope = Scope.OPERATOR) -> Operator:
        """Nobody in particular."""
        return cls(system.buyer(tenant, None, scope))

    async def refund(self, order: str, amount: int | None = None, key: str | None = None) -> httpx.Response:
        """Decide a refund, all that is left by default."""
        body: Json = {"reason": "The buyer cannot come"} | ({"amount": amount} if amount else {})
        return await self.who.post(f"/v1/ops/orders/{order}/refunds", body, key)

    async def give_back(self, order: str, lines: list[Json] | None = None, key: str | None = None) -> httpx.Response:
        """Put things on sale again, all that is left by default."""
        return await self.who.post(f"/v1/ops/orders/{order}/return", {"lines": lines} if lines else None, key)

    async def record(self, checkout: str, key: str | None = None, **more: Any) -> httpx.Response:
        """Record a bank transfer."""
        body: Json = {"name": "Transfer 1", "reason": "Seen on the account"} | more
        return await self.who.post(f"/v1/ops/checkouts/{checkout}/manual-payment", body, key)

    async def returned(self, payment: str, **more: Any) -> httpx.Response:
        """Record that money was returned by hand."""
        return await self.who.post(f"/v1/ops/payments/manual/{payment}/refunded", {"name": "Back 1"} | more, None)

    async def look(self, payment: str, gateway: str = "sandbox") -> Json:
        """Everything about a payment, which must be there."""
        answer = await self.get(f"/v1/ops/payments/{gateway}/{payment}")
        assert answer.status_code == 200, answer.text
        return as_json(answer)

    async def payments(self, **query: Any) -> Json:
        """A page of payments."""
        answer = await self.get("/v1/ops/payments", **query)
        assert answer.status_code == 200, answer.text
        return as_json(answer)

    async def get(self, path: str, **query: Any) -> httpx.Response:
        """Any reading."""
        return await self.who.http.get(path, params=query, headers=dict(self.who.headers))

    async def when(
        self, payment: str, wanted: Callable[[Json], bool], gateway: str = "sandbox", seconds: float = 15.0
    ) -> Json:
        """The payment once it is as `wanted`; AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while not wanted(view := await self.look(payment, gateway)):
            assert time.monotonic() < deadline, f"not so after {seconds:g} s: {view}"
            await sleep(0.05)
        return view

    async def until_refunded(self, payment: str, gateway: str = "sandbox") -> Json:
        """The payment once nothing that was decided to go back is owed any more."""
        return await self.when(payment, lambda view: view["refund_status"] == "refunded", gateway)


@dataclass(frozen=True)
class Sold:
    """An order, and who bought it with which payment."""

    buyer: Buyer
    checkout: str
    order: str
    payment: str

    async def read(self) -> Json:
        """The order as its buyer sees it."""
        answer = await self.buyer.http.get(f"/v1/orders/{self.order}", headers=dict(self.buyer.headers))
        assert answer.status_code == 200, answer.text
        return as_json(answer)


async def sell(system: System, *lines: tuple[ProductId, int]) -> Sold:
    """Hold, pay at the sandbox gateway, and wait for the order."""
    buyer = system.buyer()
    held = await buyer.hold(*lines)
    payment = await system.payment(held)
    await system.gateway.pay(payment)
    view = await buyer.until(held["id"], "confirmed")
    return Sold(buyer, held["id"], view["order_id"], payment)


async def refunds_at_the_gateway(system: System, payment: str) -> list[int]:
    """What the gateway's ledger shows as given back, in its order."""
    every = await system.gateway.ledger(DEMO)
    return [one["amount"] for one in every if (one["payment_id"], one["kind"]) == (payment, "refund")]
