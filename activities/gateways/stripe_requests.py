"""What Stripe is asked to make."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from activities.gateways.calls import bounded_key
from activities.gateways.stripe_amounts import to_stripe
from activities.gateways.stripe_reading import CHECKOUT, SESSION, START, TENANT, VIA
from domain.gateway import PaymentToStart
from domain.ids import TenantId

SOONEST_END = timedelta(minutes=32)
"""A session may end 30 minutes after its making at the soonest; some more, as clocks differ."""
LATEST_END = timedelta(hours=23)
"""Likewise 24 hours at the latest."""
_NOT_FOR_PEOPLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")


def intent(tenant: TenantId, payment: PaymentToStart) -> dict[str, Any]:
    """A PaymentIntent, for the shop's own page with Stripe's script."""
    return {
        "amount": to_stripe(payment.amount, payment.currency),
        "currency": payment.currency.lower(),
        "automatic_payment_methods": {"enabled": True},
        "description": _described(payment),
        "metadata": _metadata(tenant, payment),
    }


def session(tenant: TenantId, payment: PaymentToStart, now: datetime) -> dict[str, Any]:
    """A Checkout Session, on Stripe's own page. It charges what was asked, in that currency, and nothing else."""
    metadata = _metadata(tenant, payment)
    price = {
        "currency": payment.currency.lower(),
        "unit_amount": to_stripe(payment.amount, payment.currency),
        "product_data": {"name": _described(payment)},
    }
    return {
        "mode": "payment",
        "line_items": [{"quantity": 1, "price_data": price}],
        "success_url": payment.return_url,
        "cancel_url": payment.return_url,
        "expires_at": int(min(max(payment.ends_at, now + SOONEST_END), now + LATEST_END).timestamp()),
        "client_reference_id": payment.checkout_id,
        "adaptive_pricing": {"enabled": False},
        "metadata": metadata,
        "payment_intent_data": {"description": _described(payment), "metadata": metadata | {VIA: SESSION}},
    }


def _metadata(tenant: TenantId, payment: PaymentToStart) -> dict[str, str]:
    return {TENANT: tenant, CHECKOUT: payment.checkout_id, START: bounded_key(payment.idempotency_key)}


def _described(payment: PaymentToStart) -> str:
    return _NOT_FOR_PEOPLE.sub(" ", payment.description).strip()[:200] or payment.checkout_id
