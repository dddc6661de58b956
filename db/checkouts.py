"""Reading checkouts and orders, and looking before a start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.database import Database
from domain.ids import BuyerKey, CheckoutId, TenantId
from domain.messages import Line

_CHECKOUT = """
    SELECT id::text AS id, buyer_key, fingerprint, status, currency, subtotal, discount, tax, total, created_at,
           held_at, expires_at, ended_at, refusal, clock_timestamp() AS now,
           CASE WHEN status = 'held'
                THEN greatest(0, ceil(extract(epoch FROM expires_at - clock_timestamp())))::integer ELSE 0
           END AS remaining_seconds
    FROM checkouts WHERE tenant_id = %(tenant)s AND id = %(checkout)s
"""
_LINES = """
    SELECT id, product_id, quantity, list_price, unit_price, status, locked_at
    FROM checkout_lines WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s ORDER BY position, id
"""
_PAYMENTS = """
    SELECT gateway, payment_id, amount, currency, kind AS outcome, order_id::text AS order_id, reason, quarantined,
           refund_status, decided_at, refunded_at
    FROM payment_outcomes WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s ORDER BY decided_at
"""

# What a start would find: free units count overdue holds in, as the reserve would free them first.
_LOOK = """
    SELECT a.position, a.product_id, a.quantity, p.name, p.stock_item_id,
           coalesce(p.offer_price, p.price) AS unit_price,
           CASE WHEN p.id IS NULL THEN 'gone' WHEN NOT p.available THEN 'unavailable'
                WHEN p.price <= 0 THEN 'no_price' END AS fault,
           CASE WHEN p.id IS NULL OR NOT p.available OR p.price <= 0 THEN 0
                ELSE s.total - s.reserved - s.sold + CASE WHEN s.reserved = 0 THEN 0 ELSE (
                    SELECT coalesce(sum(l.quantity), 0) FROM checkout_lines l
                    WHERE l.tenant_id = %(tenant)s AND l.stock_item_id = s.id AND l.status = 'held'
                      AND l.expires_at <= clock_timestamp()) END
           END::bigint AS free
    FROM unnest(%(products)s::bigint[], %(quantities)s::integer[])
        WITH ORDINALITY AS a (product_id, quantity, position)
    LEFT JOIN products p ON p.tenant_id = %(tenant)s AND p.id = a.product_id
    LEFT JOIN stock_items s ON s.tenant_id = p.tenant_id AND s.id = p.stock_item_id
    ORDER BY a.position
"""
_FREE_AT = """
    SELECT p.id AS product_id, (
        SELECT min(l.expires_at) FROM checkout_lines l
        WHERE l.tenant_id = %(tenant)s AND l.stock_item_id = p.stock_item_id AND l.status = 'held'
          AND l.expires_at > clock_timestamp()) AS free_at
    FROM products p WHERE p.tenant_id = %(tenant)s AND p.id = ANY (%(products)s)
"""
_TENANT = "SELECT currency, hold_seconds, clock_timestamp() AS now FROM tenants WHERE id = %(tenant)s"

_CAPTURE = """
    SELECT amount, currency, checkout_id::text AS checkout_id, received_at FROM payment_events
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND kind = 'captured'
    ORDER BY received_at LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class CheckoutView:
    """A checkout as the row says it is now: its columns, its lines, and what became of its payments."""

    row: DictRow
    lines: list[DictRow]
    payments: list[DictRow]


@dataclass(frozen=True, slots=True)
class StartLook:
    """What stands before a start: the checkout if it exists already, and what the lines would find.

    `total` in minor units; `now` by the database's clock.
    """

    existing: CheckoutView | None
    shortages: list[dict[str, Any]]
    total: int
    currency: str
    hold_seconds: int
    now: datetime


async def read_checkout(
    db: Database, tenant: TenantId, checkout: CheckoutId, *, buyer: BuyerKey | None
) -> CheckoutView | None:
    """The checkout if it exists and is the buyer's (any buyer's when None). One round trip."""
    values = {"tenant": tenant, "checkout": checkout}
    rows, lines, payments = await db.run(tenant, (_CHECKOUT, values), (_LINES, values), (_PAYMENTS, values))
    return _view(rows, lines, payments, buyer)


def _view(
    rows: list[DictRow], lines: list[DictRow], payments: list[DictRow], buyer: BuyerKey | None
) -> CheckoutView | None:
    if not rows or (buyer is not None and rows[0]["buyer_key"] != buyer):
        return None
    return CheckoutView(rows[0], lines, payments)


async def look_before_start(
    db: Database, tenant: TenantId, checkout: CheckoutId, lines: Sequence[Line]
) -> StartLook | None:
    """One round trip that spares a workflow for what is sold out or was started before. None: no such tenant."""
    values = {
        "tenant": tenant,
        "checkout": checkout,
        "products": [line.product_id for line in lines],
        "quantities": [line.quantity for line in lines],
    }
    rows, own_lines, payments, asked, tenants = await db.run(
        tenant, (_CHECKOUT, values), (_LINES, values), (_PAYMENTS, values), (_LOOK, values), (_TENANT, values)
    )
    if not tenants:
        return None
    short = [row for row in asked if row["fault"] or row["free"] < row["quantity"]]
    return StartLook(
        existing=_view(rows, own_lines, payments, None),
        shortages=await _shortages(db, tenant, short) if short and not rows else [],
        total=sum((row["unit_price"] or 0) * row["quantity"] for row in asked),
        currency=tenants[0]["currency"],
        hold_seconds=tenants[0]["hold_seconds"],
        now=tenants[0]["now"],
    )


async def _shortages(db: Database, tenant: TenantId, short: list[DictRow]) -> list[dict[str, Any]]:
    values = {"tenant": tenant, "products": [row["product_id"] for row in short]}
    [rows] = await db.run(tenant, (_FREE_AT, values))
    free_at = {row["product_id"]: row["free_at"] for row in rows}
    return [
        {
            "product_id": row["product_id"],
            "requested": row["quantity"],
            "available": row["free"],
            "reason": row["fault"] or "sold_out",
            "free_at": free_at.get(row["product_id"]),
        }
        for row in short
    ]


async def known_capture(db: Database, tenant: TenantId, gateway: str, payment: str) -> DictRow | None:
    """The capture of this payment that a signed webhook has already told us of, if any."""
    [rows] = await db.run(tenant, (_CAPTURE, {"tenant": tenant, "gateway": gateway, "payment": payment}))
    return rows[0] if rows else None
