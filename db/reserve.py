"""Reserve: open a checkout and hold its lines, all or nothing, in one round trip."""

from __future__ import annotations

from typing import Any

from db.asked import asked_values, summed
from db.database import Database, Rows, Statement
from db.limits_sql import LOCK_COUNTERS
from db.overdue import overdue_of_owner, overdue_on, overdue_on_cart
from db.reserve_sql import GUARD, LOCK_CART, OPEN, OUTCOME, REFUSE_BY_CART, reserve_statement
from db.reserve_together import reserve_together
from db.settle import settle
from db.together import numbered_zones
from domain.checkout import CheckoutStatus
from domain.ids import ZoneId, session_of
from domain.messages import CheckoutRef, SettleRequest, StartCheckout, Started, StartStatus, Wanted

MAX_ROUNDS = 3
"""Tries to free overdue holds before a shortage stands. Each round frees what the one before found."""


async def reserve(db: Database, start: StartCheckout, *, guard: str = GUARD) -> Started:
    """Hold the lines of a start, or find what an earlier attempt of the same start did.

    Runs any number of times with one effect: only a row that is still `new` is acted on. A shortage first expires the
    overdue holds on the items, through `settle`, and tries again. Reached after its deadline it writes nothing.
    """
    for _ in range(MAX_ROUNDS):
        started = _outcome(start, await db.run(start.tenant, *_statements(start, final=False, guard=guard)))
        if started.start is StartStatus.STORED:
            return started
        if zones := await numbered_zones(db, start.tenant, start.lines):
            return await _with_picked_seats(db, start, zones, guard)
        if not await _free_overdue(db, start):
            return started
    return _outcome(start, await db.run(start.tenant, *_statements(start, final=True, guard=guard)))


async def _with_picked_seats(db: Database, start: StartCheckout, zones: set[ZoneId], guard: str) -> Started:
    def statements(of: StartCheckout, final: bool) -> list[Statement]:
        return _statements(of, final=final, guard=guard)

    async def free_overdue() -> bool:
        return await _free_overdue(db, start)

    return _outcome(start, await reserve_together(db, start, zones, statements, free_overdue))


def _statements(start: StartCheckout, *, final: bool, guard: str) -> list[Statement]:
    values = _values(start, final=final)
    by_cart = [LOCK_CART, REFUSE_BY_CART] if start.from_cart else []
    anything = any(line.product_id is None for line in start.lines)
    repeated = len(summed(start.lines)) < len(start.lines)
    hold = reserve_statement(guard, from_cart=start.from_cart, anything=anything, repeated=repeated)
    return [(sql, values) for sql in (OPEN, LOCK_COUNTERS, *by_cart, hold, OUTCOME)]


def _values(start: StartCheckout, *, final: bool) -> dict[str, Any]:
    return {
        "tenant": start.tenant,
        "checkout": start.checkout_id,
        "buyer": start.buyer,
        "session": session_of(start.buyer),
        "address": start.address,
        "fingerprint": start.fingerprint,
        "deadline": start.deadline,
        **asked_values(start.lines),
        "origins": None,
        "expected_total": start.expected_total,
        "final": final,
        "together": None,
    }


def _outcome(start: StartCheckout, results: list[Rows]) -> Started:
    row = results[-1][0] if results[-1] else None
    if row is None or row["status"] == CheckoutStatus.NEW:
        return Started(StartStatus.NOT_ATTEMPTED, start.deadline)
    return Started(
        StartStatus.STORED,
        start.deadline,
        status=CheckoutStatus(row["status"]),
        remaining_ms=row["remaining_ms"] or 0,
        total=row["total"],
        currency=row["currency"],
    )


async def _free_overdue(db: Database, start: StartCheckout) -> bool:
    """Expire the overdue holds on the asked items, on the cart, and of this owner and address; whether there were any.

    The owner's count against his limits until they are settled.
    """
    if start.from_cart:
        overdue = await overdue_on_cart(db, start.tenant, start.checkout_id)
    else:
        overdue = await overdue_on(db, start.tenant, start.lines)
    overdue = overdue or await overdue_of_owner(db, start.tenant, start.checkout_id)
    for checkout in overdue:
        await settle(db, SettleRequest(CheckoutRef(start.tenant, checkout), Wanted.EXPIRE))
    return bool(overdue)
