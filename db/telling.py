"""Telling of a change, within the transaction that makes it: to the checkout's buyer, and to the tenant's webhooks.

A checkout's events are numbered under its row lock, which whoever tells of it must hold, and must have had before the
statement that tells: so the numbers have no gaps, and are visible in their order. A checkout that is `new` is never
told of: its first event is always `held`, number 1 (db/reserve_sql.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from db.database import Statement
from domain.checkout_events import HOOKED, CheckoutEventKind
from domain.ids import CheckoutId, TenantId

LOCK_CHECKOUT = "SELECT id FROM checkouts WHERE tenant_id = %(tenant)s AND id = %(checkout)s FOR NO KEY UPDATE"
"""For whoever tells of a checkout that he has not locked. Before any other lock but an anonymous session's."""

_COLUMNS = "(tenant_id, checkout_id, seq, kind, data, at)"
_LAST = """coalesce((
            SELECT e.seq FROM checkout_events e
            WHERE e.tenant_id = {tenant} AND e.checkout_id = {checkout} ORDER BY e.seq DESC LIMIT 1), 0)"""
_TELL = f"""
    INSERT INTO checkout_events {_COLUMNS}
    SELECT %(tenant)s, %(checkout)s::uuid, 1 + {_LAST.format(tenant="%(tenant)s", checkout="%(checkout)s::uuid")},
           %(kind)s, %(data)s::jsonb, %(at)s
"""


def tell(tenant: TenantId, checkout: CheckoutId, kind: CheckoutEventKind, at: datetime, **data: Any) -> Statement:
    """The statement that tells of a checkout, which the transaction has locked. For kinds that are no webhooks.

    `data`: ids, amounts and states; times as `datetime`.
    """
    if kind in HOOKED:
        raise ValueError(f"{kind} is a webhook as well: see `telling`")
    values = {"tenant": tenant, "checkout": checkout, "kind": kind, "at": at, "data": Jsonb(_plain(data))}
    return _TELL, values


def telling(source: str, kind: CheckoutEventKind) -> str:
    """Common table expressions (`told`, and for kinds that are webhooks `hooked`) that tell of each row of `source`.

    `source` names one that gives tenant_id, checkout_id (NULL: nobody's, then only webhooks are written), data and at.
    """
    last = _LAST.format(tenant="%(tenant)s", checkout="s.checkout_id")
    told = f"""told AS (
        INSERT INTO checkout_events {_COLUMNS}
        SELECT s.tenant_id, s.checkout_id, row_number() OVER (PARTITION BY s.checkout_id ORDER BY s.at) + {last},
               '{kind}', s.data, s.at
        FROM {source} s WHERE s.checkout_id IS NOT NULL
    )"""
    if kind not in HOOKED:
        return told
    return f"""{told}, hooked AS (
        INSERT INTO hook_deliveries (tenant_id, endpoint_id, kind, data, at)
        SELECT s.tenant_id, h.id, '{HOOKED[kind]}', jsonb_build_object('checkout_id', s.checkout_id) || s.data, s.at
        FROM {source} s JOIN hook_endpoints h
            ON h.tenant_id = %(tenant)s AND h.enabled AND '{HOOKED[kind]}' = ANY (h.kinds)
    )"""


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in data.items()}


LOCK_CHECKOUT_OF_ORDER = """
    SELECT c.id FROM orders o JOIN checkouts c ON c.tenant_id = o.tenant_id AND c.id = o.checkout_id
    WHERE o.tenant_id = %(tenant)s AND o.id = %(order)s FOR NO KEY UPDATE OF c
"""
LOCK_CHECKOUT_OF_REFUND = """
    SELECT c.id FROM order_refunds r
    JOIN orders o ON o.tenant_id = r.tenant_id AND o.id = r.order_id
    JOIN checkouts c ON c.tenant_id = o.tenant_id AND c.id = o.checkout_id
    WHERE r.tenant_id = %(tenant)s AND r.id = %(refund)s FOR NO KEY UPDATE OF c
"""

PAYMENT_RETURNED = """tenant_id, checkout_id, refunded_at AS at, jsonb_build_object(
            'order_id', NULL, 'refund_id', NULL, 'gateway', gateway, 'payment_id', payment_id, 'amount', amount,
            'currency', currency) AS data"""
"""What an update of payment_outcomes returns for `TELL_REFUND_MADE`, whose source is named `made`."""
TELL_REFUND_MADE = telling("made", CheckoutEventKind.REFUND_MADE)
ORDER_REFUND_MADE = """r.tenant_id, o.checkout_id, r.refunded_at AS at, jsonb_build_object(
            'order_id', r.order_id, 'refund_id', r.id, 'gateway', r.gateway, 'payment_id', r.payment_id,
            'amount', r.amount, 'currency', r.currency) AS data"""
"""The same of order_refunds `r` with their orders `o`."""
