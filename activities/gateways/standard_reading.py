"""The JSON of the generic protocol (docs/gateways.md), read strictly: what is not as it says raises Invalid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any, TypeVar

from activities.gateways import payload
from domain.errors import Invalid
from domain.gateway import GatewayPayment, PaymentEvent, PaymentStatus, PaymentToStart, RefundResult, RefundStatus
from domain.ids import EventId, GatewayName, PaymentId, TenantId

_LONGEST_TEXT = 200
_NOT_FOR_PEOPLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
_URL = re.compile(r"https?://[!-~]{1,1990}")
_Enum = TypeVar("_Enum", PaymentStatus, RefundStatus)
Json = Mapping[str, Any]


def asked(tenant: TenantId, payment: PaymentToStart) -> dict[str, Any]:
    """The body with which a payment is asked for."""
    body: dict[str, Any] = {
        "tenant": tenant,
        "checkout_id": payment.checkout_id,
        "amount": payment.amount,
        "currency": payment.currency,
        "ends_at": payment.ends_at.astimezone(UTC).isoformat(),
    }
    if reference := _NOT_FOR_PEOPLE.sub(" ", payment.description).strip()[:_LONGEST_TEXT]:
        body["reference"] = reference
    if payment.return_url is not None:
        body["return_url"] = payment.return_url
    return body


def payment(gateway: GatewayName, data: Json) -> GatewayPayment:
    """A payment as the gateway has it now."""
    return GatewayPayment(
        gateway=gateway,
        payment_id=PaymentId(payload.identifier(data, "id")),
        checkout_id=payload.checkout_id(data, "checkout_id"),
        status=_one_of(PaymentStatus, data, "status"),
        amount=payload.amount(data, "amount"),
        currency=payload.currency(data, "currency"),
        refunded_amount=payload.amount(data, "refunded_amount"),
        tenant=payload.optional_identifier(data, "tenant"),
    )


def payments(gateway: GatewayName, data: Json) -> list[GatewayPayment]:
    """One page of them."""
    items = data.get("items")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Invalid("items in the gateway's message must be a list of objects")
    return [payment(gateway, item) for item in items]


def page_url(data: Json, base_url: str) -> str | None:
    """The gateway's own page for the payment; https, unless the gateway itself is asked by http."""
    url = data.get("url")
    if url is None:
        return None
    allowed = ("https://",) if base_url.startswith("https://") else ("https://", "http://")
    if not isinstance(url, str) or not _URL.fullmatch(url) or not url.startswith(allowed):
        raise Invalid("url in the gateway's message must be an https URL")
    return url


def refund(data: Json) -> RefundResult:
    """What became of a refund."""
    return RefundResult(
        payload.identifier(data, "id"), _one_of(RefundStatus, data, "status"), payload.amount(data, "amount")
    )


def event(gateway: GatewayName, tenant: TenantId, message_id: str, body: bytes, *, shared: bool) -> PaymentEvent | None:
    """The event of a verified webhook that came for `tenant`; None when it was not made for a shop of ours."""
    whole = payload.parse_object(body)
    data = payload.child(whole, "data")
    if payload.identifier(whole, "id") != message_id:
        raise Invalid("id in the gateway's message must be its webhook-id")
    owner = payload.optional_identifier(data, "tenant")
    if shared and owner != tenant:
        raise Invalid("tenant in the gateway's message must be the one it was sent to")
    if owner is None:
        return None
    return PaymentEvent(
        gateway=gateway,
        event_id=EventId(message_id),
        kind=_one_of(PaymentStatus, whole, "type", prefix="payment."),
        payment_id=PaymentId(payload.identifier(data, "payment_id")),
        checkout_id=payload.checkout_id(data, "checkout_id") if owner == tenant else None,
        amount=payload.amount(data, "amount"),
        currency=payload.currency(data, "currency"),
        occurred_at=payload.instant(whole, "created_at"),
        foreign_tenant=owner != tenant,
    )


def _one_of(kind: type[_Enum], data: Json, name: str, prefix: str = "") -> _Enum:
    value = payload.identifier(data, name)
    try:
        if not value.startswith(prefix):
            raise ValueError(value)
        return kind(value.removeprefix(prefix))
    except ValueError:
        raise Invalid(f"{name} in the gateway's message is none that we know") from None
