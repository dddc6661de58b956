"""Stripe's events in our words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from activities.gateways import payload
from activities.gateways.stripe_amounts import from_stripe
from activities.gateways.stripe_reading import NAME, Marker, currency_of, marker
from domain.errors import Invalid
from domain.gateway import PaymentEvent, PaymentStatus
from domain.ids import EventId, PaymentId, TenantId

Json = Mapping[str, Any]
_INTENT_EVENTS = {
    "payment_intent.created": PaymentStatus.CREATED,
    "payment_intent.processing": PaymentStatus.PROCESSING,
    "payment_intent.succeeded": PaymentStatus.CAPTURED,
    "payment_intent.payment_failed": PaymentStatus.FAILED,
    "payment_intent.canceled": PaymentStatus.EXPIRED,
}
_SESSION_EVENTS = {
    "checkout.session.completed": PaymentStatus.PROCESSING,  # Or captured: its payment_status says which.
    "checkout.session.async_payment_succeeded": PaymentStatus.CAPTURED,
    "checkout.session.async_payment_failed": PaymentStatus.FAILED,
    "checkout.session.expired": PaymentStatus.EXPIRED,
}
_REFUNDED = "charge.refunded"
_FIRST, _LAST = 946_684_800, 7_258_118_400  # 2000 and 2200.


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and whether it names the PaymentIntent of a session instead of the session."""

    event: PaymentEvent
    of_session: bool = False


def told(tenant: TenantId, body: bytes, *, live: bool | None) -> Told | None:
    """The event of a verified webhook; None when it is nothing to us. Raises Invalid.

    `live`: whether the shop's key is for real money; an event of the other mode would be about other payments.
    """
    whole = payload.parse_object(body)
    kind, data = payload.identifier(whole, "type"), payload.child(payload.child(whole, "data"), "object")
    made_for = marker(data)
    if made_for is None or whole.get("account") is not None or not _is_known(kind):
        return None
    if live is not None and whole.get("livemode") is not live:
        raise Invalid("livemode in Stripe's message must be that of the shop's API key")
    if kind == _REFUNDED:
        return Told(
            _event(tenant, whole, PaymentStatus.REFUNDED, data, made_for, "payment_intent"), made_for.of_session
        )
    if kind in _SESSION_EVENTS:
        return Told(_event(tenant, whole, _session_kind(kind, data), data, made_for, "id"))
    return None if made_for.of_session else Told(_event(tenant, whole, _INTENT_EVENTS[kind], data, made_for, "id"))


def _is_known(kind: str) -> bool:
    return kind in _INTENT_EVENTS or kind in _SESSION_EVENTS or kind == _REFUNDED


def _session_kind(kind: str, data: Json) -> PaymentStatus:
    if kind == "checkout.session.completed" and data.get("payment_status") == "paid":
        return PaymentStatus.CAPTURED
    return _SESSION_EVENTS[kind]


def _event(
    tenant: TenantId, whole: Json, kind: PaymentStatus, data: Json, made_for: Marker, id_in: str
) -> PaymentEvent:
    currency, foreign = currency_of(data), made_for.tenant not in (None, tenant)
    return PaymentEvent(
        gateway=NAME,
        event_id=EventId(payload.identifier(whole, "id")),
        kind=kind,
        payment_id=PaymentId(payload.identifier(data, id_in)),
        checkout_id=None if foreign else made_for.checkout_id,
        amount=from_stripe(payload.amount(data, _amount_in(kind, data)), currency),
        currency=currency,
        occurred_at=_instant(whole),
        foreign_tenant=foreign,
    )


def _amount_in(kind: PaymentStatus, data: Json) -> str:
    if data.get("object") == "checkout.session":
        return "amount_total"
    return "amount_received" if kind is PaymentStatus.CAPTURED else "amount"


def _instant(whole: Json) -> datetime:
    value = whole.get("created")
    if type(value) is not int or not _FIRST <= value < _LAST:
        raise Invalid("created in Stripe's message must be a time in seconds")
    return datetime.fromtimestamp(value, UTC)
