"""Which seats together are tried, and in which order; against all that there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.adjacency import Block, Place, Run, blocks, largest, without

ROWS, SEATS = 3, 12
free_places = st.sets(st.tuples(st.integers(1, ROWS), st.integers(1, SEATS)))


def runs_of(free: set[Place]) -> list[Run]:
    """The runs of a zone of ROWS rows of SEATS seats, as the database reads them."""
    found = []
    for rank, number in sorted(free):
        if (rank, number - 1) not in free:
            length = next(n for n in range(1, SEATS + 2) if (rank, number + n) not in free)
            found.append(Run(rank, number, length, 1 + SEATS))
    return found


def all_blocks(free: set[Place], quantity: int) -> list[Block]:
    """Every block there is, best first: by row, then by how far its middle is from the row's."""
    every = [Block(rank, first, quantity) for rank in range(1, ROWS + 1) for first in range(1, SEATS + 1)]
    there = [block for block in every if free >= set(block.places)]
    return sorted(there, key=lambda one: (one.rank, abs(one.first + (quantity - 1) / 2 - (1 + SEATS) / 2), one.first))


def test_the_first_choice_is_the_middle_of_the_best_row() -> None:
    whole_house = {(rank, number) for rank in range(1, ROWS + 1) for number in range(1, SEATS + 1)}
    assert [block.places for block in blocks(runs_of(whole_house), 2, 3)] == [
        [(1, 6), (1, 7)],
        [(1, 4), (1, 5)],
        [(1, 8), (1, 9)],
    ]


def test_a_gap_is_not_crossed() -> None:
    row = Run(1, 1, 3, 13), Run(1, 5, 2, 13), Run(2, 1, 12, 13)
    assert blocks(row, 4, 1) == [Block(2, 5, 4)]
    assert blocks(row, 13, 1) == []


@given(free_places, st.integers(1, SEATS + 1))
def test_the_first_choice_is_the_best_there_is(free: set[Place], quantity: int) -> None:
    assert blocks(runs_of(free), quantity, 1) == all_blocks(free, quantity)[:1]


@given(free_places, st.integers(1, SEATS), st.integers(1, 20))
def test_choices_are_free_share_no_seat_and_come_in_order(free: set[Place], quantity: int, most: int) -> None:
    chosen = blocks(runs_of(free), quantity, most)
    places = [place for block in chosen for place in block.places]
    assert len(chosen) <= most
    assert len(places) == len(set(places)) == quantity * len(chosen)
    assert set(places) <= free
    order = all_blocks(free, quantity)
    assert [order.index(block) for block in chosen] == sorted(order.index(block) for block in chosen)


@given(free_places, st.integers(1, SEATS))
def test_with_no_limit_nothing_that_fits_is_left(free: set[Place], quantity: int) -> None:
    chosen = blocks(runs_of(free), quantity, ROWS * SEATS)
    left = free - {place for block in chosen for place in block.places}
    assert all_blocks(left, quantity) == []


@given(free_places, free_places)
def test_without_some_seats_the_runs_are_those_of_the_rest(free: set[Place], gone: set[Place]) -> None:
    assert without(runs_of(free), gone) == runs_of(free - gone)


@given(free_places)
def test_the_largest_is_what_can_still_be_had_together(free: set[Place]) -> None:
    size = largest(runs_of(free))
    assert size == max((n for n in range(1, SEATS + 1) if all_blocks(free, n)), default=0)
