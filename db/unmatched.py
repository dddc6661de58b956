"""Money that no checkout takes: what is alerted, what has waited long enough, and the refund that ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from db.database import Database
from db.inbox import EVENT_COLUMNS, StoredEvent, events_of
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId, EventId, GatewayName, PaymentId, TenantId
from domain.payment_decision import QUARANTINED, RefundReason

_UNKNOWN = """
    NOT EXISTS (SELECT FROM checkouts c
                WHERE c.tenant_id = %(tenant)s AND c.id = e.checkout_id AND c.status <> 'new')
"""
_WAITS = f"""
    e.tenant_id = %(tenant)s AND e.state <> 'settled' AND e.state = 'received'
    AND e.received_at <= clock_timestamp() - make_interval(secs => %(older_than)s) AND {_UNKNOWN}
"""
# Whoever sets the time is the one who tells of it: however many look at once, an event is told of once.
_ALERT = f"""
    UPDATE payment_events p SET alerted_at = clock_timestamp()
    FROM (SELECT e.gateway, e.event_id FROM payment_events e WHERE e.alerted_at IS NULL AND {_WAITS}
          ORDER BY e.received_at LIMIT %(limit)s) late
    WHERE p.tenant_id = %(tenant)s AND p.gateway = late.gateway AND p.event_id = late.event_id
      AND p.alerted_at IS NULL
    RETURNING p.gateway, p.event_id, p.kind, p.payment_id, p.checkout_id::text AS checkout_id, p.amount, p.currency
"""
_WAITED_OUT = f"{EVENT_COLUMNS} WHERE {_WAITS} ORDER BY e.received_at LIMIT %(limit)s"

# The primary key makes it once. The checkout may have appeared in the meantime: then nothing is decided here.
_REFUND = """
    INSERT INTO payment_outcomes (tenant_id, gateway, payment_id, kind, amount, currency, reason, quarantined,
                                  refund_status, decided_at)
    SELECT %(tenant)s, %(gateway)s, %(payment)s, 'refund', %(amount)s, %(currency)s, %(reason)s, %(quarantined)s,
           'intended', clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM checkouts c
                      WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s AND c.status <> 'new')
    ON CONFLICT DO NOTHING
"""
_SETTLE = """
    UPDATE payment_events SET state = 'settled', settled_at = clock_timestamp(), handed = 'to_late_payment'
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND state <> 'settled'
      AND EXISTS (SELECT FROM payment_outcomes o
                  WHERE o.tenant_id = %(tenant)s AND o.gateway = %(gateway)s AND o.payment_id = %(payment)s)
"""
_STANDS = """
    SELECT kind FROM payment_outcomes
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s
"""


@dataclass(frozen=True, slots=True)
class LooseMoney:
    """A captured payment that belongs to no checkout of the tenant. `amount` in minor units (ISO 4217)."""

    gateway: GatewayName
    payment_id: PaymentId
    checkout_id: CheckoutId | None
    """The one that it names, which is not there; None when it names none."""
    amount: int
    currency: str

    @classmethod
    def of(cls, event: StoredEvent) -> LooseMoney:
        """The money that the event of a capture tells of."""
        return cls(event.gateway, event.payment_id, event.checkout_id, event.amount, event.currency)


@dataclass(frozen=True, slots=True)
class Alert:
    """An event that has waited so long for its checkout that somebody should know."""

    gateway: GatewayName
    event_id: EventId
    kind: PaymentStatus
    payment_id: PaymentId
    checkout_id: CheckoutId | None
    amount: int
    currency: str


async def alert_unmatched(
    db: Database, tenant: TenantId, *, older_than_seconds: float, limit: int = 200
) -> list[Alert]:
    """Events still without their checkout after so long, each given once, oldest first."""
    values = {"tenant": tenant, "older_than": older_than_seconds, "limit": limit}
    [rows] = await db.run(tenant, (_ALERT, values))
    return [Alert(**{**row, "kind": PaymentStatus(row["kind"])}) for row in rows]


async def waited_out(
    db: Database, tenant: TenantId, *, older_than_seconds: float, limit: int = 200
) -> list[StoredEvent]:
    """Events whose checkout was waited for in vain for so long, oldest first."""
    values = {"tenant": tenant, "older_than": older_than_seconds, "limit": limit}
    [rows] = await db.run(tenant, (_WAITED_OUT, values))
    return events_of(rows)


async def refund_unmatched(db: Database, tenant: TenantId, money: LooseMoney, reason: RefundReason) -> bool:
    """Decide, once, that money which no checkout takes goes back, and settle the payment's events.

    Whether it was decided to go back, now or before. False: its checkout is there by now, which decides instead, or
    the payment has become an order. Money that names another tenant is none of a checkout's here, whatever it names.
    """
    values: dict[str, Any] = {
        "tenant": tenant,
        "gateway": money.gateway,
        "payment": money.payment_id,
        "checkout": None if reason is RefundReason.WRONG_TENANT else money.checkout_id,
        "amount": money.amount,
        "currency": money.currency,
        "reason": reason,
        "quarantined": reason in QUARANTINED,
    }
    *_, stands = await db.run(tenant, (_REFUND, values), (_SETTLE, values), (_STANDS, values))
    return bool(stands) and stands[0]["kind"] == "refund"
