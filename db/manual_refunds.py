"""Money of manual payments that an operator has returned by hand."""

from __future__ import annotations

from typing import Any

from db.audit import note
from db.database import Database, Transaction
from db.manual_payments import COLUMNS, ManualPayment, manual_payment_from
from db.telling import ORDER_REFUND_MADE, PAYMENT_RETURNED, TELL_REFUND_MADE
from domain.errors import Conflict, NotFound
from domain.ids import Actor, PaymentId, TenantId

RETURNED_BY_HAND = "by-hand"
"""Stands for the gateway's id of a refund of a manual payment."""

_LOCK_CHECKOUT = """
    SELECT c.id FROM manual_payments m JOIN checkouts c ON c.tenant_id = m.tenant_id AND c.id = m.checkout_id
    WHERE m.tenant_id = %(tenant)s AND m.payment_id = %(payment)s FOR NO KEY UPDATE OF c
"""
_LOCK = f"""
    SELECT {COLUMNS} FROM manual_payments m
    WHERE m.tenant_id = %(tenant)s AND m.payment_id = %(payment)s FOR NO KEY UPDATE
"""
# What was decided to go back: the whole payment, or refunds of the order that it made.
_OWED = """
    SELECT CASE WHEN o.kind = 'refund' THEN o.amount ELSE (
        SELECT coalesce(sum(r.amount), 0) FROM order_refunds r
        WHERE r.tenant_id = o.tenant_id AND r.order_id = o.order_id) END::bigint AS owed
    FROM payment_outcomes o
    WHERE o.tenant_id = %(tenant)s AND o.gateway = 'manual' AND o.payment_id = %(payment)s
"""
_RETURNED = f"""
    UPDATE manual_payments m SET refunded_amount = %(returned)s
    WHERE m.tenant_id = %(tenant)s AND m.payment_id = %(payment)s RETURNING {COLUMNS}
"""
_WHOLE_IS_MADE = f"""
    WITH made AS (
        UPDATE payment_outcomes SET refund_status = 'refunded', refund_id = %(by_hand)s, refunded_at = clock_timestamp()
        WHERE tenant_id = %(tenant)s AND gateway = 'manual' AND payment_id = %(payment)s AND refund_status = 'intended'
          AND amount <= %(returned)s
        RETURNING {PAYMENT_RETURNED}
    ), {TELL_REFUND_MADE}
    SELECT count(*) FROM made
"""
# In the order in which they were decided, as far as the money goes.
_PARTS_ARE_MADE = f"""
    WITH running AS MATERIALIZED (
        SELECT r.id, sum(r.amount) OVER (ORDER BY r.decided_at, r.id) AS so_far
        FROM payment_outcomes o JOIN order_refunds r ON r.tenant_id = o.tenant_id AND r.order_id = o.order_id
        WHERE o.tenant_id = %(tenant)s AND o.gateway = 'manual' AND o.payment_id = %(payment)s
    ), made AS (
        UPDATE order_refunds r SET status = 'refunded', refund_id = %(by_hand)s, refunded_at = clock_timestamp()
        FROM running, orders o
        WHERE r.tenant_id = %(tenant)s AND r.id = running.id AND r.status = 'intended'
          AND running.so_far <= %(returned)s AND o.tenant_id = r.tenant_id AND o.id = r.order_id
        RETURNING {ORDER_REFUND_MADE}
    ), {TELL_REFUND_MADE}
    SELECT count(*) FROM made
"""
_STATUS = """
    UPDATE payments SET status = 'refunded', changed_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND gateway = 'manual' AND payment_id = %(payment)s AND amount <= %(returned)s
"""


async def record_returned_money(
    db: Database, tenant: TenantId, actor: Actor, payment: PaymentId, amount: int | None, name: str
) -> ManualPayment:
    """An operator has returned money of a manual payment: `amount` minor units in all; None: all that is owed.

    The refunds that are thereby made show as made. Less than what is recorded already changes nothing, so a repeat
    neither. `name`: what the transfer back is called. Raises NotFound; Conflict (`owed`) for more than was decided to
    go back: decide the refund first.
    """

    async def work(transaction: Transaction) -> ManualPayment:
        values: dict[str, Any] = {"tenant": tenant, "payment": payment, "by_hand": RETURNED_BY_HAND}
        _, found, owed_rows = await transaction.read((_LOCK_CHECKOUT, values), (_LOCK, values), (_OWED, values))
        if not found:
            raise NotFound
        before, owed = manual_payment_from(found[0]), owed_rows[0]["owed"] if owed_rows else 0
        if amount is not None and amount > owed:
            raise Conflict(f"{owed} (minor units) of it were decided to go back: refund the order first.", owed=owed)
        values["returned"] = returned = owed if amount is None else amount
        if returned <= before.refunded_amount:
            await transaction.commit()
            return before
        noted = {"returned": returned, "name": name}
        rows, *_ = await transaction.commit(
            (_RETURNED, values),
            (_WHOLE_IS_MADE, values),
            (_PARTS_ARE_MADE, values),
            (_STATUS, values),
            note(
                tenant, actor, "payment.returned_by_hand", f"payment:manual/{payment}",
                {"returned": before.refunded_amount}, noted,
            ),
        )  # fmt: skip
        return manual_payment_from(rows[0])

    return await db.transact(tenant, work)
