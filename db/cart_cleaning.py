"""Remove from all of a tenant's carts what cannot be bought any more.

In pages and short transactions, so that neither a tenant with many carts runs into the statement timeout, nor a buyer
waits for long: a cart that somebody uses at that moment is left for the end, and then waited for alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from psycopg.types.json import Jsonb

from db.database import Database, Rows, Statement, Transaction
from domain.cart import NoticeReason, ProductNow, fault_of
from domain.ids import Actor, ProductId, TenantId

PAGE = 200
"""Carts that one statement looks at: at most 20,000 lines."""
FIRST = "00000000-0000-0000-0000-000000000000"

# What `domain.cart.fault_of` would find, so that the good lines of all carts need not travel. It is asked again of what
# comes back, and says why. Overdue holds count as free.
_INVALID = """
    SELECT l.cart_id::text AS cart, l.product_id, l.quantity, p.id IS NOT NULL AS there, p.name, p.price,
           p.offer_price, p.available, p.one_per_cart, stock.free
    FROM cart_lines l
    LEFT JOIN products p ON p.tenant_id = l.tenant_id AND p.id = l.product_id
    LEFT JOIN LATERAL (
        SELECT s.total - s.reserved - s.sold + CASE WHEN s.reserved = 0 THEN 0 ELSE (
            SELECT coalesce(sum(o.quantity), 0) FROM checkout_lines o
            WHERE o.tenant_id = s.tenant_id AND o.stock_item_id = s.id AND o.status = 'held'
              AND o.expires_at <= clock_timestamp()) END AS free
        FROM stock_items s WHERE s.tenant_id = p.tenant_id AND s.id = p.stock_item_id
    ) stock ON true
    WHERE l.tenant_id = %(tenant)s AND l.cart_id = ANY (%(carts)s::uuid[])
      AND (p.id IS NULL OR NOT p.available OR p.price <= 0 OR stock.free <= 0)
"""
_PAGE = """
    SELECT id::text AS id, status = 'available' AS available FROM carts
    WHERE tenant_id = %(tenant)s AND id > %(after)s::uuid ORDER BY id LIMIT %(page)s
"""
_LOCK = """
    SELECT id::text AS id FROM carts
    WHERE tenant_id = %(tenant)s AND id = ANY (%(carts)s::uuid[]) AND status = 'available'
    ORDER BY id FOR UPDATE
"""
_REMOVE = """
    WITH removed AS (
        DELETE FROM cart_lines l USING unnest(%(carts)s::uuid[], %(products)s::bigint[]) AS r (cart, product)
        WHERE l.tenant_id = %(tenant)s AND l.cart_id = r.cart AND l.product_id = r.product
    ), touched AS (
        UPDATE carts SET updated_at = clock_timestamp()
        WHERE tenant_id = %(tenant)s AND id = ANY (%(cleaned)s::uuid[])
    )
    INSERT INTO audit_log (tenant_id, actor, action, subject, before, after)
    SELECT %(tenant)s, %(actor)s, 'cart.cleaned', 'cart:' || n.cart, n.before, n.after
    FROM unnest(%(cleaned)s::text[], %(before)s::jsonb[], %(after)s::jsonb[]) AS n (cart, before, after)
"""


@dataclass(slots=True)
class Cleaned:
    """How many carts lost lines, how many lines, and how many of these for which reason."""

    carts: int = 0
    lines: int = 0
    reasons: Counter[NoticeReason] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Removal:
    cart: str
    product_id: ProductId
    quantity: int
    reason: NoticeReason


async def clean_carts(db: Database, tenant: TenantId, actor: Actor) -> Cleaned:
    """Remove every line whose product is gone, off sale, sold out or without a price; carts in processing are skipped.

    Audited for each cart. Quantities above what is free are left to the owner's next read, which tells the owner.
    """
    cleaned, busy, after = Cleaned(), list[str](), FIRST
    while True:
        [page] = await db.run(tenant, (_PAGE, {"tenant": tenant, "after": after, "page": PAGE}))
        if not page:
            break
        after = page[-1]["id"]
        candidates = await _with_invalid_lines(db, tenant, [row["id"] for row in page if row["available"]])
        locked = await _clean(db, tenant, actor, candidates, cleaned, wait=False) if candidates else set()
        busy += candidates - locked
    for cart in busy:
        await _clean(db, tenant, actor, {cart}, cleaned, wait=True)
    return cleaned


async def _with_invalid_lines(db: Database, tenant: TenantId, carts: list[str]) -> set[str]:
    [rows] = await db.run(tenant, (_INVALID, {"tenant": tenant, "carts": carts}))
    return {row["cart"] for row in rows}


async def _clean(
    db: Database, tenant: TenantId, actor: Actor, carts: Collection[str], cleaned: Cleaned, *, wait: bool
) -> set[str]:
    """Clean these carts; the ones that could be locked. Counted only when it is committed."""
    values = {"tenant": tenant, "carts": list(carts)}

    async def work(transaction: Transaction) -> tuple[set[str], list[_Removal]]:
        rows, lines = await transaction.read((_LOCK + ("" if wait else "SKIP LOCKED"), values), (_INVALID, values))
        locked = {row["id"] for row in rows}
        removals = [removal for removal in _removals(lines) if removal.cart in locked]
        await transaction.commit(*_writes(tenant, actor, removals))
        return locked, removals

    locked, removals = await db.transact(tenant, work)
    cleaned.carts += len({removal.cart for removal in removals})
    cleaned.lines += len(removals)
    cleaned.reasons.update(removal.reason for removal in removals)
    return locked


def _removals(lines: Rows) -> list[_Removal]:
    found = []
    for row in lines:
        known = {name: row[name] for name in ProductNow._fields if name in row}
        product = ProductNow(id=row["product_id"], **known) if row["there"] else None
        if reason := fault_of(product):
            found.append(_Removal(row["cart"], row["product_id"], row["quantity"], reason))
    return found


def _writes(tenant: TenantId, actor: Actor, removals: list[_Removal]) -> list[Statement]:
    if not removals:
        return []
    of_cart: defaultdict[str, list[_Removal]] = defaultdict(list)
    for removal in removals:
        of_cart[removal.cart].append(removal)
    values = {
        "tenant": tenant,
        "actor": actor,
        "carts": [removal.cart for removal in removals],
        "products": [removal.product_id for removal in removals],
        "cleaned": list(of_cart),
        "before": [
            Jsonb({"lines": {str(each.product_id): each.quantity for each in gone}}) for gone in of_cart.values()
        ],
        "after": [Jsonb(_after(gone)) for gone in of_cart.values()],
    }
    return [(_REMOVE, values)]


def _after(gone: list[_Removal]) -> dict[str, dict[str, int | str]]:
    return {
        "lines": {str(each.product_id): 0 for each in gone},
        "reasons": {str(each.product_id): each.reason.value for each in gone},
    }
