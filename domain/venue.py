"""The rules of events and their zones: how seats are numbered, and how many there may be. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.errors import Invalid

MAX_SEATS = 50_000
"""Of one zone."""
MAX_ROWS = 2_000
MAX_ROW_NAME = 20
MAX_SEAT_NUMBER = 100_000
MAX_BLOCKED_AT_ONCE = 1_000
MAX_ZONES = 200
"""Of one event: they are read together."""


@dataclass(frozen=True, slots=True)
class SeatRow:
    """Seats side by side: the numbers `first` to `last` of the row `name`."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class PlannedSeat:
    """Where a seat will be: its row's name and rank (1 is the best), and its number."""

    row: str
    rank: int
    number: int


def planned_seats(rows: Sequence[SeatRow]) -> list[PlannedSeat]:
    """Every seat of a numbered zone, row after row in the order in which their names first come, by number.

    A row may come in parts, with gaps between them. Raises Invalid, naming `rows`, for a part that is turned round, a
    seat that comes twice, and for more than MAX_SEATS.
    """
    if any(row.last < row.first for row in rows):
        raise _bad("A row ends before it begins", "Let `to` be at least `from`")
    if sum(row.last - row.first + 1 for row in rows) > MAX_SEATS:
        raise _bad(f"These are more than {MAX_SEATS} seats", "Make several zones")
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys(row.name for row in rows), start=1)}
    places = [(ranks[row.name], number, row.name) for row in rows for number in range(row.first, row.last + 1)]
    if len(set(places)) < len(places):
        raise _bad("A seat comes twice", "Let the parts of a row not overlap")
    return [PlannedSeat(name, rank, number) for rank, number, name in sorted(places)]


def _bad(message: str, fix: str) -> Invalid:
    return Invalid(f"{message}.", errors=[{"field": "rows", "message": message, "fix": fix}])
