"""Any gateway that speaks the small HTTP protocol of docs/gateways.md and signs by Standard Webhooks."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

import httpx

from activities.gateways import payload, standard_reading
from activities.gateways.accounts import Access, Account, OwnAccount, owed
from activities.gateways.addresses import checked_base_url, pinned
from activities.gateways.calls import Heard, ask, bounded_key
from activities.gateways.options import GatewayOptions
from activities.gateways.secrets import Secrets
from activities.gateways.standard_webhooks import verifier_from
from domain.errors import GatewayNotConfigured, GatewayRefused, GatewayUnavailable, Invalid
from domain.gateway import GatewayPayment, PaymentEvent, PaymentToStart, RefundResult, StartedPayment
from domain.ids import GatewayName, PaymentId, TenantId
from domain.tenant_secrets import gateway_secret

NAME = GatewayName("standard")
PAGE = 100
"""Payments asked for at once."""
_API_KEY = re.compile(r"[A-Za-z0-9._~+/=-]{8,500}")
_PAYMENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
_ASK_AGAIN = frozenset({401, 403, 408, 425, 429})
"""401 and 403 too: credentials that were set wrong are mended, and what was owed meanwhile is owed still."""
_T = TypeVar("_T")
_P = ParamSpec("_P")
Json = Mapping[str, Any]


class StandardGateway:
    """The protocol, asked for one account after the other."""

    def __init__(self, name: GatewayName, account: Account, client: httpx.AsyncClient) -> None:
        """`client` belongs to the caller, who closes it."""
        self._name, self._account, self._client = name, account, client

    async def fetch(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """See Gateway. The payment may be another tenant's (`GatewayPayment.tenant`): the caller compares."""
        return await self._fetch(await self._account.access(tenant), payment_id)

    async def start(self, tenant: TenantId, payment: PaymentToStart) -> StartedPayment:
        """See Gateway."""
        access = await self._account.access(tenant)
        headers = {"idempotency-key": bounded_key(payment.idempotency_key)}
        wanted = standard_reading.asked(tenant, payment)
        heard = await self._call(access, "POST", "/payments", headers, json=wanted)
        data = _answer(heard)
        made = _read(standard_reading.payment, self._name, data)
        asked_for = (payment.checkout_id, payment.amount, payment.currency, tenant)
        if (made.checkout_id, made.amount, made.currency, made.tenant) != asked_for or not _is_id(made.payment_id):
            raise GatewayUnavailable("the gateway answered with another payment than it was asked for")
        url = _read(standard_reading.page_url, data, access.base_url)
        secret = _read(payload.optional_identifier, data, "client_secret")
        return StartedPayment(made.payment_id, made.status, url, secret)

    async def expire(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """See Gateway. Where the gateway does not take it, the payment is as it is."""
        access = await self._access_for_what_is_owed(tenant)
        if not _is_id(payment_id):
            return None
        if not await self._is_of(tenant, access, payment_id):
            return None
        heard = await self._call(access, "POST", f"/payments/{quote(payment_id, safe='')}/expire", json={})
        try:
            return self._payment(_answer(heard), payment_id)
        except GatewayRefused:
            return await self._fetch(access, payment_id)

    async def payments(self, tenant: TenantId, since: datetime, until: datetime) -> AsyncIterator[GatewayPayment]:
        """See Gateway. In an account of the tenant's own it also gives what names another tenant."""
        access = await self._account.access(tenant)
        wanted = {"since": _text(since), "until": _text(until), "limit": str(PAGE)}
        if self._account.shared:
            wanted["tenant"] = tenant
        cursors: set[str] = set()
        while True:
            data = _answer(await self._call(access, "GET", "/payments", params=wanted))
            for payment in _read(standard_reading.payments, self._name, data):
                if payment.tenant is not None:
                    yield payment
            cursor = _read(payload.optional_identifier, data, "next")
            if cursor is None:
                return
            if cursor in cursors:
                raise GatewayUnavailable("the gateway's list of payments goes round in circles")
            cursors.add(cursor)
            wanted["cursor"] = cursor

    async def refund(self, tenant: TenantId, payment_id: PaymentId, amount: int, idempotency_key: str) -> RefundResult:
        """See Gateway. A payment that it does not know, or more than is left of it, is GatewayRefused."""
        access = await self._access_for_what_is_owed(tenant)
        if not _is_id(payment_id) or not await self._is_of(tenant, access, payment_id):
            raise GatewayRefused("the gateway does not know this payment")
        heard = await self._call(
            access,
            "POST",
            f"/payments/{quote(payment_id, safe='')}/refund",
            {"idempotency-key": bounded_key(idempotency_key)},
            json={"amount": amount},
        )
        data = _answer(heard)
        return _read(standard_reading.refund, data)

    async def parse_webhook(
        self, tenant: TenantId, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> PaymentEvent | None:
        """See Gateway.

        In the account that tenants share, another tenant's event is Invalid: a webhook overheard at one shop and sent
        to another must do nothing. In a tenant's own account it is money in the wrong hands (`foreign_tenant`).
        """
        verifier = await self._account.verifier(tenant)
        message_id = verifier.verify(headers, body, now)
        return standard_reading.event(self._name, tenant, message_id, body, shared=self._account.shared)

    async def _is_of(self, tenant: TenantId, access: Access, payment_id: PaymentId) -> bool:
        """Whether the tenant may move this money. In a shared account a shop that signs its own webhooks can name
        another shop's payment; in its own account all is its own, whatever the payment says."""
        if not self._account.shared:
            return True
        found = await self._fetch(access, payment_id)
        return found is not None and found.tenant == tenant

    async def _fetch(self, access: Access, payment_id: PaymentId) -> GatewayPayment | None:
        if not _is_id(payment_id):
            return None  # No id of this gateway's looks like that, and it must not become part of a URL.
        heard = await self._call(access, "GET", f"/payments/{quote(payment_id, safe='')}")
        if heard.status == httpx.codes.NOT_FOUND:
            return None
        return self._payment(_answer(heard), payment_id)

    def _payment(self, data: Json, payment_id: PaymentId) -> GatewayPayment:
        found = _read(standard_reading.payment, self._name, data)
        if found.payment_id != payment_id:
            raise GatewayUnavailable("the gateway answered with another payment")
        return found

    async def _access_for_what_is_owed(self, tenant: TenantId) -> Access:
        try:
            return await self._account.access(tenant)
        except GatewayNotConfigured as error:
            raise owed(error) from error

    async def _call(
        self, access: Access, method: str, path: str, headers: Mapping[str, str] | None = None, **request: Any
    ) -> Heard:
        sent = {**access.headers, **(headers or {})}
        if access.trusted:
            return await ask(self._client, method, access.base_url + path, sent, **request)
        at = await pinned(access.base_url, path)
        if at.host is not None:
            # Connections are kept by address, and one may have shown another host's certificate: these are not kept.
            sent |= {"host": at.host, "connection": "close"}
            request["extensions"] = {"sni_hostname": at.name}
        return await ask(self._client, method, at.url, sent, **request)


def gateway(options: GatewayOptions, client: httpx.AsyncClient, own: Secrets | None) -> StandardGateway:  # noqa: ARG001
    """The gateway of each tenant's own choice."""
    return StandardGateway(NAME, OwnAccount(NAME, own), client)


def secrets(options: GatewayOptions) -> Mapping[str, Callable[[str], object]]:
    """What a tenant sets to have one."""
    return {
        gateway_secret(NAME, "url"): partial(checked_base_url, development=options.development),
        gateway_secret(NAME, "api-key"): checked_api_key,
        gateway_secret(NAME, "webhooks"): verifier_from,
    }


def checked_api_key(text: str) -> str:
    """The key. Raises ValueError for what cannot stand in a header (RFC 6750)."""
    if not _API_KEY.fullmatch(text):
        raise ValueError("an API key has 8 to 500 letters, digits or - . _ ~ + / =")
    return text


def _answer(heard: Heard) -> Json:
    """The JSON object of a good answer; GatewayRefused for a no, GatewayUnavailable for anything else."""
    if 400 <= heard.status < 500 and heard.status not in _ASK_AGAIN:
        raise GatewayRefused(f"the gateway refused (HTTP {heard.status})")
    if not 200 <= heard.status < 300:
        raise GatewayUnavailable(f"the gateway answered HTTP {heard.status}")
    return _read(payload.parse_object, heard.content)


def _read(reading: Callable[_P, _T], *said: _P.args, **more: _P.kwargs) -> _T:
    """What the answer says; one that makes no sense is asked for again."""
    try:
        return reading(*said, **more)
    except Invalid as error:
        raise GatewayUnavailable(error.detail) from error


def _is_id(payment_id: str) -> bool:
    return _PAYMENT_ID.fullmatch(payment_id) is not None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
