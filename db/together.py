"""Best available: adjacent free seats of a numbered zone, locked within a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.database import Database, Transaction, require_tenant
from db.together_sql import FREE_AT, FRONT, LOCK_FREE, NUMBERED, WAIT, WHOLE
from domain.adjacency import MAX_TOGETHER, Block, Place, Run, blocks, largest, without
from domain.ids import SeatId, TenantId, ZoneId
from domain.messages import Line

_FRONTS = (256, 4096, None)
"""How many free seats to look at, from the front: the more the rarer. None: all, in any order of their making."""
_AT_ONCE = (1, 2, 4, 8)
"""How many blocks to try at once: few while nobody else is there, as what is locked is not there for others."""
_MOST_WAITED_FOR = 20


@dataclass(frozen=True, slots=True)
class Picked:
    """Adjacent seats, free and locked until the transaction ends."""

    seats: list[SeatId]


@dataclass(frozen=True, slots=True)
class NotTogether:
    """There are not so many adjacent seats to be had. `free`: how many there are at all; `largest`: side by side.

    `contested`: seats that others had locked, or took in this moment. `free_at`: when the first hold in the zone ends.
    """

    requested: int
    free: int
    largest: int
    contested: list[Place]
    free_at: datetime | None

    @property
    def shortage(self) -> dict[str, Any]:
        """What a refusal says of it, as JSON has it, beside the zone."""
        return {
            "requested": self.requested,
            "available": self.free,
            "largest_block": self.largest,
            "reason": "sold_out" if self.free < self.requested else "not_together",
            "free_at": self.free_at.isoformat() if self.free_at else None,
        }


@dataclass(frozen=True, slots=True)
class _Seen:
    runs: list[Run]
    """Those that are long enough."""
    free: int
    shorter: int
    """The longest of the others."""
    everything: bool
    """Whether these are all free seats of the zone."""


async def numbered_zones(db: Database, tenant: TenantId, lines: Sequence[Line]) -> set[ZoneId]:
    """Which of the lines' zones have numbered seats, that must be picked before they can be reserved."""
    require_tenant(tenant)
    zones = [line.zone_id for line in lines if line.zone_id is not None and line.seat_id is None]
    if not zones:
        return set()
    [rows] = await db.run(tenant, (NUMBERED, {"tenant": tenant, "zones": zones}))
    return {ZoneId(row["id"]) for row in rows}


async def pick_together(
    transaction: Transaction, tenant: TenantId, zone: ZoneId, quantity: int, *, besides: Collection[SeatId] = ()
) -> Picked | NotTogether:
    """Lock so many adjacent free seats of a numbered zone: in the best row, as near to its middle as may be.

    Seats that others have locked are passed over, so it never waits, and may come after any other lock. `besides`:
    seats of the zone that are not wanted, such as those that the caller takes by their ids. Several round trips; what
    was locked and is not picked is free when the transaction ends.
    """
    picking = _Picking(transaction, tenant, zone, quantity, list(besides))
    fronts = iter(_FRONTS)
    while True:
        seen = await picking.look(next(fronts))
        if quantity <= MAX_TOGETHER and (seats := await picking.lock_one_of(seen.runs)):
            return Picked(seats)
        if seen.everything:
            return await picking.nothing(seen)


async def left_together(db: Database, tenant: TenantId, zone: ZoneId, quantity: int) -> NotTogether:
    """What there is for somebody who wants so many, which are more than there are. Locks nothing."""

    async def work(transaction: Transaction) -> NotTogether:
        picking = _Picking(transaction, tenant, zone, quantity, [])
        found = await picking.nothing(await picking.look(None))
        await transaction.commit()
        return found

    return await db.transact(tenant, work)


async def wait_for(db: Database, tenant: TenantId, zone: ZoneId, places: Sequence[Place]) -> None:
    """Wait until those who have these seats locked now are done with them. Locks them one after the other, by id, in a
    transaction that holds nothing else. Raises Unavailable when that takes too long."""

    async def work(transaction: Transaction) -> None:
        await transaction.read((WAIT, _values(tenant, zone, places[:_MOST_WAITED_FOR])))
        await transaction.commit()

    await db.transact(tenant, work)


class _Picking:
    """One search for seats, which remembers those that were not to be had."""

    def __init__(
        self, transaction: Transaction, tenant: TenantId, zone: ZoneId, quantity: int, besides: list[SeatId]
    ) -> None:
        self._transaction, self._tenant, self._zone, self._quantity = transaction, tenant, zone, quantity
        self._besides, self._missed = besides, dict[Place, None]()

    async def look(self, most: int | None) -> _Seen:
        """What is free among the first so many, or in all."""
        values = {"tenant": self._tenant, "zone": self._zone, "quantity": self._quantity, "besides": self._besides}
        [rows] = await self._transaction.read((FRONT if most else WHOLE, {**values, "most": most}))
        runs = [Run(row["rank"], row["first"], row["length"], row["ends"]) for row in rows if row["rank"] is not None]
        head = rows[0]
        return _Seen(runs, head["free"], head["shorter"] or 0, everything=not head["cut"])

    async def lock_one_of(self, runs: list[Run]) -> list[SeatId]:
        """The best block of these runs that could be locked; empty when none could."""
        runs, at_once = without(runs, self._missed), iter(_AT_ONCE)
        while tried := blocks(runs, self._quantity, next(at_once, _AT_ONCE[-1])):
            had = await self._lock([place for block in tried for place in block.places])
            for block in tried:
                if seats := _of(block, had):
                    return seats
            self._missed.update(dict.fromkeys(place for block in tried for place in block.places if place not in had))
            runs = without(runs, self._missed)
        return []

    async def nothing(self, seen: _Seen) -> NotTogether:
        """What to say of it."""
        [rows] = await self._transaction.read((FREE_AT, {"tenant": self._tenant, "zone": self._zone}))
        most = max(seen.shorter, largest(without(seen.runs, self._missed)))
        most = min(most, self._quantity - 1, MAX_TOGETHER)
        return NotTogether(self._quantity, seen.free, most, list(self._missed), rows[0]["free_at"])

    async def _lock(self, places: Sequence[Place]) -> dict[Place, SeatId]:
        [rows] = await self._transaction.read((LOCK_FREE, _values(self._tenant, self._zone, places)))
        return {(row["rank"], row["number"]): SeatId(row["id"]) for row in rows}


def _of(block: Block, had: dict[Place, SeatId]) -> list[SeatId]:
    seats = [had[place] for place in block.places if place in had]
    return seats if len(seats) == block.length else []


def _values(tenant: TenantId, zone: ZoneId, places: Sequence[Place]) -> dict[str, Any]:
    ranks, numbers = [rank for rank, _ in places], [number for _, number in places]
    return {"tenant": tenant, "zone": zone, "ranks": ranks, "numbers": numbers}
