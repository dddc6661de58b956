"""What a change of lines sees under its locks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from psycopg.rows import DictRow

from db.extend import held_until
from domain.checkout import CheckoutStatus, extended_end, is_over
from domain.ids import SeatId, ZoneId
from domain.messages import Changed, Line, LinesOutcome, Settled


@dataclass(frozen=True, slots=True)
class Asked:
    """A line to add, and its place in the request (1, 2, …): several seats can come of one line."""

    line: Line
    origin: int


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
        """The asked lines that cannot be had, each with `wanted`: what all lines of the same thing ask for."""
        wanted: Counter[tuple[int | None, ...]] = Counter()
        for row in self.found:
            wanted[_thing(row)] += row["quantity"]
        rows = [{**row, "wanted": wanted[_thing(row)]} for row in self.found]
        return [row for row in rows if row["fault"] or row["free"] < row["wanted"]]

    @property
    def new_end(self) -> datetime:
        """When the hold ends once lines were added: its hold time from now, within its maximum, never earlier."""
        row = self.row
        hold, maximum = timedelta(seconds=row["hold_seconds"]), timedelta(seconds=row["maximum_seconds"])
        return extended_end(self.look["now"], row["expires_at"], row["held_at"], hold, maximum)


def by_ids(asked: Asked, seats: Mapping[ZoneId | None, Iterator[SeatId]]) -> list[Asked]:
    """One line for each of the seats that were picked for this one; else the line as it is."""
    picked = seats.get(asked.line.zone_id)
    if picked is None or asked.line.seat_id is not None:
        return [asked]
    return [Asked(Line(None, 1, seat_id=seat), asked.origin) for seat in islice(picked, asked.line.quantity)]


def _thing(row: Mapping[str, Any]) -> tuple[int | None, ...]:
    return row["product_id"], row["zone_id"], row["seat_id"]
