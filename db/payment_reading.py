"""Payments for those who look after a tenant: a list, and everything about one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.database import Database
from domain.ids import CheckoutId, GatewayName, PaymentId, TenantId

MOST_LOOKED_AT = 2_000
"""How many payments one page looks at: few of them may be what is asked for."""
MOST_EVENTS = 200

_NEWEST = "ORDER BY known_at DESC, gateway DESC, payment_id DESC"
_LOOKED = f"""
    SELECT gateway, payment_id, checkout_id::text AS checkout_id, status, amount, currency, known_at, changed_at
    FROM payments WHERE tenant_id = %(tenant)s {{filters}} {_NEWEST}
"""
# Only what is asked for stands in the statement, so that it can be planned for the index that serves it.
_FILTERS = {
    "checkout": "AND checkout_id = %(checkout)s",
    "before_at": "AND known_at <= %(before_at)s"
    " AND (known_at, gateway, payment_id) < (%(before_at)s, %(before_gateway)s, %(before_payment)s)",
}
_FOUND = {
    "status": "AND status = %(status)s",
    "outcome": "AND outcome = %(outcome)s",
    "quarantined": "AND quarantined = %(quarantined)s",
    "refund_status": "AND refund_status = %(refund_status)s",
}
# An order's refunds: one that is still owed counts more than those that were made.
# Each outcome is looked up by its key: joined as a table, all of the tenant's would be read (measured).
_WITH_OUTCOME = """
    SELECT p.*, o.kind AS outcome, o.reason, CASE WHEN o.quarantined THEN true ELSE false END AS quarantined,
           o.order_id::text AS order_id, CASE o.kind WHEN 'refund' THEN o.amount WHEN 'order' THEN r.refunded ELSE 0 END
               AS refunded,
           CASE WHEN o.kind = 'refund' THEN o.refund_status
                WHEN r.refunded > 0 THEN CASE WHEN EXISTS (
                    SELECT FROM order_refunds x
                    WHERE x.tenant_id = %(tenant)s AND x.order_id = o.order_id AND x.status = 'intended')
                THEN 'intended' ELSE 'refunded' END END AS refund_status
    FROM {payments} p
    LEFT JOIN LATERAL (
        SELECT kind, reason, quarantined, order_id, amount, refund_status FROM payment_outcomes
        WHERE tenant_id = %(tenant)s AND gateway = p.gateway AND payment_id = p.payment_id LIMIT 1) o ON true
    LEFT JOIN LATERAL (
        SELECT refunded FROM orders WHERE tenant_id = %(tenant)s AND id = o.order_id LIMIT 1) r ON true
"""
_PAGE = f"""
    WITH looked AS MATERIALIZED ({_LOOKED} LIMIT %(most)s),
    found AS MATERIALIZED ({_WITH_OUTCOME.replace("{payments}", "looked")})
    SELECT * FROM found WHERE true {{found}} {_NEWEST} LIMIT %(limit)s
"""
_LAST_LOOKED = _LOOKED + "OFFSET %(most)s - 1 LIMIT 1"

# One that was decided before it was noted has no row in `payments`.
_ONE = _WITH_OUTCOME.replace(
    "{payments}",
    """(
        SELECT gateway, payment_id, checkout_id::text AS checkout_id, status, amount, currency, known_at, changed_at
        FROM payments WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s
        UNION ALL
        SELECT gateway, payment_id, checkout_id::text, 'captured', amount, currency, decided_at, decided_at
        FROM payment_outcomes WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s
        LIMIT 1)""",
)
_CHECKOUT = """
    SELECT c.status FROM payments p JOIN checkouts c ON c.tenant_id = p.tenant_id AND c.id = p.checkout_id
    WHERE p.tenant_id = %(tenant)s AND p.gateway = %(gateway)s AND p.payment_id = %(payment)s
"""
_EVENTS = """
    SELECT event_id, kind, checkout_id::text AS checkout_id, amount, currency, occurred_at, received_at, state, handed,
           delivered_at, settled_at, alerted_at, foreign_tenant
    FROM payment_events
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s
    ORDER BY received_at, event_id LIMIT %(most)s
"""
_REFUNDS = """
    SELECT r.id::text AS id, r.order_id::text AS order_id, r.amount, r.currency, r.reason, r.actor, r.status,
           r.refund_id, r.decided_at, r.refunded_at
    FROM payment_outcomes o JOIN order_refunds r ON r.tenant_id = o.tenant_id AND r.order_id = o.order_id
    WHERE o.tenant_id = %(tenant)s AND o.gateway = %(gateway)s AND o.payment_id = %(payment)s
    ORDER BY r.decided_at, r.id
"""
_OUTCOME = """
    SELECT decided_at, refund_id, refunded_at FROM payment_outcomes
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s
"""
_MANUAL = """
    SELECT name, reason, actor, recorded_at, refunded_amount FROM manual_payments
    WHERE tenant_id = %(tenant)s AND payment_id = %(payment)s AND %(gateway)s = 'manual'
"""


@dataclass(frozen=True, slots=True)
class PaymentFilter:
    """Which payments: all that are given must hold."""

    status: str | None = None
    outcome: str | None = None
    quarantined: bool | None = None
    refund_status: str | None = None
    checkout: CheckoutId | None = None

    @property
    def finds_all(self) -> bool:
        """Whether every payment that is looked at is one to show: the others have no index that finds them."""
        return (self.status, self.outcome, self.quarantined, self.refund_status) == (None, None, None, None)


@dataclass(frozen=True, slots=True)
class PaymentPlace:
    """A place in the list, newest first."""

    known_at: datetime
    gateway: GatewayName
    payment_id: PaymentId


@dataclass(frozen=True, slots=True)
class PaymentPage:
    """Payments, and the place after which there may be more (None: that is all)."""

    rows: list[DictRow]
    last: PaymentPlace | None


@dataclass(frozen=True, slots=True)
class PaymentView:
    """Everything about one payment."""

    row: DictRow
    checkout_status: str | None
    """Of the checkout that it names; None: not known here."""
    outcome: DictRow | None
    events: list[DictRow]
    refunds: list[DictRow]
    """Of the order that it made."""
    manual: DictRow | None


async def list_payments(
    db: Database, tenant: TenantId, wanted: PaymentFilter, *, limit: int, before: PaymentPlace | None = None
) -> PaymentPage:
    """Newest first. At most MOST_LOOKED_AT are looked at, so a page may be short, or empty, and not be the last."""
    values: dict[str, Any] = {
        "tenant": tenant,
        "checkout": wanted.checkout,
        "status": wanted.status,
        "outcome": wanted.outcome,
        "quarantined": wanted.quarantined,
        "refund_status": wanted.refund_status,
        "before_at": before.known_at if before else None,
        "before_gateway": before.gateway if before else None,
        "before_payment": before.payment_id if before else None,
        "limit": limit,
        "most": limit if wanted.finds_all else MOST_LOOKED_AT,
    }
    filters, found = (
        " ".join(sql for name, sql in some.items() if values[name] is not None) for some in (_FILTERS, _FOUND)
    )
    rows, last = await db.run(
        tenant,
        (_PAGE.format(filters=filters, found=found), values),
        (_LAST_LOOKED.format(filters=filters), values),
    )
    return PaymentPage(rows, _place(rows[-1]) if len(rows) == limit else _place(last[0]) if last else None)


async def read_payment(db: Database, tenant: TenantId, gateway: GatewayName, payment: PaymentId) -> PaymentView | None:
    """Everything about the payment, or None when nobody has heard of it."""
    values = {"tenant": tenant, "gateway": gateway, "payment": payment, "most": MOST_EVENTS}
    rows, checkouts, outcomes, events, refunds, manual = await db.run(
        tenant, *((sql, values) for sql in (_ONE, _CHECKOUT, _OUTCOME, _EVENTS, _REFUNDS, _MANUAL))
    )
    if not rows:
        return None
    return PaymentView(
        rows[0],
        checkouts[0]["status"] if checkouts else None,
        outcomes[0] if outcomes else None,
        events,
        refunds,
        manual[0] if manual else None,
    )


def _place(row: DictRow) -> PaymentPlace:
    return PaymentPlace(row["known_at"], row["gateway"], row["payment_id"])
