"""Typed ids, and the one place that derives an id from what names it."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from typing import NewType

TenantId = NewType("TenantId", str)
"""A tenant's short name, `[a-z0-9-]{1,40}`; it stands in URLs and workflow ids."""
CheckoutId = NewType("CheckoutId", str)
"""A UUID in its canonical lower-case form."""
OrderId = NewType("OrderId", str)
"""A UUID in its canonical lower-case form; one order per checkout, derived from it."""
RefundId = NewType("RefundId", str)
"""A UUID in its canonical lower-case form, of a refund of an order, derived from order and Idempotency-Key."""
ProductId = NewType("ProductId", int)
StockItemId = NewType("StockItemId", int)
EventKey = NewType("EventKey", int)
"""An event that tickets are sold for; not a payment event, see `EventId`."""
ZoneId = NewType("ZoneId", int)
SeatId = NewType("SeatId", int)
LineId = NewType("LineId", int)
"""A line of a checkout."""
BuyerKey = NewType("BuyerKey", str)
"""Who holds: `user:<id>`, `session:<id>` or `service:<name>`. It never contains personal data."""
SessionId = NewType("SessionId", str)
"""An anonymous session's key, `[A-Za-z0-9_-]{1,40}`; its buyer key is `session:<id>`."""
CartId = NewType("CartId", str)
"""A UUID in its canonical lower-case form."""
Actor = NewType("Actor", str)
"""Who did something, in the audit log: a buyer key, `cli:<name>` or `system:<name>`. Never personal data."""
GatewayName = NewType("GatewayName", str)
PaymentId = NewType("PaymentId", str)
"""The gateway's own id of a payment."""
EventId = NewType("EventId", str)
"""The gateway's own id of a webhook event."""
HookId = NewType("HookId", str)
"""A UUID in its canonical lower-case form, of an endpoint that a tenant's webhooks go to."""
HookDeliveryId = NewType("HookDeliveryId", str)
"""A UUID in its canonical lower-case form, of one message for one such endpoint."""

_NAMESPACE = uuid.UUID("6e1f6c0e-3f0f-5a0e-9a53-0d1f5a1de0fa")


def session_key(session: SessionId) -> BuyerKey:
    """The buyer key of an anonymous session."""
    return BuyerKey(f"session:{session}")


def session_of(buyer: BuyerKey) -> SessionId | None:
    """The anonymous session that this buyer key names, if it names one."""
    kind, _, name = buyer.partition(":")
    return SessionId(name) if kind == "session" else None


def checkout_id_for(tenant: TenantId, buyer: BuyerKey, idempotency_key: str) -> CheckoutId:
    """The checkout that this buyer's Idempotency-Key names: the same three give the same id (UUIDv5, RFC 9562)."""
    return CheckoutId(str(uuid.uuid5(_NAMESPACE, "\x1f".join((tenant, buyer, idempotency_key)))))


def order_id_for(tenant: TenantId, checkout: CheckoutId) -> OrderId:
    """The one order a checkout can become (UUIDv5, RFC 9562)."""
    return OrderId(str(uuid.uuid5(_NAMESPACE, "\x1f".join((tenant, "order", checkout)))))


def order_refund_id_for(tenant: TenantId, order: OrderId, idempotency_key: str) -> RefundId:
    """The refund that this key names for this order, whoever sends it (UUIDv5, RFC 9562)."""
    return RefundId(str(uuid.uuid5(_NAMESPACE, "\x1f".join((tenant, "refund", order, idempotency_key)))))


def manual_payment_id_for(tenant: TenantId, checkout: CheckoutId, idempotency_key: str) -> PaymentId:
    """The manual payment that this key names for this checkout, whoever sends it: `man_` and 24 hex digits."""
    named = uuid.uuid5(_NAMESPACE, "\x1f".join((tenant, "manual", checkout, idempotency_key)))
    return PaymentId(f"man_{named.hex[:24]}")


def buyer_hash(buyer: BuyerKey, key: bytes) -> str:
    """What Temporal's search attributes show of a buyer: a keyed hash (HMAC-SHA-256, 16 hex digits)."""
    return hmac.new(key, buyer.encode(), hashlib.sha256).hexdigest()[:16]
