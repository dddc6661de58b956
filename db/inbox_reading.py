"""The inbox of payment events as operators see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.database import Database
from db.inbox import EventState
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId, EventId, GatewayName, PaymentId, TenantId

_COLUMNS = """
    SELECT e.gateway, e.event_id, e.kind, e.payment_id, e.checkout_id::text AS checkout_id, e.amount, e.currency,
           e.occurred_at, e.received_at, e.state, e.handed, e.delivered_at, e.settled_at, e.alerted_at,
           e.foreign_tenant, o.kind AS outcome, o.reason, o.refund_status
"""
_FROM = """
    FROM payment_events e
    LEFT JOIN payment_outcomes o
        ON o.tenant_id = e.tenant_id AND o.gateway = e.gateway AND o.payment_id = e.payment_id
    WHERE e.tenant_id = %(tenant)s
"""
_PAGE = _COLUMNS + _FROM + " {filters} ORDER BY e.received_at DESC, e.gateway DESC, e.event_id DESC LIMIT %(limit)s"
_ONE = _COLUMNS + ", e.body" + _FROM + " AND e.gateway = %(gateway)s AND e.event_id = %(event)s"
# Only what is asked for stands in the statement, so that it can be planned for the index that serves it. The index of
# unsettled events serves those that it can be seen to hold.
_FILTERS = {
    "state": "AND e.state = %(state)s",
    "unsettled": "AND e.state <> 'settled'",
    "gateway": "AND e.gateway = %(gateway)s",
    "checkout": "AND e.checkout_id = %(checkout)s",
    "payment": "AND e.payment_id = %(payment)s",
    "before_at": "AND (e.received_at, e.gateway, e.event_id) < (%(before_at)s, %(before_gateway)s, %(before_event)s)",
}
Place = tuple[datetime, GatewayName, EventId]
"""When an event was received, and which it is: where a page ends."""


@dataclass(frozen=True, slots=True)
class EventEntry:
    """A stored event, where it went, and what became of its payment. `amount` in minor units (ISO 4217).

    `outcome` is `order` or `refund`, None while nothing is decided; `reason` and `refund_status` come with a refund.
    """

    gateway: GatewayName
    event_id: EventId
    kind: PaymentStatus
    payment_id: PaymentId
    checkout_id: CheckoutId | None
    amount: int
    currency: str
    occurred_at: datetime
    received_at: datetime
    state: EventState
    handed: str | None
    delivered_at: datetime | None
    settled_at: datetime | None
    alerted_at: datetime | None
    foreign_tenant: bool
    outcome: str | None
    reason: str | None
    refund_status: str | None

    @property
    def place(self) -> Place:
        """Where a page that ends with this event ends."""
        return self.received_at, self.gateway, self.event_id


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: all that are given must hold."""

    state: EventState | None = None
    gateway: GatewayName | None = None
    checkout: CheckoutId | None = None
    payment: PaymentId | None = None


async def list_events(
    db: Database, tenant: TenantId, wanted: EventFilter, *, limit: int, before: Place | None = None
) -> list[EventEntry]:
    """Newest first; `before` is the place of the last event of the page before."""
    before_at, before_gateway, before_event = before or (None, None, None)
    values: dict[str, Any] = {
        "tenant": tenant,
        "state": wanted.state,
        "unsettled": True if wanted.state not in (None, EventState.SETTLED) else None,
        "gateway": wanted.gateway,
        "checkout": wanted.checkout,
        "payment": wanted.payment,
        "before_at": before_at,
        "before_gateway": before_gateway,
        "before_event": before_event,
        "limit": limit,
    }
    filters = " ".join(sql for name, sql in _FILTERS.items() if values[name] is not None)
    [rows] = await db.run(tenant, (_PAGE.format(filters=filters), values))
    return [_entry(row) for row in rows]


async def event_with_body(
    db: Database, tenant: TenantId, gateway: GatewayName, event: EventId
) -> tuple[EventEntry, bytes] | None:
    """The event and its body as it came over the wire; None when the tenant has none such."""
    [rows] = await db.run(tenant, (_ONE, {"tenant": tenant, "gateway": gateway, "event": event}))
    if not rows:
        return None
    body: bytes = rows[0].pop("body")
    return _entry(rows[0]), body


def _entry(row: DictRow) -> EventEntry:
    return EventEntry(**{**row, "kind": PaymentStatus(row["kind"]), "state": EventState(row["state"])})
