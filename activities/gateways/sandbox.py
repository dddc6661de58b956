"""The adapter to the sandbox gateway (local/gateway), which signs its webhooks by Standard Webhooks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from activities.gateways import payload
from activities.gateways.secrets import Secrets
from activities.gateways.standard_webhooks import Verifier, verifier_from
from domain.errors import GatewayRefused, GatewayUnavailable, Invalid
from domain.gateway import GatewayPayment, PaymentEvent, PaymentStatus, RefundResult, RefundStatus
from domain.ids import EventId, GatewayName, PaymentId, TenantId
from domain.tenant_secrets import gateway_secret

SANDBOX = GatewayName("sandbox")
SECRET_NAME = gateway_secret(SANDBOX)
"""Of a tenant's own webhook secret, in the form of HOLDFAST_SANDBOX_GATEWAY_SECRET."""

_TIMEOUT = httpx.Timeout(3.0)
_WHOLE_CALL_SECONDS = 6.0
"""A gateway that trickles its answer meets every read timeout, so the whole call has one too."""
_PAYMENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
_MAY_BE_ASKED_AGAIN = frozenset({408, 425, 429})
_Enum = TypeVar("_Enum", PaymentStatus, RefundStatus)


class SandboxGateway:
    """The sandbox gateway over HTTP."""

    def __init__(self, url: str, secrets: Sequence[str], client: httpx.AsyncClient, own: Secrets | None = None) -> None:
        """`secrets` are for tenants that have none of their `own`. `client` belongs to the caller, who closes it.

        Raises ValueError for a malformed secret.
        """
        self._url, self._client = url.rstrip("/"), client
        self._verifier, self._own = Verifier(secrets), own

    # The sandbox keeps one account for all tenants, so the tenant chooses no credentials here.
    async def fetch(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:  # noqa: ARG002
        """See Gateway. The payment may be another tenant's (`GatewayPayment.tenant`): the caller compares."""
        if not _PAYMENT_ID.fullmatch(payment_id):
            return None  # No id of this gateway's looks like that, and it must not become part of a URL.
        response = await self._call("GET", f"/payments/{quote(payment_id, safe='')}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        data = _answer(response)
        try:
            found = _payment(data)
        except Invalid as error:
            raise GatewayUnavailable(error.detail) from error
        if found.payment_id != payment_id:
            raise GatewayUnavailable("the gateway answered with another payment")
        return found

    async def refund(
        self,
        tenant: TenantId,  # noqa: ARG002
        payment_id: PaymentId,
        amount: int,
        idempotency_key: str,
    ) -> RefundResult:
        """See Gateway. A payment that it does not know, or more than is left of it, is GatewayRefused."""
        if not _PAYMENT_ID.fullmatch(payment_id):
            raise GatewayRefused("the gateway does not know this payment")
        response = await self._call(
            "POST",
            f"/payments/{quote(payment_id, safe='')}/refund",
            json={"amount": amount},
            headers={"Idempotency-Key": idempotency_key},
        )
        data = _answer(response)
        try:
            return RefundResult(
                payload.identifier(data, "id"), _one_of(RefundStatus, data, "status"), payload.amount(data, "amount")
            )
        except Invalid as error:
            raise GatewayUnavailable(error.detail) from error

    async def parse_webhook(
        self, tenant: TenantId, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> PaymentEvent:
        """See Gateway.

        An event of another tenant's is Invalid: a webhook overheard at one shop and sent to another must do nothing.
        """
        message_id = (await self._verifier_of(tenant)).verify(headers, body, now)
        event = payload.parse_object(body)
        data = payload.child(event, "data")
        if payload.identifier(event, "id") != message_id:
            raise Invalid("id in the gateway's message must be its webhook-id")
        if payload.identifier(data, "tenant") != tenant:
            raise Invalid("tenant in the gateway's message must be the one it was sent to")
        return PaymentEvent(
            gateway=SANDBOX,
            event_id=EventId(message_id),
            kind=_one_of(PaymentStatus, event, "type", prefix="payment."),
            payment_id=PaymentId(payload.identifier(data, "payment_id")),
            checkout_id=payload.checkout_id(data, "checkout_id"),
            amount=payload.amount(data, "amount"),
            currency=payload.currency(data, "currency"),
            occurred_at=payload.instant(event, "created_at"),
        )

    async def _verifier_of(self, tenant: TenantId) -> Verifier:
        own = await self._own.get(tenant, SECRET_NAME) if self._own else None
        return verifier_from(own) if own is not None else self._verifier

    async def _call(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(_WHOLE_CALL_SECONDS):
                return await self._client.request(method, self._url + path, timeout=_TIMEOUT, **request)
        except (httpx.HTTPError, TimeoutError) as error:
            raise GatewayUnavailable(f"the gateway did not answer ({type(error).__name__})") from error


def _answer(response: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of a good answer; GatewayRefused for a no, GatewayUnavailable for anything else."""
    status = response.status_code
    if 400 <= status < 500 and status not in _MAY_BE_ASKED_AGAIN:
        raise GatewayRefused(f"the gateway refused (HTTP {status})")
    if not response.is_success:
        raise GatewayUnavailable(f"the gateway answered HTTP {status}")
    try:
        return payload.parse_object(response.content)
    except Invalid as error:
        raise GatewayUnavailable(error.detail) from error


def _payment(data: Mapping[str, Any]) -> GatewayPayment:
    return GatewayPayment(
        gateway=SANDBOX,
        payment_id=PaymentId(payload.identifier(data, "id")),
        checkout_id=payload.checkout_id(data, "checkout_id"),
        status=_one_of(PaymentStatus, data, "status"),
        amount=payload.amount(data, "amount"),
        currency=payload.currency(data, "currency"),
        refunded_amount=payload.amount(data, "refunded_amount"),
        tenant=payload.optional_identifier(data, "tenant"),
    )


def _one_of(kind: type[_Enum], data: Mapping[str, Any], name: str, prefix: str = "") -> _Enum:
    value = payload.identifier(data, name)
    try:
        if not value.startswith(prefix):
            raise ValueError(value)
        return kind(value.removeprefix(prefix))
    except ValueError:
        raise Invalid(f"{name} in the gateway's message is none that we know") from None
