"""Stripe's objects in our words, read strictly: what is not as its API has it raises Invalid.

A payment of ours is known by the object that we asked Stripe for, for ever: a PaymentIntent (`pi_…`), or a Checkout
Session (`cs_…`), whose PaymentIntent does not exist before the buyer pays. A session's PaymentIntent says so in its
metadata, and its events are not looked at; else one payment would have two ids, and its money would come twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from activities.gateways import payload
from activities.gateways.stripe_amounts import from_stripe
from domain.errors import Invalid
from domain.gateway import GatewayPayment, PaymentStatus, RefundResult, RefundStatus
from domain.ids import CheckoutId, GatewayName, PaymentId

NAME = GatewayName("stripe")
TENANT, CHECKOUT, START, VIA = "holdfast_tenant", "holdfast_checkout", "holdfast_start", "holdfast_via"
"""Names of metadata: whose payment, for which checkout, by which start, and `session` for a session's PaymentIntent."""
REFUND = "holdfast_refund"
"""Of a refund: by which idempotency key."""
SESSION = "session"
Json = Mapping[str, Any]

_INTENT_STATUS = {
    "requires_confirmation": PaymentStatus.CREATED,
    "requires_action": PaymentStatus.CREATED,
    "processing": PaymentStatus.PROCESSING,
    "requires_capture": PaymentStatus.PROCESSING,
    "succeeded": PaymentStatus.CAPTURED,
    "canceled": PaymentStatus.EXPIRED,
}
_REFUND_STATUS = {
    "succeeded": RefundStatus.SUCCEEDED,
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.PENDING,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.FAILED,
}


@dataclass(frozen=True, slots=True)
class Marker:
    """What the metadata of a payment of ours says."""

    tenant: str | None
    checkout_id: CheckoutId | None
    of_session: bool
    """It is the PaymentIntent of a session, which is what we know the payment by."""


def marker(data: Json) -> Marker | None:
    """None: it has none of ours, so it is nothing to us, such as a payment that the shop takes elsewhere."""
    metadata = data.get("metadata")
    if not isinstance(metadata, dict) or not (TENANT in metadata or CHECKOUT in metadata):
        return None
    tenant = metadata.get(TENANT)
    try:
        checkout = payload.checkout_id(metadata, CHECKOUT)
    except Invalid:
        checkout = None  # Whatever it is, no checkout of ours; refusing it would leave the money there.
    return Marker(tenant if isinstance(tenant, str) else None, checkout, metadata.get(VIA) == SESSION)


def payment(data: Json) -> GatewayPayment:
    """A PaymentIntent or a Checkout Session, with its latest charge expanded."""
    made_for = marker(data)
    is_session = data.get("object") == "checkout.session"
    status, amount, refunded = _session(data) if is_session else _intent(data)
    currency = currency_of(data)
    return GatewayPayment(
        gateway=NAME,
        payment_id=PaymentId(payload.identifier(data, "id")),
        checkout_id=made_for.checkout_id if made_for else None,
        status=status,
        amount=from_stripe(amount, currency),
        currency=currency,
        refunded_amount=from_stripe(refunded, currency),
        tenant=made_for.tenant if made_for else None,
    )


def currency_of(data: Json) -> str:
    """ISO 4217 in capitals; Stripe writes it small."""
    value = data.get("currency")
    return payload.currency({"currency": value.upper() if isinstance(value, str) else value}, "currency")


def items(data: Json) -> tuple[list[Json], bool]:
    """A page of a list, and whether there is more after it."""
    found, more = data.get("data"), data.get("has_more")
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found) or not isinstance(more, bool):
        raise Invalid("Stripe's list must have data and has_more")
    return found, more


def refund(data: Json, currency: str) -> RefundResult:
    """What became of a refund."""
    status = _REFUND_STATUS.get(payload.identifier(data, "status"))
    if status is None:
        raise Invalid("status of Stripe's refund is none that we know")
    return RefundResult(payload.identifier(data, "id"), status, from_stripe(payload.amount(data, "amount"), currency))


def _intent(data: Json) -> tuple[PaymentStatus, int, int]:
    status = payload.identifier(data, "status")
    charge = data.get("latest_charge")
    refunded = payload.amount(charge, "amount_refunded") if isinstance(charge, dict) else 0
    if status == "requires_payment_method":
        return PaymentStatus.FAILED if data.get("last_payment_error") else PaymentStatus.CREATED, _whole(data), 0
    known = _INTENT_STATUS.get(status)
    if known is None:
        raise Invalid("status of Stripe's payment is none that we know")
    if known is not PaymentStatus.CAPTURED:
        return known, _whole(data), refunded
    received = payload.amount(data, "amount_received")
    return PaymentStatus.REFUNDED if 0 < received <= refunded else known, received, refunded


def _session(data: Json) -> tuple[PaymentStatus, int, int]:
    """By its PaymentIntent once that has come far enough, else by itself."""
    status, total, intent = payload.identifier(data, "status"), payload.amount(data, "amount_total"), _paid_by(data)
    if intent is not None:
        by_intent = _intent(intent)
        if by_intent[0] in (PaymentStatus.PROCESSING, PaymentStatus.CAPTURED, PaymentStatus.REFUNDED):
            return by_intent
    if status == "open":
        declined = intent is not None and intent.get("last_payment_error")
        return PaymentStatus.FAILED if declined else PaymentStatus.CREATED, total, 0
    if status == "complete" and intent is None:
        return PaymentStatus.CAPTURED if data.get("payment_status") == "paid" else PaymentStatus.PROCESSING, total, 0
    if status in ("complete", "expired"):  # A complete one whose payment failed cannot be paid a second time.
        return PaymentStatus.EXPIRED, total, 0
    raise Invalid("status of Stripe's session is none that we know")


def _paid_by(data: Json) -> Json | None:
    intent = data.get("payment_intent")
    return intent if isinstance(intent, dict) else None


def _whole(data: Json) -> int:
    return payload.amount(data, "amount")
