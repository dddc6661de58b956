"""Stripe, through its official library: PaymentIntents for a shop's own page, Checkout Sessions for Stripe's."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx

from activities.gateways import stripe_reading as reading
from activities.gateways import stripe_requests
from activities.gateways.accounts import needed, owed, webhook_secrets
from activities.gateways.options import GatewayOptions
from activities.gateways.secrets import Secrets
from activities.gateways.stripe_account import StripeAccount, read
from activities.gateways.stripe_api import REUSED_KEY, StripeApi, checked_key, is_live
from activities.gateways.stripe_events import told
from activities.gateways.stripe_signatures import secrets_from, verify
from domain.errors import GatewayNotConfigured, GatewayRefused, GatewayUnavailable
from domain.gateway import GatewayPayment, PaymentEvent, PaymentToStart, RefundResult, StartedPayment
from domain.ids import PaymentId, TenantId
from domain.tenant_secrets import gateway_secret

NAME = reading.NAME
_URL = re.compile(r"https?://[!-~]{1,1990}")
Json = Mapping[str, Any]


class StripeGateway:
    """Each tenant's own account. A payment's id is its PaymentIntent's or its session's, see stripe_reading."""

    def __init__(
        self, api: StripeApi, own: Secrets | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._api, self._own, self._clock = api, own, clock

    async def fetch(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """See Gateway. The PaymentIntent of a session is no payment of its own: None."""
        return await (await self._account(tenant)).fetch(payment_id)

    async def start(self, tenant: TenantId, payment: PaymentToStart) -> StartedPayment:
        """See Gateway. With a `return_url` a session on Stripe's page, else a PaymentIntent and its client secret."""
        account, on_its_page = await self._account(tenant), payment.return_url is not None
        wanted = (
            stripe_requests.session(tenant, payment, self._clock())
            if on_its_page
            else stripe_requests.intent(tenant, payment)
        )
        try:
            data = await account.make(wanted, payment.idempotency_key, session=on_its_page)
        except GatewayRefused as error:
            # Asked again with another end, say. Stripe compares whole requests, and what it has made is there.
            if error.extra.get("reason") != REUSED_KEY:
                raise
            data = await account.made_before(payment.idempotency_key, session=on_its_page)
        made = read(reading.payment, data)
        asked_for = (payment.checkout_id, payment.amount, payment.currency, tenant)
        if (made.checkout_id, made.amount, made.currency, made.tenant) != asked_for:
            raise GatewayUnavailable("Stripe answered with another payment than it was asked for")
        return StartedPayment(made.payment_id, made.status, *_for_the_browser(data))

    async def expire(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """See Gateway."""
        account = await self._account_for_what_is_owed(tenant)
        try:
            return await account.end(payment_id)
        except GatewayRefused:
            return await account.fetch(payment_id)

    async def payments(self, tenant: TenantId, since: datetime, until: datetime) -> AsyncIterator[GatewayPayment]:
        """See Gateway. What was not made for a checkout of ours is left out."""
        account = await self._account(tenant)
        made = {"gte": math.ceil(since.timestamp()), "lt": math.ceil(until.timestamp())}  # Stripe keeps whole seconds.
        for session in (False, True):
            async for data in account.listed(session=session, created=made):
                made_for = reading.marker(data)
                if made_for is not None and not made_for.of_session:
                    yield read(reading.payment, data)

    async def refund(self, tenant: TenantId, payment_id: PaymentId, amount: int, idempotency_key: str) -> RefundResult:
        """See Gateway."""
        account = await self._account_for_what_is_owed(tenant)
        return await account.refund(payment_id, amount, idempotency_key)

    async def parse_webhook(
        self, tenant: TenantId, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> PaymentEvent | None:
        """See Gateway. Events without metadata of ours, and of kinds that say nothing of a payment, are None."""
        secrets = secrets_from(await webhook_secrets(self._own, tenant, NAME))
        verify(secrets, headers.get("stripe-signature", ""), body, now)
        key = await self._own.get(tenant, gateway_secret(NAME, "api-key")) if self._own else None
        heard = told(tenant, body, live=None if key is None else is_live(key))
        if heard is None or not heard.of_session:
            return heard.event if heard else None
        session = await (await self._account_for_what_is_owed(tenant)).session_of(heard.event.payment_id)
        return None if session is None else replace(heard.event, payment_id=session)

    async def _account(self, tenant: TenantId) -> StripeAccount:
        return StripeAccount(self._api.client(await needed(self._own, tenant, NAME, "api-key")))

    async def _account_for_what_is_owed(self, tenant: TenantId) -> StripeAccount:
        try:
            return await self._account(tenant)
        except GatewayNotConfigured as error:
            raise owed(error) from error


def gateway(options: GatewayOptions, client: httpx.AsyncClient, own: Secrets | None) -> StripeGateway:
    """Stripe, or what stands in for it."""
    return StripeGateway(StripeApi(client, options.stripe_api_base), own)


def secrets(options: GatewayOptions) -> Mapping[str, Callable[[str], object]]:  # noqa: ARG001
    """What a tenant sets to use its account."""
    return {gateway_secret(NAME, "api-key"): checked_key, gateway_secret(NAME, "webhooks"): secrets_from}


def _for_the_browser(data: Json) -> tuple[str | None, str | None]:
    """The page, or the client secret."""
    if data.get("object") == "checkout.session":
        url = data.get("url")
        if not isinstance(url, str) or not _URL.fullmatch(url):
            raise GatewayRefused("Stripe's page for this payment is closed", reason="closed")
        return url, None
    secret = data.get("client_secret")
    return None, secret if isinstance(secret, str) else None
