"""What a change of lines sees under its locks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import DictRow

from db.asked import Asked, by_thing
from db.extend import held_until
from domain.checkout import CheckoutStatus, extended_end, is_over
from domain.messages import Changed, LinesOutcome, Settled


@dataclass(frozen=True, slots=True)
class Seen:
    """What the locks show: the checkout's row, a row for each asked line (or the line to take out), and the rest."""

    row: DictRow
    look: DictRow
    asked: list[Asked]
    found: list[DictRow]

    @property
    def now_held(self) -> Settled:
        """What the row says, as long as nothing is written."""
        status = CheckoutStatus(self.row["status"])
        if status is not CheckoutStatus.HELD:
            return Settled(status=status)
        return held_until(self.row["expires_at"], self.look["now"])

    @property
    def stands(self) -> Changed | None:
        """What was decided before, or that there is no live hold to change."""
        if self.look["repeated"]:
            return Changed(LinesOutcome.REFUSED if self.look["refusal"] else LinesOutcome.DONE, self.now_held)
        if self.row["status"] != CheckoutStatus.HELD or is_over(self.look["now"], self.row["expires_at"]):
            return Changed(LinesOutcome.OVER, self.now_held)
        return None

    @property
    def short(self) -> list[dict[str, Any]]:
        """What is asked for and cannot be had, once each, with `wanted`: what all lines of it ask for."""
        return [row for row in by_thing(self.found) if row["fault"] or row["free"] < row["wanted"]]

    @property
    def new_end(self) -> datetime:
        """When the hold ends once lines were added: its hold time from now, within its maximum, never earlier."""
        row = self.row
        hold, maximum = timedelta(seconds=row["hold_seconds"]), timedelta(seconds=row["maximum_seconds"])
        return extended_end(self.look["now"], row["expires_at"], row["held_at"], hold, maximum)
