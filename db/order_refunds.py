"""Refunds of orders: the intent, and that it was made. The order stands; its stock and its number stay.

The order's own row is the guard: it is locked first, and its `refunded` never exceeds its `total`, as a CHECK says too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.audit import note
from db.database import Database, Transaction
from db.telling import (
    LOCK_CHECKOUT_OF_ORDER,
    LOCK_CHECKOUT_OF_REFUND,
    ORDER_REFUND_MADE,
    TELL_REFUND_MADE,
    telling,
)
from domain.checkout_events import CheckoutEventKind
from domain.errors import IdempotencyKeyReused, NotFound, RefundExceedsOrder
from domain.ids import Actor, GatewayName, OrderId, PaymentId, RefundId, TenantId
from domain.refund_messages import OrderRefundStatus

_COLUMNS = """id::text AS id, order_id::text AS order_id, gateway, payment_id, amount, currency, reason, actor,
    fingerprint, status, refund_id, decided_at, refunded_at"""
_LOCK = """
    SELECT total, refunded, currency, gateway, payment_id FROM orders
    WHERE tenant_id = %(tenant)s AND id = %(order)s FOR NO KEY UPDATE
"""
_ONE = f"SELECT {_COLUMNS} FROM order_refunds WHERE tenant_id = %(tenant)s AND id = %(refund)s"
_INTEND = f"""
    WITH raised AS (
        UPDATE orders SET refunded = refunded + %(amount)s
        WHERE tenant_id = %(tenant)s AND id = %(order)s AND refunded + %(amount)s <= total
        RETURNING tenant_id, id, checkout_id, gateway, payment_id, currency
    ), news AS (
        SELECT tenant_id, checkout_id, clock_timestamp() AS at, jsonb_build_object(
            'order_id', id, 'refund_id', %(refund)s::uuid, 'gateway', gateway, 'payment_id', payment_id,
            'amount', %(amount)s::bigint, 'currency', currency) AS data
        FROM raised
    ), {telling("news", CheckoutEventKind.REFUND_DECIDED)}
    INSERT INTO order_refunds (tenant_id, id, order_id, gateway, payment_id, amount, currency, reason, actor,
                               fingerprint)
    SELECT tenant_id, %(refund)s, id, gateway, payment_id, %(amount)s, currency, %(reason)s, %(actor)s, %(fingerprint)s
    FROM raised
    RETURNING {_COLUMNS}
"""
_NEXT = """
    SELECT r.id::text AS id, r.gateway, r.payment_id, r.amount, r.currency,
           (SELECT coalesce(sum(m.amount), 0) FROM order_refunds m
            WHERE m.tenant_id = r.tenant_id AND m.order_id = r.order_id AND m.status = 'refunded')::bigint AS before,
           (SELECT count(*) - 1 FROM order_refunds m
            WHERE m.tenant_id = r.tenant_id AND m.order_id = r.order_id AND m.status = 'intended') AS left
    FROM order_refunds r
    WHERE r.tenant_id = %(tenant)s AND r.order_id = %(order)s AND r.status = 'intended'
    ORDER BY r.decided_at, r.id LIMIT 1
"""
_MADE = f"""
    WITH made AS (
        UPDATE order_refunds r SET status = 'refunded', refund_id = %(made)s, refunded_at = clock_timestamp()
        FROM orders o
        WHERE r.tenant_id = %(tenant)s AND r.id = %(refund)s AND r.status = 'intended'
          AND o.tenant_id = r.tenant_id AND o.id = r.order_id
        RETURNING {ORDER_REFUND_MADE}
    ), {TELL_REFUND_MADE}
    SELECT count(*) FROM made
"""
_OWED = """
    SELECT order_id::text AS order_id FROM order_refunds
    WHERE tenant_id = %(tenant)s AND status = 'intended'
      AND decided_at <= clock_timestamp() - make_interval(secs => %(older_than)s)
    GROUP BY order_id ORDER BY min(decided_at) LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class NewOrderRefund:
    """A refund to decide. `amount` in minor units of the order's currency; None: all that is left of the order."""

    id: RefundId
    order_id: OrderId
    amount: int | None
    reason: str
    fingerprint: str
    """Of the request: the same `id` with another one is another request."""


@dataclass(frozen=True, slots=True)
class OrderRefund:
    """A refund as its row says. Amounts in minor units."""

    id: RefundId
    order_id: OrderId
    gateway: GatewayName
    payment_id: PaymentId
    amount: int
    currency: str
    reason: str
    actor: Actor
    status: OrderRefundStatus
    refund_id: str | None
    """The gateway's own id of it."""
    decided_at: datetime
    refunded_at: datetime | None


@dataclass(frozen=True, slots=True)
class OwedRefund:
    """The oldest refund of an order that is still owed. Amounts in minor units."""

    id: RefundId
    gateway: GatewayName
    payment_id: PaymentId
    amount: int
    currency: str
    before: int
    """What refunds of the order had been made before it: with this one, the gateway shows `before + amount`."""
    left: int
    """How many more are owed."""


async def decide_order_refund(db: Database, tenant: TenantId, actor: Actor, new: NewOrderRefund) -> OrderRefund:
    """Store the intent to refund, with its audit row; a repeat finds the first one's.

    Raises NotFound, RefundExceedsOrder (with what is `left`), IdempotencyKeyReused.
    """

    async def work(transaction: Transaction) -> OrderRefund:
        values = {"tenant": tenant, "order": new.order_id, "refund": new.id}
        _, orders, found = await transaction.read((LOCK_CHECKOUT_OF_ORDER, values), (_LOCK, values), (_ONE, values))
        if not orders:
            raise NotFound
        if found:
            await transaction.commit()
            return _the_same(found[0], new)
        return await _decide(transaction, tenant, actor, new, orders[0])

    return await db.transact(tenant, work)


async def next_order_refund(db: Database, tenant: TenantId, order: OrderId) -> OwedRefund | None:
    """The refund to make now: an order's are made in the order in which they were decided."""
    [rows] = await db.run(tenant, (_NEXT, {"tenant": tenant, "order": order}))
    return OwedRefund(**rows[0]) if rows else None


async def order_refund_made(db: Database, tenant: TenantId, refund: RefundId, made: str) -> None:
    """The money went back; `made` is the gateway's id of the refund. A repeat changes nothing."""
    values = {"tenant": tenant, "refund": refund, "made": made}
    await db.run(tenant, (LOCK_CHECKOUT_OF_REFUND, values), (_MADE, values))


async def order_refunds_owed(
    db: Database, tenant: TenantId, *, older_than_seconds: float, limit: int = 200
) -> list[OrderId]:
    """Orders with a refund that was decided so long ago and is not made yet, the longest waiting first."""
    [rows] = await db.run(tenant, (_OWED, {"tenant": tenant, "older_than": older_than_seconds, "limit": limit}))
    return [OrderId(row["order_id"]) for row in rows]


async def _decide(
    transaction: Transaction, tenant: TenantId, actor: Actor, new: NewOrderRefund, order: DictRow
) -> OrderRefund:
    left = order["total"] - order["refunded"]
    amount = left if new.amount is None else new.amount
    if not 0 < amount <= left:
        await transaction.commit()
        raise RefundExceedsOrder(f"{left} {order['currency']} (minor units) are left of this order.", left=left)
    values: dict[str, Any] = {
        "tenant": tenant,
        "order": new.order_id,
        "refund": new.id,
        "amount": amount,
        "reason": new.reason,
        "actor": actor,
        "fingerprint": new.fingerprint,
    }
    before = {"refunded": order["refunded"]}
    after = {"refunded": order["refunded"] + amount, "refund_id": new.id, "amount": amount}
    made, _ = await transaction.commit(
        (_INTEND, values), note(tenant, actor, "order.refund_decided", f"order:{new.order_id}", before, after)
    )
    return order_refund_from(made[0])


def _the_same(row: DictRow, new: NewOrderRefund) -> OrderRefund:
    if row["fingerprint"] != new.fingerprint:
        raise IdempotencyKeyReused
    return order_refund_from(row)


def order_refund_from(row: DictRow) -> OrderRefund:
    """The refund that a row of order_refunds says."""
    names = [name for name in OrderRefund.__slots__ if name != "status"]
    return OrderRefund(**{name: row[name] for name in names}, status=OrderRefundStatus(row["status"]))
