"""The demo's acts: each walks one buyer through one way that a hold can end, and sees that it ended so."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

import httpx

from db.seed import DEMO_PASSWORD, DEMO_TENANT, QUICK_TENANT
from domain.ids import CheckoutId, GatewayName, PaymentId, TenantId
from domain.money import Money
from domain.naming import checkout_workflow_id, late_payment_workflow_id
from local.demo.screen import Screen
from local.demo.shop import Buyer, DemoFailed, Gateway, Json, log_in
from local.demo.temporal_ui import TemporalUI

_PATIENCE = 15.0
"""Seconds that the system may take over what it does by itself."""
_SANDBOX = GatewayName("sandbox")


@dataclass(frozen=True)
class Demo:
    """What the acts play with. Every act raises DemoFailed when a step does not end as it should."""

    screen: Screen
    http: httpx.AsyncClient
    gateway: Gateway
    ui: TemporalUI

    async def pays(self) -> None:
        """Hold, a declined card, pay, confirm."""
        self.screen.act("Ana pays", "One card is declined and the hold stays; the next one makes her order.")
        ana = await self._log_in("ana", DEMO_TENANT)
        checkout = await self._hold(ana, 2)
        payment = await self.gateway.create(ana.tenant, checkout)
        await self.gateway.act(payment["id"], "decline")
        await self.gateway.until_delivered(payment["id"], _PATIENCE)
        declined = await ana.checkout(checkout["id"])
        stays = declined["status"] == "held" and declined["expires_at"] == checkout["expires_at"]
        _require(stays, "a declined card must leave the hold and its end", declined)
        self.screen.step("Her card is declined: the hold stays, and its end is the same")
        await self.gateway.act(payment["id"], "pay")
        self.screen.step(f"Paid {_money(checkout)} with another card")
        confirmed = await ana.until(checkout["id"], "confirmed", _PATIENCE)
        self.screen.step("The gateway's signed webhook confirmed it; Ana's browser did nothing")
        order = await ana.confirm(checkout["id"], payment["id"])
        _require(order["id"] == confirmed["order_id"], "the storefront's confirm must find the same order", order)
        self.screen.step("The storefront confirms too, and gets the same order")
        self.screen.note(f"order {order['id']}")
        await self._stock(ana, checkout)
        self._link(checkout, ana.tenant)

    async def cancels(self) -> None:
        """Hold, cancel."""
        self.screen.act("Luis cancels", "He changes his mind. The stock is free again at once.")
        luis = await self._log_in("luis", DEMO_TENANT)
        checkout = await self._hold(luis, 3)
        await self._stock(luis, checkout)
        cancelled = await luis.cancel(checkout["id"])
        _require(cancelled["status"] == "cancelled", "cancel must cancel", cancelled)
        self.screen.step("Cancelled")
        await self._stock(luis, checkout)
        refusal = await luis.refused(checkout["id"], "extend", 410)
        self.screen.step(f"Extending it now is refused: 410 {refusal['code']}")
        self._link(checkout, luis.tenant)

    async def lets_it_expire(self) -> None:
        """Hold for seconds, extend, do nothing; pay all the same, and once more: an order, and a refund."""
        self.screen.act(
            "Ana leaves, and pays too late",
            "A tenant whose holds last 5 seconds. Nobody cleans up: a hold ends by itself.",
        )
        ana = await self._log_in("ana", QUICK_TENANT)
        checkout = await self._hold(ana, 1)
        await self.screen.wait(2, "Ana thinks it over")
        extended = await ana.extend(checkout["id"])
        _require(extended["expires_at"] > checkout["expires_at"], "an extension must move the end", extended)
        self.screen.step(f"Extended: the hold now ends at {_clock(extended['expires_at'])}")
        await self.screen.wait(extended["remaining_seconds"], "Ana has left; nobody does anything")
        await ana.until(checkout["id"], "expired", _PATIENCE)
        self.screen.step("Expired by itself")
        await self._stock(ana, checkout)
        payment = await self.gateway.create(ana.tenant, checkout)
        await self.gateway.act(payment["id"], "pay")
        self.screen.step(f"Then she pays {_money(checkout)} all the same; the stock is not hers any more")
        await ana.until(checkout["id"], "confirmed", _PATIENCE)
        self.screen.step("The same is still free, so it is held again: she gets her order after all")
        await self._stock(ana, checkout)
        second = await self.gateway.create(ana.tenant, checkout)
        await self.gateway.act(second["id"], "pay")
        self.screen.step("By mistake she pays once more")
        await self._refunded(ana, checkout, second)
        self._link(checkout, ana.tenant)
        late = late_payment_workflow_id(ana.tenant, _SANDBOX, PaymentId(payment["id"]))
        self.screen.link("The late payment's run", self.ui.run(late))

    async def _log_in(self, name: str, tenant: TenantId) -> Buyer:
        buyer = await log_in(self.http, name, DEMO_PASSWORD, tenant)
        self.screen.step(f"Logged in as {name}, tenant {tenant}")
        return buyer

    async def _hold(self, buyer: Buyer, quantity: int) -> Json:
        """Hold units of whatever the shop has most of, so that the demo can be played many times."""
        product = max(await buyer.products(), key=lambda each: int(each["available"] and each["stock_available"]))
        checkout = await buyer.start(product["id"], quantity)
        seconds = checkout["remaining_seconds"]
        self.screen.step(f"Held {quantity} of “{product['name']}”, {_money(checkout)}")
        length = f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"
        self.screen.note(f"for {length}, until {_clock(checkout['expires_at'])}")
        return checkout

    async def _stock(self, buyer: Buyer, checkout: Json) -> None:
        product = await buyer.product(checkout["lines"][0]["product_id"])
        self.screen.note(
            "stock: {stock_available} free, {stock_reserved} held, {stock_sold} sold, of {stock_total}".format(
                **product
            )
        )

    async def _refunded(self, buyer: Buyer, checkout: Json, payment: Json) -> None:
        """Wait for the refund, as the shop and as the gateway know it."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            payments = (await buyer.checkout(checkout["id"]))["payments"]
            refunded = [one for one in payments if one["payment_id"] == payment["id"]]
            if refunded and refunded[0]["refund_status"] == "refunded":
                break
            _require(time.monotonic() < deadline, "the payment must be refunded", payments)
            await asyncio.sleep(0.1)
        at_gateway = await self.gateway.payment(payment["id"])
        _require(
            at_gateway["refunded_amount"] == checkout["total"], "the gateway must have made the refund", at_gateway
        )
        self.screen.step(f"Refunded in full, reason: {refunded[0]['reason']}")

    def _link(self, checkout: Json, tenant: TenantId) -> None:
        workflow = checkout_workflow_id(tenant, CheckoutId(checkout["id"]))
        self.screen.link("This checkout's run", self.ui.run(workflow))


def _require(so: bool, rule: str, seen: object) -> None:
    if not so:
        raise DemoFailed(f"{rule}; instead: {str(seen)[:300]}")


def _money(checkout: Json) -> str:
    return str(Money(checkout["total"], checkout["currency"]))


def _clock(instant: str) -> str:
    return f"{datetime.fromisoformat(instant):%H:%M:%S} UTC"
