"""Blocking seats, and taking blocks away: in one transaction with the audit row, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import DictRow

from db.audit import note
from db.database import Database, Transaction
from db.event_admin_sql import LOCK_SEATS, SET_SEATS, WHOSE_SEATS, ZONE_EXISTS
from db.past_overdue import past_overdue_holds
from domain.errors import Invalid, NotFound, SeatsCommitted
from domain.ids import Actor, SeatId, TenantId, ZoneId
from domain.messages import Line


async def set_blocked(
    db: Database, tenant: TenantId, actor: Actor, zone: ZoneId, seats: Sequence[SeatId], *, blocked: bool
) -> list[SeatId]:
    """Block these seats of a zone, or free those of them that are blocked; which of them were not so before.

    A blocked seat has a stock item with nothing in it, so a reserve that waits for its lock finds it gone. Holds that
    are over are ended first. Raises NotFound when there is no such zone, Invalid for seats that are not of it, and
    SeatsCommitted, naming them, when any is to be blocked that is held or sold.
    """
    asked = sorted(set(seats))
    values = {"tenant": tenant, "zone": zone, "seats": asked, "total": 0 if blocked else 1}

    async def work(transaction: Transaction) -> list[SeatId]:
        zones, items, whose = await transaction.read((ZONE_EXISTS, values), (LOCK_SEATS, values), (WHOSE_SEATS, values))
        if not zones:
            raise NotFound
        seat_of = {row["stock_item_id"]: SeatId(row["id"]) for row in whose}
        _require_known(asked, set(seat_of.values()))
        if blocked:
            _require_free(items, seat_of)
        changing = [item["id"] for item in items if item["total"] != values["total"]]
        changed = sorted(seat_of[item] for item in changing)
        action = "seats.blocked" if blocked else "seats.unblocked"
        noted = note(tenant, actor, action, f"zone:{zone}", None, {"seats": changed})
        await transaction.commit(*([(SET_SEATS, {**values, "items": changing}), noted] if changed else []))
        return changed

    lines = [Line(None, 1, seat_id=seat) for seat in seats]
    return await past_overdue_holds(db, tenant, lines, work, (SeatsCommitted,))


def _require_known(asked: Sequence[SeatId], known: set[SeatId]) -> None:
    unknown = [seat for seat in asked if seat not in known]
    if unknown:
        message = "Some seats are not of this zone"
        errors = [{"field": "seat_ids", "message": message, "fix": "Leave out those in `unknown`"}]
        raise Invalid(f"{message}.", errors=errors, unknown=unknown)


def _require_free(items: Sequence[DictRow], seat_of: dict[int, SeatId]) -> None:
    held, sold = (sorted(seat_of[item["id"]] for item in items if item[state]) for state in ("reserved", "sold"))
    if held or sold:
        raise SeatsCommitted("Seats in `held` and `sold` cannot be blocked; none was.", held=held, sold=sold)
