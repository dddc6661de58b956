"""The inbox of payment events: received → delivered → settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.rows import DictRow

from db.database import Database, Rows, Statement
from db.payments import note_of_event
from db.telling import LOCK_CHECKOUT, telling
from domain.checkout import CheckoutStatus
from domain.checkout_events import CheckoutEventKind
from domain.gateway import PaymentEvent, PaymentStatus
from domain.ids import CheckoutId, EventId, GatewayName, PaymentId, TenantId


class EventState(StrEnum):
    """`received`: stored. `delivered`: a workflow has it. `settled`: decided, in the deciding transaction."""

    RECEIVED = "received"
    DELIVERED = "delivered"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of the inbox, with what is known of its checkout and its payment now."""

    gateway: GatewayName
    event_id: EventId
    kind: PaymentStatus
    payment_id: PaymentId
    checkout_id: CheckoutId | None
    amount: int
    currency: str
    received_at: datetime
    state: EventState
    checkout_status: CheckoutStatus | None
    """None: the checkout is not known (yet)."""
    decided: bool
    """Whether the payment has its outcome already."""
    foreign_tenant: bool = False
    """It is in this tenant's account at the gateway, and names another tenant."""
    handed: str | None = None
    """Where it went, or that it went nowhere yet, as `activities.delivery.Handed` names it. None: not tried yet."""

    @property
    def waits_for_checkout(self) -> bool:
        """Whether there is nobody yet whom it could be handed to. A checkout that is `new` holds nothing yet."""
        return self.checkout_status in (None, CheckoutStatus.NEW)


_RECORD = """
    INSERT INTO payment_events (tenant_id, gateway, event_id, kind, payment_id, checkout_id, amount, currency,
                                occurred_at, body, foreign_tenant)
    SELECT id, %(gateway)s, %(event)s, %(kind)s, %(payment)s, %(checkout)s, %(amount)s, %(currency)s,
           %(occurred_at)s, %(body)s, %(foreign)s
    FROM tenants WHERE id = %(tenant)s
    ON CONFLICT DO NOTHING
"""
# Told once for each event, and only while the buyer can try again.
_TELL_DECLINED = f"""
    WITH news AS (
        SELECT p.tenant_id, p.checkout_id, clock_timestamp() AS at, jsonb_build_object(
            'gateway', p.gateway, 'payment_id', p.payment_id, 'event_id', %(event)s::text) AS data
        FROM payments p JOIN checkouts c ON c.tenant_id = p.tenant_id AND c.id = p.checkout_id
        WHERE p.tenant_id = %(tenant)s AND p.gateway = %(gateway)s AND p.payment_id = %(payment)s
          AND p.status = 'failed' AND c.id = %(checkout)s AND c.status = 'held' AND NOT EXISTS (
              SELECT FROM checkout_events e WHERE e.tenant_id = %(tenant)s AND e.checkout_id = %(checkout)s
                AND e.kind = 'payment_declined' AND e.data @> jsonb_build_object('event_id', %(event)s::text))
    ), {telling("news", CheckoutEventKind.PAYMENT_DECLINED)}
    SELECT count(*) FROM news
"""
EVENT_COLUMNS = """
    SELECT e.gateway, e.event_id, e.kind, e.payment_id, e.checkout_id::text AS checkout_id, e.amount, e.currency,
           e.received_at, e.state, c.status AS checkout_status, o.payment_id IS NOT NULL AS decided,
           e.foreign_tenant, e.handed
    FROM payment_events e
    LEFT JOIN checkouts c ON c.tenant_id = e.tenant_id AND c.id = e.checkout_id
    LEFT JOIN payment_outcomes o
        ON o.tenant_id = e.tenant_id AND o.gateway = e.gateway AND o.payment_id = e.payment_id
"""
_ONE = EVENT_COLUMNS + " WHERE e.tenant_id = %(tenant)s AND e.gateway = %(gateway)s AND e.event_id = %(event)s"
_UNSETTLED = (
    EVENT_COLUMNS
    + """
    WHERE e.tenant_id = %(tenant)s AND e.state <> 'settled'
      AND e.received_at <= clock_timestamp() - make_interval(secs => %(older_than)s)
    ORDER BY c.id IS NULL OR c.status = 'new', e.received_at LIMIT %(limit)s
"""
)
"""Those whose checkout is not known wait at the end, so that any number of them keeps nobody else waiting."""
_OF_CHECKOUT = (
    EVENT_COLUMNS
    + """
    WHERE e.tenant_id = %(tenant)s AND e.checkout_id = %(checkout)s AND e.state = 'received'
    ORDER BY e.received_at LIMIT 50
"""
)
_THIS = "tenant_id = %(tenant)s AND gateway = %(gateway)s AND event_id = %(event)s"
_DELIVERED = f"""
    UPDATE payment_events SET state = 'delivered', delivered_at = clock_timestamp(), handed = %(handed)s
    WHERE {_THIS} AND state <> 'settled'
"""
_SETTLED = f"""
    UPDATE payment_events SET state = 'settled', settled_at = clock_timestamp(),
        handed = CASE state WHEN 'delivered' THEN handed ELSE %(handed)s END
    WHERE {_THIS} AND state <> 'settled'
"""
_UNMATCHED = f"UPDATE payment_events SET handed = %(handed)s WHERE {_THIS} AND state = 'received'"


async def record_event(db: Database, tenant: TenantId, event: PaymentEvent, body: bytes) -> StoredEvent | None:
    """Store the event once and return its row, the first one's if it was stored before. None: no such tenant."""
    *_, rows = await db.run(
        tenant, *event_statements(tenant, event, body), (_ONE, _key(tenant, event.gateway, event.event_id))
    )
    return _stored(rows[0]) if rows else None


async def stored_event(db: Database, tenant: TenantId, gateway: GatewayName, event: EventId) -> StoredEvent | None:
    """The event as it is in the inbox now."""
    [rows] = await db.run(tenant, (_ONE, _key(tenant, gateway, event)))
    return _stored(rows[0]) if rows else None


def event_statements(tenant: TenantId, event: PaymentEvent, body: bytes) -> list[Statement]:
    """The statements that store an event once and note its payment, for a transaction of the caller's."""
    values: dict[str, Any] = {
        **_key(tenant, event.gateway, event.event_id),
        "kind": event.kind,
        "payment": event.payment_id,
        "checkout": event.checkout_id,
        "amount": event.amount,
        "currency": event.currency,
        "occurred_at": event.occurred_at,
        "body": body,
        "foreign": event.foreign_tenant,
    }
    stored = [(_RECORD, values), note_of_event(tenant, event)]
    if event.kind is PaymentStatus.FAILED and event.checkout_id is not None and not event.foreign_tenant:
        return [(LOCK_CHECKOUT, values), *stored, (_TELL_DECLINED, values)]
    return stored


async def unsettled_events(
    db: Database, tenant: TenantId, *, older_than_seconds: float, limit: int = 200
) -> list[StoredEvent]:
    """Events that nobody has settled for so long, oldest first; those of unknown checkouts after all others."""
    [rows] = await db.run(tenant, (_UNSETTLED, {"tenant": tenant, "older_than": older_than_seconds, "limit": limit}))
    return [_stored(row) for row in rows]


async def events_waiting_for(db: Database, tenant: TenantId, checkout: CheckoutId) -> list[StoredEvent]:
    """Events of the checkout that were handed to nobody, oldest first."""
    [rows] = await db.run(tenant, waiting_statement(tenant, checkout))
    return events_of(rows)


def waiting_statement(tenant: TenantId, checkout: CheckoutId) -> Statement:
    """What `events_of` reads, for callers that ask more in the same round trip."""
    return _OF_CHECKOUT, {"tenant": tenant, "checkout": checkout}


def events_of(rows: Rows) -> list[StoredEvent]:
    """The events that rows of EVENT_COLUMNS show."""
    return [_stored(row) for row in rows]


async def mark_delivered(db: Database, tenant: TenantId, event: StoredEvent, handed: str) -> None:
    """A workflow has the event durably. Changes nothing once it is settled."""
    await db.run(tenant, (_DELIVERED, _key(tenant, event.gateway, event.event_id) | {"handed": handed}))


async def mark_settled(db: Database, tenant: TenantId, event: StoredEvent, handed: str) -> None:
    """There is nothing (more) to decide about the event."""
    await db.run(tenant, (_SETTLED, _key(tenant, event.gateway, event.event_id) | {"handed": handed}))


async def mark_unmatched(db: Database, tenant: TenantId, event: StoredEvent, handed: str) -> StoredEvent:
    """There is nobody yet to hand the event to. Gives the event as it is now.

    A start that committed after the event was first looked at, and looked for waiting events before this one was
    stored, would miss it: so the look is repeated once the event is there for all to see.
    """
    values = _key(tenant, event.gateway, event.event_id) | {"handed": handed}
    _, rows = await db.run(tenant, (_UNMATCHED, values), (_ONE, values))
    return _stored(rows[0])


def _key(tenant: TenantId, gateway: GatewayName, event: EventId) -> dict[str, Any]:
    return {"tenant": tenant, "gateway": gateway, "event": event}


def _stored(row: DictRow) -> StoredEvent:
    return StoredEvent(
        gateway=GatewayName(row["gateway"]),
        event_id=EventId(row["event_id"]),
        kind=PaymentStatus(row["kind"]),
        payment_id=PaymentId(row["payment_id"]),
        checkout_id=CheckoutId(row["checkout_id"]) if row["checkout_id"] else None,
        amount=row["amount"],
        currency=row["currency"],
        received_at=row["received_at"],
        state=EventState(row["state"]),
        checkout_status=CheckoutStatus(row["checkout_status"]) if row["checkout_status"] else None,
        decided=row["decided"],
        foreign_tenant=row["foreign_tenant"],
        handed=row["handed"],
    )
