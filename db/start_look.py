"""Looking before a start: what is sold out, and what was started before, costs no workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.checkouts import CheckoutView, view_of, view_statements
from db.database import Database
from domain.ids import BuyerKey, CheckoutId, ProductId, TenantId
from domain.messages import Line

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
    FROM {lines}
    LEFT JOIN products p ON p.tenant_id = %(tenant)s AND p.id = a.product_id
    LEFT JOIN stock_items s ON s.tenant_id = p.tenant_id AND s.id = p.stock_item_id
    ORDER BY a.position
"""
_LOOK_AT_LINES = _LOOK.replace(
    "{lines}",
    """unnest(%(products)s::bigint[], %(quantities)s::integer[])
        WITH ORDINALITY AS a (product_id, quantity, position)""",
)
_LOOK_AT_CART = _LOOK.replace(
    "{lines}",
    """(SELECT i.product_id, i.quantity, row_number() OVER (ORDER BY i.added_at, i.product_id) AS position
          FROM carts k JOIN cart_lines i ON i.tenant_id = k.tenant_id AND i.cart_id = k.id
          WHERE k.tenant_id = %(tenant)s AND k.owner_key = %(buyer)s) AS a""",
)
_CART = """
    SELECT k.status = 'processing' AND (h.id IS NULL OR h.expires_at > clock_timestamp()) AS processing,
           k.checkout_id::text AS checkout_id
    FROM carts k LEFT JOIN checkouts h ON h.tenant_id = k.tenant_id AND h.id = k.checkout_id
    WHERE k.tenant_id = %(tenant)s AND k.owner_key = %(buyer)s
"""
_FREE_AT = """
    SELECT p.id AS product_id, (
        SELECT min(l.expires_at) FROM checkout_lines l
        WHERE l.tenant_id = %(tenant)s AND l.stock_item_id = p.stock_item_id AND l.status = 'held'
          AND l.expires_at > clock_timestamp()) AS free_at
    FROM products p WHERE p.tenant_id = %(tenant)s AND p.id = ANY (%(products)s)
"""
_TENANT = "SELECT currency, hold_seconds, clock_timestamp() AS now FROM tenants WHERE id = %(tenant)s"


@dataclass(frozen=True, slots=True)
class StartLook:
    """What stands before a start: the checkout if it exists already, and what the lines would find.

    `lines`: the given ones, or the cart's. `processing`: the cart is in the hands of a checkout (`held_by`), or was set
    so by an administrator. `total` in minor units; `now` by the database's clock.
    """

    existing: CheckoutView | None
    lines: list[Line]
    shortages: list[dict[str, Any]]
    processing: bool
    held_by: CheckoutId | None
    total: int
    currency: str
    hold_seconds: int
    now: datetime


async def look_before_start(
    db: Database, tenant: TenantId, checkout: CheckoutId, buyer: BuyerKey, lines: Sequence[Line] | None
) -> StartLook | None:
    """One round trip (two when something is short). `lines` None: those of the buyer's cart. None: no such tenant."""
    given = lines or []
    values = {
        "tenant": tenant,
        "checkout": checkout,
        "buyer": buyer,
        "products": [line.product_id for line in given],
        "quantities": [line.quantity for line in given],
    }
    look = [(_LOOK_AT_LINES, values)] if lines is not None else [(_LOOK_AT_CART, values), (_CART, values)]
    tenants, row, own_lines, payments, asked, *carts = await db.run(
        tenant, (_TENANT, values), *view_statements(tenant, checkout), *look
    )
    if not tenants:
        return None
    short = [row for row in asked if row["fault"] or row["free"] < row["quantity"]]
    existing = view_of((row, own_lines, payments))
    cart: dict[str, Any] = carts[0][0] if carts and carts[0] else {"processing": False, "checkout_id": None}
    return StartLook(
        existing=existing,
        lines=[Line(ProductId(row["product_id"]), row["quantity"]) for row in asked],
        shortages=await _shortages(db, tenant, short) if short and existing is None else [],
        processing=cart["processing"],
        held_by=cart["checkout_id"],
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
