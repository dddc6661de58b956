"""Seats together: which blocks of adjacent free seats to try, the best first. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

MAX_TOGETHER = 100
"""Seats that one line may ask for: as many as a checkout may have lines."""
Place = tuple[int, int]
"""Where a seat is within its zone: its row's rank, and its number."""


@dataclass(frozen=True, slots=True)
class Run:
    """Free seats side by side in one row: the numbers `first` to `first + length - 1`.

    `rank` orders the rows, the best has the lowest. `ends`: the row's lowest and highest number, added; half of it is
    the row's middle.
    """

    rank: int
    first: int
    length: int
    ends: int


@dataclass(frozen=True, slots=True)
class Block:
    """Seats to take together: the numbers `first` to `first + length - 1` of a row."""

    rank: int
    first: int
    length: int

    @property
    def places(self) -> list[Place]:
        """Each of its seats."""
        return [(self.rank, number) for number in range(self.first, self.first + self.length)]


def blocks(runs: Iterable[Run], quantity: int, most: int) -> list[Block]:
    """At most `most` blocks of so many seats, none sharing a seat with another: from the best row, and within a row
    those nearest to its middle, first. Not empty as long as any run is long enough.
    """
    rows = groupby(sorted(runs, key=lambda run: run.rank), key=lambda run: run.rank)
    return list(islice((block for _, row in rows for block in _of_row(list(row), quantity)), most))


def _of_row(runs: Sequence[Run], quantity: int) -> Iterator[Block]:
    def distance(first: int) -> tuple[int, int]:
        return abs(2 * first + quantity - 1 - runs[0].ends), first

    possible = [first for run in runs for first in range(run.first, run.first + run.length - quantity + 1)]
    taken: set[int] = set()
    for first in sorted(possible, key=distance):
        numbers = range(first, first + quantity)
        if taken.isdisjoint(numbers):
            taken.update(numbers)
            yield Block(runs[0].rank, first, quantity)


def without(runs: Iterable[Run], gone: Collection[Place]) -> list[Run]:
    """What is left of the runs when these seats are not to be had."""
    return [piece for run in runs for piece in _pieces(run, gone)]


def _pieces(run: Run, gone: Collection[Place]) -> Iterator[Run]:
    start = run.first
    for number in range(run.first, run.first + run.length + 1):
        if number == run.first + run.length or (run.rank, number) in gone:
            if number > start:
                yield Run(run.rank, start, number - start, run.ends)
            start = number + 1


def largest(runs: Iterable[Run]) -> int:
    """How many seats the longest run has; 0 without any."""
    return max((run.length for run in runs), default=0)
