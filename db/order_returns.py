"""Giving the stock of an order back: sold → available. A choice of its own, never part of a refund.

Lock order: checkout (by the request's row in checkout_changes, which names it), order, stock items by id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import DictRow

from db.audit import note
from db.database import Database, Statement, Transaction
from domain.errors import IdempotencyKeyReused, Invalid, NotFound, ReturnExceedsOrder
from domain.ids import Actor, OrderId, TenantId

_LOCK_CHECKOUT = """
    SELECT c.id FROM orders o JOIN checkouts c ON c.tenant_id = o.tenant_id AND c.id = o.checkout_id
    WHERE o.tenant_id = %(tenant)s AND o.id = %(order)s FOR KEY SHARE OF c
"""
_LOCK = """
    SELECT checkout_id::text AS checkout_id FROM orders
    WHERE tenant_id = %(tenant)s AND id = %(order)s FOR NO KEY UPDATE
"""
_DONE = """
    SELECT d.fingerprint FROM checkout_changes d
    WHERE d.tenant_id = %(tenant)s AND d.request_id = %(request)s
      AND d.checkout_id = (SELECT checkout_id FROM orders WHERE tenant_id = %(tenant)s AND id = %(order)s)
"""
_LINES = """
    SELECT position, quantity - returned AS left FROM order_lines
    WHERE tenant_id = %(tenant)s AND order_id = %(order)s ORDER BY position
"""
_NOTE = """
    INSERT INTO checkout_changes (tenant_id, checkout_id, request_id, fingerprint, changed_at)
    VALUES (%(tenant)s, %(checkout)s, %(request)s, %(fingerprint)s, clock_timestamp())
"""
# The stock items are locked in id order before the update touches them.
_RETURN = """
    WITH lines AS (
        UPDATE order_lines l SET returned = l.returned + a.quantity
        FROM unnest(%(lines)s::integer[], %(quantities)s::integer[]) AS a (position, quantity)
        WHERE l.tenant_id = %(tenant)s AND l.order_id = %(order)s AND l.position = a.position
          AND l.returned + a.quantity <= l.quantity
        RETURNING l.stock_item_id, a.quantity
    ), locked AS MATERIALIZED (
        SELECT id FROM stock_items
        WHERE tenant_id = %(tenant)s AND id = ANY (ARRAY(SELECT stock_item_id FROM lines))
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE stock_items s SET sold = s.sold - l.quantity
    FROM (SELECT stock_item_id, sum(quantity)::integer AS quantity FROM lines GROUP BY 1) l
    JOIN locked ON locked.id = l.stock_item_id
    WHERE s.tenant_id = %(tenant)s AND s.id = l.stock_item_id
"""


@dataclass(frozen=True, slots=True)
class NewReturn:
    """What to give back: units by the order's line (1, 2, …); None: all that has not been given back yet."""

    order_id: OrderId
    request_id: str
    """A repeat of the same request finds that it was done."""
    fingerprint: str
    lines: Mapping[int, int] | None = None


async def return_stock(db: Database, tenant: TenantId, actor: Actor, new: NewReturn) -> dict[int, int]:
    """Give stock back, with its audit row: the units by line; empty for a repeat, and when nothing was left of all.

    Raises NotFound, Invalid (`lines` names one that the order does not have), ReturnExceedsOrder (`line`, `left`: more
    than the line has), IdempotencyKeyReused. Nothing is given back then.
    """

    async def work(transaction: Transaction) -> dict[int, int]:
        values = {"tenant": tenant, "order": new.order_id, "request": f"return-{new.request_id}"}
        _, orders, done, lines = await transaction.read(
            (_LOCK_CHECKOUT, values), (_LOCK, values), (_DONE, values), (_LINES, values)
        )
        if not orders:
            raise NotFound
        if done:
            await transaction.commit()
            return _the_same(done[0], new)
        units = _units(lines, new.lines)
        values |= {"checkout": orders[0]["checkout_id"], "fingerprint": new.fingerprint}
        await transaction.commit((_NOTE, values), *_writes(tenant, actor, new.order_id, units, values))
        return units

    return await db.transact(tenant, work)


def _units(lines: list[DictRow], wanted: Mapping[int, int] | None) -> dict[int, int]:
    left: dict[int, int] = {row["position"]: row["left"] for row in lines}
    if wanted is None:
        return {line: units for line, units in left.items() if units}
    for line, units in wanted.items():
        if line not in left:
            field = {"field": "lines", "message": "It names a line that the order does not have", "fix": _FIX}
            raise Invalid("`lines` is not valid.", errors=[field])
        if units > left[line]:
            raise ReturnExceedsOrder(
                f"Line {line} has {left[line]} units left to give back.", line=line, left=left[line]
            )
    return dict(wanted)


_FIX = "Send the `line` numbers that the order shows"


def _writes(
    tenant: TenantId, actor: Actor, order: OrderId, units: dict[int, int], values: dict[str, Any]
) -> list[Statement]:
    if not units:
        return []
    audited = {"returned": {str(line): count for line, count in units.items()}}
    return [
        (_RETURN, {**values, "lines": list(units), "quantities": list(units.values())}),
        note(tenant, actor, "order.stock_returned", f"order:{order}", after=audited),
    ]


def _the_same(row: DictRow, new: NewReturn) -> dict[int, int]:
    if row["fingerprint"] != new.fingerprint:
        raise IdempotencyKeyReused
    return {}
