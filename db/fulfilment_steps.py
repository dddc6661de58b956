"""The steps of an order's fulfilment: begun, ended, given up, asked for again. The row decides, not the run.

A step may run more than once for one key (order, step, replay); `begin_step` tells whether it has ended already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from db.audit import note
from db.database import Database, Statement, Transaction
from db.telling import LOCK_CHECKOUT_OF_ORDER, telling
from domain.checkout_events import CheckoutEventKind
from domain.errors import NotFound
from domain.fulfilment import ALWAYS, Step, StepRequest, StepResult, StepStatus, told
from domain.ids import Actor, OrderId, TenantId


@dataclass(frozen=True, slots=True)
class StepRow:
    """How one step of one order stands."""

    step: Step
    replay: int
    status: StepStatus
    attempts: int
    reason: str | None
    last_error: str | None
    detail: Mapping[str, Any]
    created_at: datetime
    ended_at: datetime | None

    @property
    def result(self) -> StepResult:
        """As the workflow hears it."""
        return StepResult(self.status, self.reason or "", bool(self.detail.get("with_tickets")))


_COLUMNS = "step, replay, status, attempts, reason, last_error, detail, created_at, ended_at"
_ONE = "tenant_id = %(tenant)s AND order_id = %(order)s AND step = %(step)s AND replay = %(replay)s"
_BEGIN = """
    INSERT INTO fulfilment_steps (tenant_id, order_id, step, replay, attempts)
    SELECT tenant_id, id, %(step)s, %(replay)s, 1 FROM orders WHERE tenant_id = %(tenant)s AND id = %(order)s
    ON CONFLICT (tenant_id, order_id, step, replay) DO UPDATE
        SET attempts = fulfilment_steps.attempts + 1, updated_at = clock_timestamp()
        WHERE fulfilment_steps.status = 'pending'
"""
_READ = f"SELECT {_COLUMNS} FROM fulfilment_steps WHERE {_ONE}"
# What has been done stays done: a late failure of an attempt that overlapped does not undo it.
_END = f"""
    UPDATE fulfilment_steps SET status = %(status)s, reason = %(reason)s, detail = detail || %(detail)s,
        last_error = CASE WHEN %(status)s = 'failed' THEN last_error END,
        updated_at = clock_timestamp(), ended_at = clock_timestamp()
    WHERE {_ONE} AND (status = 'pending' OR (status = 'failed' AND %(status)s = 'done'))
"""
# Of tickets that are there, the buyer is told once, whichever time they were made.
_END_AND_TELL = f"""
    WITH ended AS ({_END} RETURNING tenant_id, order_id, ended_at), news AS (
        SELECT n.tenant_id, o.checkout_id, n.ended_at AS at, jsonb_build_object('order_id', o.id) AS data
        FROM ended n JOIN orders o ON o.tenant_id = n.tenant_id AND o.id = n.order_id
        WHERE NOT EXISTS (
            SELECT FROM checkout_events e
            WHERE e.tenant_id = %(tenant)s AND e.checkout_id = o.checkout_id AND e.kind = 'tickets_ready')
    ), {telling("news", CheckoutEventKind.TICKETS_READY)}
    SELECT count(*) FROM ended
"""
_ERROR = f"""
    UPDATE fulfilment_steps SET last_error = %(error)s, updated_at = clock_timestamp()
    WHERE {_ONE} AND status = 'pending'
"""
_OF_ORDER = f"""
    SELECT {_COLUMNS} FROM fulfilment_steps WHERE tenant_id = %(tenant)s AND order_id = %(order)s
    ORDER BY created_at, step, replay
"""
_ORDER = "SELECT fulfilled_at FROM orders WHERE tenant_id = %(tenant)s AND id = %(order)s"
_LOCK_ORDER = _ORDER + " FOR NO KEY UPDATE"
_ASKED_BEFORE = """
    SELECT replay FROM fulfilment_steps WHERE tenant_id = %(tenant)s AND order_id = %(order)s AND step = %(step)s
        AND request_id = %(request)s
"""
_LAST = """
    SELECT coalesce(max(replay), 0) AS last FROM fulfilment_steps
    WHERE tenant_id = %(tenant)s AND order_id = %(order)s AND step = %(step)s
"""
_ASK = """
    INSERT INTO fulfilment_steps (tenant_id, order_id, step, replay, request_id)
    VALUES (%(tenant)s, %(order)s, %(step)s, %(replay)s, %(request)s)
"""
_CLOSE = """
    UPDATE orders o SET fulfilled_at = clock_timestamp()
    WHERE o.tenant_id = %(tenant)s AND o.id = %(order)s AND o.fulfilled_at IS NULL AND NOT EXISTS (
        SELECT FROM unnest(%(always)s::text[]) AS wanted (step)
        LEFT JOIN fulfilment_steps s ON s.tenant_id = %(tenant)s AND s.order_id = %(order)s AND s.step = wanted.step
            AND s.replay = 0
        WHERE s.status IS NULL OR s.status = 'pending')
      AND NOT EXISTS (
        SELECT FROM fulfilment_steps s WHERE s.tenant_id = %(tenant)s AND s.order_id = %(order)s AND s.replay = 0
            AND s.status = 'pending')
"""


async def begin_step(db: Database, request: StepRequest) -> StepRow:
    """Count an attempt, unless the step has ended; the row as it is now. Raises NotFound without such an order."""
    values = _values(request)
    _, rows = await db.run(request.tenant, (_BEGIN, values), (_READ, values))
    if not rows:
        raise NotFound("There is no such order.")
    return _step(rows[0])


async def end_step(
    db: Database, request: StepRequest, status: StepStatus, reason: str = "", detail: Mapping[str, Any] | None = None
) -> StepRow:
    """Write how it ended, unless it has ended before; the row as it is now. `detail`: ids and counts only.

    Raises NotFound for a step that was never begun.
    """
    given = {"status": status.value, "reason": reason or None, "detail": Jsonb(detail or {})}
    values = {**_values(request), **given}
    ending: list[Statement] = [(_END, values)]
    if request.step is Step.PDF and status is StepStatus.DONE:
        ending = [(LOCK_CHECKOUT_OF_ORDER, _values(request)), (_END_AND_TELL, values)]
    *_, rows = await db.run(request.tenant, *ending, (_READ, _values(request)))
    if not rows:
        raise NotFound("There is no such step.")
    return _step(rows[0])


async def note_error(db: Database, request: StepRequest, error: str) -> None:
    """Keep why the latest attempt failed. `error` has no personal data in it."""
    await db.run(request.tenant, (_ERROR, {**_values(request), "error": told(error)}))


async def read_steps(db: Database, tenant: TenantId, order: OrderId) -> list[StepRow] | None:
    """All steps of the order, oldest first; None when there is no such order."""
    values = {"tenant": tenant, "order": order}
    orders, rows = await db.run(tenant, (_ORDER, values), (_OF_ORDER, values))
    return [_step(row) for row in rows] if orders else None


async def ask_again(
    db: Database, tenant: TenantId, order: OrderId, step: Step, request_id: str, actor: Actor
) -> StepRequest:
    """Write down that the step is wanted once more, and who wants it. The same `request_id` gives the same replay.

    Raises NotFound without such an order. Who asks starts the run; if it cannot, the consistency check does.
    """
    values = {"tenant": tenant, "order": order, "step": step.value, "request": request_id}

    async def work(transaction: Transaction) -> int:
        orders, asked, last = await transaction.read((_LOCK_ORDER, values), (_ASKED_BEFORE, values), (_LAST, values))
        if not orders:
            raise NotFound("There is no such order.")
        if asked:
            return int(asked[0]["replay"])
        replay = int(last[0]["last"]) + 1
        after = {"step": step.value, "replay": replay}
        noted = note(tenant, actor, "fulfilment.replayed", f"order:{order}", after=after)
        await transaction.commit((_ASK, {**values, "replay": replay}), noted)
        return replay

    return StepRequest(tenant, order, step, await db.transact(tenant, work))


async def close_fulfilment(db: Database, tenant: TenantId, order: OrderId) -> None:
    """Mark the order as fulfilled, if each of its steps has ended."""
    values = {"tenant": tenant, "order": order, "always": [step.value for step in ALWAYS]}
    await db.run(tenant, (_CLOSE, values))


def _values(request: StepRequest) -> dict[str, Any]:
    return {
        "tenant": request.tenant, "order": request.order_id, "step": request.step.value, "replay": request.replay,
    }  # fmt: skip


def _step(row: Mapping[str, Any]) -> StepRow:
    return StepRow(**{**row, "step": Step(row["step"]), "status": StepStatus(row["status"])})
