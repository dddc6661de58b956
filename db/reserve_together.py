"""Reserve with seats that are still to be picked: "n together in this zone", beside any other lines, all or nothing.

One transaction: the checkout and its counters are locked, then the stock items of the other lines by id, then the
picked seats, for which nobody waits; then the ordinary reserve holds them all by their ids. When there are not so many
together, whoever has such seats locked is waited for once, outside of it, and the holds that are over are ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from psycopg.types.json import Jsonb

from db.asked import Asked, asked_values, by_ids, summed
from db.database import Database, Rows, Statement, Transaction
from db.reserve_sql import LOCK_ITEMS, LOCK_NEW
from db.together import NotTogether, Picked, pick_together, wait_for
from domain.checkout import CheckoutStatus
from domain.ids import SeatId, ZoneId
from domain.messages import StartCheckout

MAX_ROUNDS = 4
"""Tries before a refusal stands: one after waiting, and as many as the ordinary reserve frees overdue holds."""
Statements = Callable[[StartCheckout, bool], list[Statement]]
"""The statements of the ordinary reserve, for these lines, final or not: the last two hold, and read the outcome."""


async def reserve_together(
    db: Database,
    start: StartCheckout,
    zones: set[ZoneId],
    statements: Statements,
    free_overdue: Callable[[], Awaitable[bool]],
) -> list[Rows]:
    """Hold the lines of a start, of which those of `zones` are for seats together; what the ordinary reserve reads.

    Runs any number of times with one effect. `free_overdue` ends what is over in the way; whether there was any.
    """
    waited, lacking = False, dict[ZoneId, NotTogether]()
    for _ in range(MAX_ROUNDS):
        attempt = _Attempt(start, zones, statements, final=False)
        results = await db.transact(start.tenant, attempt.work)
        if attempt.decided:
            return results
        contested = {zone: found.contested for zone, found in attempt.lacking.items() if found.contested}
        if contested and not waited:
            waited = True
            for zone, places in contested.items():
                await wait_for(db, start.tenant, zone, places)
        elif not await free_overdue():
            lacking = {zone: found for zone, found in attempt.lacking.items() if not found.contested}
            break
    return await db.transact(start.tenant, _Attempt(start, zones, statements, final=True, lacking=lacking).work)


@dataclass
class _Attempt:
    """One attempt, whatever number of times its transaction is run. `final`: what is not to be had now is refused.

    `lacking`: what was not found together. A final attempt is given what the last one did not find, though nobody was
    in its way, and does not look for it again: in a large zone without two seats side by side that takes longest.
    """

    start: StartCheckout
    zones: set[ZoneId]
    statements: Statements
    final: bool
    decided: bool = False
    lacking: dict[ZoneId, NotTogether] = field(default_factory=dict)

    async def work(self, transaction: Transaction) -> list[Rows]:
        """Pick, hold and commit. Gives what the statement of the outcome reads."""
        ordinary = self.statements(self.start, self.final)
        if not await self._open(transaction, ordinary):
            self.decided = True
            return await transaction.commit(ordinary[-1])
        picked = await self._pick(transaction)
        self.lacking = {zone: found for zone, found in picked.items() if isinstance(found, NotTogether)}
        if self.lacking and not self.final:
            return await transaction.commit(ordinary[-1])
        results = await transaction.commit(*self._hold(picked))
        self.decided = bool(results[-1]) and results[-1][0]["status"] != CheckoutStatus.NEW
        return results

    async def _open(self, transaction: Transaction, ordinary: list[Statement]) -> bool:
        """Begin, with everything locked that comes before the seats; whether the checkout is still to be decided."""
        (opening, values), *before = ordinary[:-2]
        others = asked_values([line for line in self.start.lines if line.zone_id not in self.zones])
        _, new, *_ = await transaction.read(
            (opening, values), (LOCK_NEW, values), *before, (LOCK_ITEMS, {**values, **others})
        )
        return bool(new)

    async def _pick(self, transaction: Transaction) -> dict[ZoneId, Picked | NotTogether]:
        taken = [line.seat_id for line in self.start.lines if line.seat_id is not None]
        return {
            line.zone_id: known
            or await pick_together(transaction, self.start.tenant, line.zone_id, line.quantity, besides=taken)
            for line in summed(self.start.lines)
            if line.zone_id in self.zones and line.seat_id is None
            for known in [self.lacking.get(line.zone_id) if self.final else None]
        }

    def _hold(self, picked: Mapping[ZoneId, Picked | NotTogether]) -> list[Statement]:
        """The ordinary reserve, with the picked seats by their ids in the places of their lines."""
        seats: dict[ZoneId | None, Iterator[SeatId]] = {
            zone: iter(found.seats) for zone, found in picked.items() if isinstance(found, Picked)
        }
        asked = [each for place, line in enumerate(self.start.lines, 1) for each in by_ids(Asked(line, place), seats)]
        by_id = replace(self.start, lines=[each.line for each in asked])
        *_, (hold, values), outcome = self.statements(by_id, self.final)
        together = {str(zone): found.shortage for zone, found in self.lacking.items()}
        origins = [each.origin for each in asked]
        return [(hold, {**values, "together": Jsonb(together), "origins": origins}), outcome]
