"""What holds stand in the way of, done past those that are over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from db.database import Database, Transaction
from db.overdue import overdue_on
from db.settle import settle
from domain.errors import Conflict
from domain.ids import TenantId
from domain.messages import CheckoutRef, Line, SettleRequest, Wanted

T = TypeVar("T")
MAX_ROUNDS = 3
"""Tries to free overdue holds before a refusal stands. Each round frees what the one before found."""


async def past_overdue_holds(
    db: Database,
    tenant: TenantId,
    lines: Sequence[Line],
    work: Callable[[Transaction], Awaitable[T]],
    refusals: tuple[type[Conflict], ...],
) -> T:
    """Run `work`; when it is refused so, end the holds on these things that are past their end, and run it again."""
    for _ in range(MAX_ROUNDS):
        try:
            return await db.transact(tenant, work)
        except refusals:
            overdue = await overdue_on(db, tenant, lines)
            if not overdue:
                raise
            for checkout in overdue:
                await settle(db, SettleRequest(CheckoutRef(tenant, checkout), Wanted.EXPIRE))
    return await db.transact(tenant, work)
