"""One account at Stripe, and what is asked of it more than once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import stripe

from activities.gateways import stripe_reading as reading
from activities.gateways.calls import bounded_key
from activities.gateways.stripe_amounts import to_stripe
from activities.gateways.stripe_api import REUSED_KEY, said
from domain.errors import GatewayRefused, GatewayUnavailable, Invalid
from domain.gateway import GatewayPayment, RefundResult, RefundStatus
from domain.ids import PaymentId

PAGE = 100
"""The most that Stripe lists at once."""
_PAGES_LOOKED_THROUGH = 10
_MISSING = "resource_missing"
_INTENT = re.compile(r"pi_[A-Za-z0-9]{1,190}")
_SESSION = re.compile(r"cs_(?:test_|live_)?[A-Za-z0-9]{1,190}")
_INTENT_EXPAND, _SESSION_EXPAND = ["latest_charge"], ["payment_intent.latest_charge"]
_T = TypeVar("_T")
_P = ParamSpec("_P")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StripeAccount:
    """Raises as a Gateway does."""

    client: stripe.StripeClient

    async def fetch(self, payment_id: PaymentId) -> GatewayPayment | None:
        """The payment; the PaymentIntent of a session is none of its own."""
        data = await self._retrieved(payment_id)
        made_for = None if data is None else reading.marker(data)
        return None if data is None or (made_for is not None and made_for.of_session) else _the_same(data, payment_id)

    async def end(self, payment_id: PaymentId) -> GatewayPayment | None:
        """Expire or cancel it. GatewayRefused when it is paid, being paid, ended already, or not there."""
        if _SESSION.fullmatch(payment_id):
            expand: Any = {"expand": _SESSION_EXPAND}
            return _the_same(await said(self.client.v1.checkout.sessions.expire_async(payment_id, expand)), payment_id)
        if _INTENT.fullmatch(payment_id):
            cancel: Any = {"cancellation_reason": "abandoned", "expand": _INTENT_EXPAND}
            return _the_same(await said(self.client.v1.payment_intents.cancel_async(payment_id, cancel)), payment_id)
        return None

    async def make(self, wanted: Json, key: str, *, session: bool) -> Json:
        """A PaymentIntent or a session. Raises GatewayRefused with REUSED_KEY for another request with this key."""
        making = self.client.v1.checkout.sessions if session else self.client.v1.payment_intents
        anything: Any = wanted
        return await said(making.create_async(anything, {"idempotency_key": bounded_key(key)}))

    async def made_before(self, key: str, *, session: bool) -> Json:
        """What an earlier request with this key has made, among the newest thousand."""
        async for data in self.listed(session=session, pages=_PAGES_LOOKED_THROUGH):
            metadata = data.get("metadata")
            if isinstance(metadata, dict) and metadata.get(reading.START) == bounded_key(key):
                return data
        raise GatewayRefused("Stripe has made another payment for this request", reason=REUSED_KEY)

    async def listed(self, *, session: bool, pages: int | None = None, **filters: Any) -> AsyncIterator[Json]:
        """Every PaymentIntent or session, the newest first, page by page."""
        listing = self.client.v1.checkout.sessions if session else self.client.v1.payment_intents
        expand = [f"data.{one}" for one in (_SESSION_EXPAND if session else _INTENT_EXPAND)]
        wanted: Any = {"limit": PAGE, "expand": expand, **filters}
        while pages is None or pages > 0:
            found, more = read(reading.items, await said(listing.list_async(wanted)))
            for data in found:
                yield data
            if not more:
                return
            last = found[-1].get("id") if found else None
            if last is None or last == wanted.get("starting_after"):
                raise GatewayUnavailable("Stripe's list goes round in circles")
            wanted["starting_after"], pages = last, None if pages is None else pages - 1

    async def session_of(self, intent: str) -> PaymentId | None:
        """The session that this PaymentIntent pays."""
        wanted: Any = {"payment_intent": intent, "limit": 1}
        found, _ = read(reading.items, await said(self.client.v1.checkout.sessions.list_async(wanted)))
        return PaymentId(str(found[0].get("id"))) if found else None

    async def refund(self, payment_id: PaymentId, amount: int, key: str) -> RefundResult:
        """Give `amount` back, once for each key; one that failed is made anew when it is asked for again.

        Stripe forgets idempotency keys after a day or more, and we ask for longer; so each refund carries its key, and
        the payment's refunds are looked through first.
        """
        intent, currency = await self._to_give_back(payment_id)
        before = await self._refunds(intent, currency, key)
        for result in before:
            if result.status is not RefundStatus.FAILED:
                return result
        new: Any = {
            "payment_intent": intent,
            "amount": to_stripe(amount, currency),
            "metadata": {reading.REFUND: bounded_key(key)},
        }
        attempt = bounded_key(f"{key}/{len(before)}" if before else key)
        made = await said(self.client.v1.refunds.create_async(new, {"idempotency_key": attempt}))
        return read(reading.refund, made, currency)

    async def _refunds(self, intent: str, currency: str, key: str) -> list[RefundResult]:
        wanted: Any = {"payment_intent": intent, "limit": PAGE}
        found, _ = read(reading.items, await said(self.client.v1.refunds.list_async(wanted)))
        ours = [one for one in found if (one.get("metadata") or {}).get(reading.REFUND) == bounded_key(key)]
        return [read(reading.refund, one, currency) for one in ours]

    async def _to_give_back(self, payment_id: PaymentId) -> tuple[str, str]:
        """The PaymentIntent that has the money, and its currency."""
        data = await self._retrieved(payment_id)
        intent = data.get("payment_intent") if data is not None and _SESSION.fullmatch(payment_id) else data
        if data is None or not isinstance(intent, dict):
            raise GatewayRefused("Stripe has taken no money for this payment", reason="not_paid")
        return str(intent.get("id")), read(reading.currency_of, data)

    async def _retrieved(self, payment_id: PaymentId) -> Json | None:
        try:
            if _SESSION.fullmatch(payment_id):
                session: Any = {"expand": _SESSION_EXPAND}
                return await said(self.client.v1.checkout.sessions.retrieve_async(payment_id, session))
            if _INTENT.fullmatch(payment_id):
                intent: Any = {"expand": _INTENT_EXPAND}
                return await said(self.client.v1.payment_intents.retrieve_async(payment_id, intent))
        except GatewayRefused as error:
            if error.extra.get("reason") != _MISSING:
                raise
        return None


def read(reader: Callable[_P, _T], *args: _P.args, **more: _P.kwargs) -> _T:
    """What the answer says; one that makes no sense is asked for again."""
    try:
        return reader(*args, **more)
    except Invalid as error:
        raise GatewayUnavailable(error.detail) from error


def _the_same(data: Json, payment_id: PaymentId) -> GatewayPayment:
    found = read(reading.payment, data)
    if found.payment_id != payment_id:
        raise GatewayUnavailable("Stripe answered with another payment")
    return found
