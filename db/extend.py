"""Extend: move the end of a live hold. Lock and read; decide; write and commit. Two round trips."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import DictRow

from db.database import Database, Statement, Transaction
from db.telling import tell
from domain.checkout import CheckoutStatus, extended_end, is_over
from domain.checkout_events import CheckoutEventKind
from domain.messages import ExtendRequest, Settled
from domain.naming import PAYMENT_STARTED

_LOCK = """
    SELECT status, held_at, expires_at, extension_seconds, maximum_seconds, auto_extend FROM checkouts
    WHERE tenant_id = %(tenant)s AND id = %(checkout)s
    FOR UPDATE
"""
_LOOK = """
    SELECT clock_timestamp() AS now, EXISTS (
        SELECT FROM checkout_extensions
        WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND request_id = %(request)s) AS repeated
"""
_MOVE = "UPDATE checkouts SET expires_at = %(new_end)s WHERE tenant_id = %(tenant)s AND id = %(checkout)s"
MOVE_LINES = """
    UPDATE checkout_lines SET expires_at = %(new_end)s
    WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND status = 'held'
"""
_NOTE = """
    INSERT INTO checkout_extensions (tenant_id, checkout_id, request_id, previous_end, new_end, extended_at)
    VALUES (%(tenant)s, %(checkout)s, %(request)s, %(old_end)s, %(new_end)s, %(now)s)
"""


async def extend(db: Database, request: ExtendRequest) -> Settled:
    """Give a live hold more time, once per `request_id`. The answer's `remaining_ms` is 0 when the hold is over.

    With the request id PAYMENT_STARTED it is the hold that extends itself, if its tenant wanted that when it began.
    """
    values = {"tenant": request.ref.tenant, "checkout": request.ref.checkout_id, "request": request.request_id}

    async def work(transaction: Transaction) -> Settled:
        locked, looked = await transaction.read((_LOCK, values), (_LOOK, values))
        if not locked:
            return Settled(status=None)
        extended, writes = _judge(request, values, locked[0], looked[0])
        await transaction.commit(*writes)
        return extended

    return await db.transact(request.ref.tenant, work)


def _judge(
    request: ExtendRequest, values: dict[str, Any], row: DictRow, look: DictRow
) -> tuple[Settled, list[Statement]]:
    status = CheckoutStatus(row["status"])
    if status is not CheckoutStatus.HELD or is_over(look["now"], row["expires_at"]):
        return Settled(status=status), []
    if look["repeated"] or (request.request_id == PAYMENT_STARTED and not row["auto_extend"]):
        return held_until(row["expires_at"], look["now"]), []
    new_end = _new_end(request, row, look)
    moved = {**values, "old_end": row["expires_at"], "new_end": new_end, "now": look["now"]}
    by = "payment" if request.request_id == PAYMENT_STARTED else "buyer"
    told = tell(
        request.ref.tenant, request.ref.checkout_id, CheckoutEventKind.EXTENDED, look["now"], expires_at=new_end, by=by
    )
    return held_until(new_end, look["now"]), [(_MOVE, moved), (MOVE_LINES, moved), (_NOTE, moved), told]


def _new_end(request: ExtendRequest, row: DictRow, look: DictRow) -> Any:
    step = min(request.seconds or row["extension_seconds"], row["extension_seconds"])
    return extended_end(
        look["now"],
        row["expires_at"],
        row["held_at"],
        timedelta(seconds=step),
        timedelta(seconds=row["maximum_seconds"]),
    )


def held_until(end: datetime, now: datetime) -> Settled:
    """What the row says of a hold with this end."""
    remaining = end - now
    return Settled(status=CheckoutStatus.HELD, remaining_ms=max(0, -(-remaining // timedelta(milliseconds=1))))
