"""What a checkout goes through, as its buyer is told, and what of it a tenant can be told of by webhook."""

from __future__ import annotations

from enum import StrEnum


class CheckoutEventKind(StrEnum):
    """One step of a checkout. Their `data` is ids, amounts (minor units) and states; see docs/api.md."""

    HELD = "held"
    EXTENDED = "extended"
    LINES_CHANGED = "lines_changed"
    PAYMENT_STARTED = "payment_started"
    PAYMENT_DECLINED = "payment_declined"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUND_DECIDED = "refund_decided"
    REFUND_MADE = "refund_made"
    TICKETS_READY = "tickets_ready"


OVER = frozenset({CheckoutEventKind.CONFIRMED, CheckoutEventKind.CANCELLED, CheckoutEventKind.EXPIRED})
"""After one of these, only refunds and tickets are told of; and a late payment may yet confirm."""


class HookKind(StrEnum):
    """What a tenant's endpoint can ask for. `webhook.test` is only ever sent on request."""

    ORDER_CONFIRMED = "order.confirmed"
    HOLD_EXPIRED = "hold.expired"
    HOLD_CANCELLED = "hold.cancelled"
    REFUND_MADE = "refund.made"
    TEST = "webhook.test"


HOOKED = {
    CheckoutEventKind.CONFIRMED: HookKind.ORDER_CONFIRMED,
    CheckoutEventKind.EXPIRED: HookKind.HOLD_EXPIRED,
    CheckoutEventKind.CANCELLED: HookKind.HOLD_CANCELLED,
    CheckoutEventKind.REFUND_MADE: HookKind.REFUND_MADE,
}
"""Which events are also webhooks."""
