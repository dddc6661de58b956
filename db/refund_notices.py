"""Whether the buyer of a payment was told that it is given back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.database import Database
from domain.errors import NotFound
from domain.fulfilment import StepStatus, TellRefund, told
from domain.ids import CheckoutId, TenantId


@dataclass(frozen=True, slots=True)
class RefundFacts:
    """A refund that was decided. `amount` in minor units; `checkout_id` None: it matches no checkout."""

    checkout_id: CheckoutId | None
    amount: int
    currency: str
    reason: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """How the notice stands, and what it is to tell; `facts` None: no refund of this payment was decided."""

    status: StepStatus
    reason: str
    facts: RefundFacts | None


_BEGIN = """
    INSERT INTO refund_notices (tenant_id, gateway, payment_id, attempts)
    VALUES (%(tenant)s, %(gateway)s, %(payment)s, 1)
    ON CONFLICT (tenant_id, gateway, payment_id) DO UPDATE SET attempts = refund_notices.attempts + 1
        WHERE refund_notices.status = 'pending'
"""
_READ = """
    SELECT status, reason FROM refund_notices
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s
"""
_FACTS = """
    SELECT checkout_id::text AS checkout_id, amount, currency, reason, decided_at FROM payment_outcomes
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND kind = 'refund'
"""
_END = """
    UPDATE refund_notices SET status = %(status)s, reason = %(reason)s, ended_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND status = 'pending'
"""
_ERROR = """
    UPDATE refund_notices SET last_error = %(error)s
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND status = 'pending'
"""


async def begin_notice(db: Database, asked: TellRefund) -> Notice:
    """Count an attempt, unless the notice has ended. Raises NotFound when there is no such tenant."""
    values = _values(asked)
    [known] = await db.run(asked.tenant, ("SELECT 1 FROM tenants WHERE id = %(tenant)s", values))
    if not known:
        raise NotFound("There is no such tenant.")
    _, [row], facts = await db.run(asked.tenant, (_BEGIN, values), (_READ, values), (_FACTS, values))
    return Notice(StepStatus(row["status"]), row["reason"] or "", RefundFacts(**facts[0]) if facts else None)


async def end_notice(db: Database, asked: TellRefund, status: StepStatus, reason: str = "") -> None:
    """Write how it ended, unless it has ended before."""
    await db.run(asked.tenant, (_END, {**_values(asked), "status": status.value, "reason": reason or None}))


async def note_notice_error(db: Database, asked: TellRefund, error: str) -> None:
    """Keep why the latest attempt failed, without personal data."""
    await db.run(asked.tenant, (_ERROR, {**_values(asked), "error": told(error)}))


def _values(asked: TellRefund) -> dict[str, str | TenantId]:
    return {"tenant": asked.tenant, "gateway": asked.gateway, "payment": asked.payment_id}
