"""Looking before a start: what is sold out, and what was started before, costs no workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.asked import asked_values, by_thing
from db.asked_sql import ANYTHING, PRODUCTS, asked_statement
from db.checkouts import CheckoutView, view_of, view_statements
from db.database import Database
from db.limits_sql import hit_statement, refusal
from db.together import left_together
from domain.ids import BuyerKey, CheckoutId, TenantId
from domain.messages import Line

# What a start would find: free units count overdue holds in, as the reserve would free them first. Materialized, so
# that the stock items are joined by a plain column (see asked_sql).
_LOOK = """
    WITH a AS MATERIALIZED ({asked})
    SELECT a.*, CASE {numbered}WHEN a.fault IS NOT NULL THEN 0
                ELSE s.total - s.reserved - s.sold + CASE WHEN s.reserved = 0 THEN 0 ELSE (
                    SELECT coalesce(sum(l.quantity), 0) FROM checkout_lines l
                    WHERE l.tenant_id = %(tenant)s AND l.stock_item_id = s.id AND l.status = 'held'
                      AND l.expires_at <= clock_timestamp()) END
           END::bigint AS free
    FROM a LEFT JOIN stock_items s ON s.tenant_id = %(tenant)s AND s.id = a.stock_item_id
    ORDER BY a.position
"""
_LINES_OF_CART = """(
            SELECT i.product_id, i.quantity, row_number() OVER (ORDER BY i.added_at, i.product_id) AS position
            FROM carts k JOIN cart_lines i ON i.tenant_id = k.tenant_id AND i.cart_id = k.id
            WHERE k.tenant_id = %(tenant)s AND k.owner_key = %(buyer)s) AS a"""
# Which seats of a numbered zone, and whether there are so many together, the reserve finds out. Here it is only whether
# there are so many at all, counted no further than that; where some are overdue, the reserve ends their holds first.
_NUMBERED = """
                WHEN a.fault = 'numbered' AND EXISTS (
                    SELECT FROM checkout_lines l
                    WHERE l.tenant_id = %(tenant)s AND l.zone_id = a.zone_id AND l.status = 'held'
                      AND l.seat_id IS NOT NULL AND l.expires_at <= clock_timestamp()) THEN a.quantity
                WHEN a.fault = 'numbered' THEN (
                    SELECT count(*) FROM (
                        SELECT FROM stock_items f WHERE f.tenant_id = %(tenant)s AND f.free_in_zone = a.zone_id
                        LIMIT a.quantity) enough)
                """


def _look_statement(lines: str, *, anything: bool = False) -> str:
    numbered = _NUMBERED if anything else ""
    return _LOOK.replace("{asked}", asked_statement(lines, anything=anything)).replace("{numbered}", numbered)


_LOOK_AT_CART = _look_statement(_LINES_OF_CART)
_LOOK_AT_PRODUCTS = _look_statement(PRODUCTS)
_LOOK_AT_ANYTHING = _look_statement(ANYTHING, anything=True)
_CART = """
    SELECT k.status = 'processing' AND (h.id IS NULL OR h.expires_at > clock_timestamp()) AS processing,
           k.checkout_id::text AS checkout_id
    FROM carts k LEFT JOIN checkouts h ON h.tenant_id = k.tenant_id AND h.id = k.checkout_id
    WHERE k.tenant_id = %(tenant)s AND k.owner_key = %(buyer)s
"""
_FREE_AT = """
    SELECT i.id, (
        SELECT min(l.expires_at) FROM checkout_lines l
        WHERE l.tenant_id = %(tenant)s AND l.stock_item_id = i.id AND l.status = 'held'
          AND l.expires_at > clock_timestamp()) AS free_at
    FROM unnest(%(items)s::bigint[]) AS i (id)
"""
_TENANT = """
    SELECT currency, hold_seconds, clock_timestamp() AS now,
           max_checkouts_per_address IS NOT NULL AS limits_addresses
    FROM tenants WHERE id = %(tenant)s
"""
# Unlocked, and again under the lock by the reserve: this spares a workflow for who has too much already. Whatever is
# past its end is not told from the rest here, so nobody who has such a hold is refused early.
_HIT = hit_statement(owner="%(owner)s", address="%(address_subject)s", lines="size.lines", at="clock_timestamp()")
_LIMIT = f"""
    WITH size AS MATERIALIZED (SELECT count(*)::integer AS lines FROM {{lines}}), hit AS MATERIALIZED (
        SELECT limits.* FROM size CROSS JOIN LATERAL ({_HIT}) limits
    )
    SELECT {refusal(buyer="%(buyer)s", address_key="%(address)s", at="clock_timestamp()")} AS refusal FROM hit
    WHERE NOT EXISTS (
        SELECT FROM checkouts c
        WHERE c.tenant_id = %(tenant)s AND c.status = 'held' AND c.expires_at <= clock_timestamp()
          AND (c.buyer_key = %(buyer)s OR c.address_key = %(address)s))
"""
_LIMIT_OF_CART = _LIMIT.replace("{lines}", _LINES_OF_CART)
_LIMIT_OF_LINES = _LIMIT.replace("{lines}", "unnest(%(quantities)s::integer[]) AS a")


@dataclass(frozen=True, slots=True)
class StartLook:
    """What stands before a start: the checkout if it exists already, and what the lines would find.

    `lines`: the given ones, or the cart's. `processing`: the cart is in the hands of a checkout (`held_by`), or was set
    so by an administrator. `limit`: what the reserve would store of a limit that it would pass. `limits_addresses`:
    whether the tenant counts by address. `total` in minor units; `now` by the database's clock.
    """

    existing: CheckoutView | None
    lines: list[Line]
    shortages: list[dict[str, Any]]
    processing: bool
    held_by: CheckoutId | None
    limit: dict[str, Any] | None
    limits_addresses: bool
    total: int
    currency: str
    hold_seconds: int
    now: datetime


async def look_before_start(
    db: Database,
    tenant: TenantId,
    checkout: CheckoutId,
    buyer: BuyerKey,
    lines: Sequence[Line] | None,
    address: str | None = None,
) -> StartLook | None:
    """One round trip (two when something is short). `lines` None: those of the buyer's cart. None: no such tenant."""
    values = {
        "tenant": tenant,
        "checkout": checkout,
        "buyer": buyer,
        "owner": f"owner:{buyer}",
        "address": address,
        "address_subject": f"address:{address}",
        **asked_values(lines or []),
    }
    look = (_LOOK_AT_CART, _LIMIT_OF_CART, _CART) if lines is None else (look_statement(lines), _LIMIT_OF_LINES)
    tenants, row, own_lines, payments, asked, limits, *carts = await db.run(
        tenant, (_TENANT, values), *view_statements(tenant, checkout), *((sql, values) for sql in look)
    )
    if not tenants:
        return None
    existing = view_of((row, own_lines, payments))
    cart: dict[str, Any] = carts[0][0] if carts and carts[0] else {"processing": False, "checkout_id": None}
    return StartLook(
        existing=existing,
        lines=[_line(row) for row in asked],
        shortages=await shortages_in(db, tenant, asked) if existing is None else [],
        processing=cart["processing"],
        held_by=cart["checkout_id"],
        limit=limits[0]["refusal"] if limits else None,
        limits_addresses=tenants[0]["limits_addresses"],
        total=sum(_cost(row) for row in asked),
        currency=tenants[0]["currency"],
        hold_seconds=tenants[0]["hold_seconds"],
        now=tenants[0]["now"],
    )


def look_statement(lines: Sequence[Line]) -> str:
    """The statement that finds out what these lines would find; its rows are for `shortages_in`."""
    return _LOOK_AT_ANYTHING if any(line.product_id is None for line in lines) else _LOOK_AT_PRODUCTS


def _line(row: DictRow) -> Line:
    zone = None if row["seat_id"] is not None else row["zone_id"]
    return Line(row["product_id"], row["quantity"], zone, row["seat_id"])


def _cost(row: DictRow) -> int:
    """With the tax that comes on top of it."""
    return int((row["unit_price"] or 0) * row["quantity"] + (0 if row["tax_included"] else row["tax"]))


def _is_short(row: DictRow) -> bool:
    """Of a numbered zone, `free` is counted no further than the line's own quantity."""
    if row["fault"] == "numbered":
        return bool(row["free"] < row["quantity"])
    return bool(row["fault"] or row["free"] < row["wanted"])


async def shortages_in(db: Database, tenant: TenantId, asked: Sequence[DictRow]) -> list[dict[str, Any]]:
    """What of these rows cannot be had, once each thing; another round trip if there is anything."""
    short = [row for row in by_thing(asked) if _is_short(row)]
    return await _shortages(db, tenant, short) if short else []


async def _shortages(db: Database, tenant: TenantId, short: list[DictRow]) -> list[dict[str, Any]]:
    items = [row["stock_item_id"] for row in short if row["stock_item_id"] is not None]
    [rows] = await db.run(tenant, (_FREE_AT, {"tenant": tenant, "items": items}))
    free_at = {row["id"]: row["free_at"] for row in rows}
    return [
        {
            **{name: row[name] for name in ("product_id", "zone_id", "seat_id") if row[name] is not None},
            "requested": row["wanted"],
            "available": row["free"],
            "reason": row["fault"] or "sold_out",
            "free_at": free_at.get(row["stock_item_id"]),
            **(await _together(db, tenant, row) if row["fault"] == "numbered" else {}),
        }
        for row in short
    ]


async def _together(db: Database, tenant: TenantId, row: DictRow) -> dict[str, Any]:
    return (await left_together(db, tenant, row["zone_id"], row["quantity"])).shortage
