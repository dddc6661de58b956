"""Making events and zones: each gets the id that was chosen or the next number, and is made once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from db.database import Transaction
from db.event_admin_sql import QUEUE
from domain.errors import Conflict, NotFound
from domain.ids import TenantId


@dataclass
class Numbered:
    """One creation, whatever number of attempts it takes: an attempt whose answer was lost is found by what it made.

    `number`: the statement that finds the next one. `exists`: raised for a chosen id that is taken.
    """

    tenant: TenantId
    chosen: int | None
    number: str
    exists: Conflict
    made: tuple[int, datetime] | None = field(default=None, init=False)

    async def make(self, transaction: Transaction, write: Callable[[int, datetime], Awaitable[None]]) -> int:
        """The id of what is made. `write` (with the id and the time) writes it, unless an earlier attempt did."""
        made_id, made_at = self.made or (None, None)
        values = {"tenant": self.tenant, "chosen": self.chosen, "made_id": made_id, "made_at": made_at}
        _, found = await transaction.read((QUEUE, values), (self.number, values))
        if not found:
            raise NotFound("There is no such tenant.")
        [row] = found
        if row["made"] is not None:
            return int(row["made"])
        if row["taken"]:
            raise self.exists
        made = self.made = self.chosen or int(row["next"]), row["now"]
        await write(*made)
        return made[0]
