"""Payments as we last heard of them. What became of each is in payment_outcomes."""

from __future__ import annotations

from typing import Any

from db.database import Database, Statement
from domain.gateway import GatewayPayment, PaymentEvent, PaymentStatus
from domain.ids import GatewayName, PaymentId, TenantId

_RANK = "array_position(ARRAY['created', 'failed', 'processing', 'expired', 'captured', 'refunded'], {})"
# News come in any order. Before the money is taken the buyer may try, fail and try again, so there the last that came
# counts, but for `created`. From `expired` on, a payment's stand only goes forward: a capture beats an end that was
# told before it, and nothing but a refund comes after a capture.
_NOTE = f"""
    INSERT INTO payments (tenant_id, gateway, payment_id, checkout_id, status, amount, currency)
    SELECT id, %(gateway)s, %(payment)s, %(checkout)s, %(status)s, %(amount)s, %(currency)s
    FROM tenants WHERE id = %(tenant)s
    ON CONFLICT (tenant_id, gateway, payment_id) DO UPDATE SET
        status = excluded.status, amount = excluded.amount, currency = excluded.currency,
        checkout_id = coalesce(payments.checkout_id, excluded.checkout_id), changed_at = clock_timestamp()
    WHERE excluded.status <> payments.status AND (
        {_RANK.format("excluded.status")} > {_RANK.format("payments.status")}
        OR payments.status = 'processing' AND excluded.status = 'failed')
"""
_NEWS = {PaymentStatus.REFUNDED: PaymentStatus.CAPTURED}
"""An event of a refund may tell of a part: all that it shows of the payment is that its money had been taken."""


def note_of_event(tenant: TenantId, event: PaymentEvent) -> Statement:
    """The statement that notes what a webhook tells of its payment, for the transaction that stores the event."""
    status = _NEWS.get(event.kind, event.kind)
    return _NOTE, _values(tenant, event, status)


def note_of(tenant: TenantId, payment: GatewayPayment) -> Statement:
    """The statement that notes what the gateway said of a payment when it was asked."""
    return _NOTE, _values(tenant, payment, payment.status)


async def note_payment(db: Database, tenant: TenantId, payment: GatewayPayment) -> None:
    """Note what the gateway said of a payment when it was asked. Older news change nothing; a repeat neither."""
    await db.run(tenant, note_of(tenant, payment))


def _values(tenant: TenantId, of: PaymentEvent | GatewayPayment, status: PaymentStatus) -> dict[str, Any]:
    return {
        **payment_key(tenant, of.gateway, of.payment_id),
        "checkout": of.checkout_id,
        "status": status,
        "amount": of.amount,
        "currency": of.currency,
    }


def payment_key(tenant: TenantId, gateway: GatewayName, payment: PaymentId) -> dict[str, Any]:
    """The values that name one payment."""
    return {"tenant": tenant, "gateway": gateway, "payment": payment}
