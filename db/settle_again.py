"""A late payment's things, held again: within the settle that makes the order of them, under its checkout's lock."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from db.database import Database, Transaction
from db.settle_again_sql import HOLD_AGAIN, MOVE_LINES, OVERDUE, SEATS_OF
from db.settle_sql import LOCK_CART
from db.together import Picked, pick_together
from domain.ids import CheckoutId, SeatId, TenantId, ZoneId
from domain.messages import CheckoutRef

MOST_AT_ONCE = 200


async def hold_again(transaction: Transaction, ref: CheckoutRef, cart: str | None, *, other_seats: bool) -> bool:
    """Hold the lines of an ended checkout again, all or nothing, at the prices they had; whether they could be had.

    The cart's row is locked before the stock items, in the global order. `other_seats`: where only seats are gone, as
    many seats side by side in the same zone stand in for all seats of that zone.
    """
    values = {"tenant": ref.tenant, "checkout": ref.checkout_id, "cart": cart}
    first = [(LOCK_CART, values)] if cart else []
    *_, [row] = await transaction.read(*first, (HOLD_AGAIN, values))
    if row["had"] or not (other_seats and row["but_for_seats"]):
        return bool(row["had"])
    if not await _move_seats(transaction, ref.tenant, values):
        return False
    [[row]] = await transaction.read((HOLD_AGAIN, values))
    if not row["had"]:
        raise AssertionError("what was locked and free was not to be had")
    return True


async def overdue_in_the_way(db: Database, tenant: TenantId, checkout: CheckoutId) -> list[CheckoutId]:
    """Checkouts that are past their end and hold what this ended one held, oldest first."""
    values = {"tenant": tenant, "checkout": checkout, "most": MOST_AT_ONCE}
    [rows] = await db.run(tenant, (OVERDUE, values))
    return [CheckoutId(row["checkout_id"]) for row in rows]


async def _move_seats(transaction: Transaction, tenant: TenantId, values: dict[str, Any]) -> bool:
    """Put the lines of each zone that has lost a seat on other seats; whether there were such for all of them."""
    [lines] = await transaction.read((SEATS_OF, values))
    moved: list[tuple[int, SeatId]] = []
    for zone, rows in groupby(lines, key=lambda row: row["zone_id"]):
        of_zone = list(rows)
        picked = await pick_together(transaction, tenant, ZoneId(zone), len(of_zone))
        if not isinstance(picked, Picked):
            return False
        moved += zip((row["id"] for row in of_zone), picked.seats, strict=True)
    await transaction.read(
        (MOVE_LINES, {**values, "lines": [line for line, _ in moved], "seats": [seat for _, seat in moved]})
    )
    return True
