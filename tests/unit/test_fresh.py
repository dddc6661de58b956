"""Answers that may be a moment old: one is made for all who ask at once, and none is kept for longer than it may be."""

from __future__ import annotations

import asyncio

import pytest

from api.fresh import MAX_AGE, Fresh


class Counting:
    """What makes answers: the first is 1. Each takes `cost` seconds of a clock that a test moves."""

    def __init__(self, cost: float) -> None:
        self.cost, self.now, self.made = cost, 0.0, 0
        self.go = asyncio.Event()
        self.go.set()
        self.fails = False

    async def make(self) -> int:
        await self.go.wait()
        self.now += self.cost
        if self.fails:
            raise ConnectionError
        self.made += 1
        return self.made


async def test_all_who_ask_at_once_get_one_answer() -> None:
    counting = Counting(0.01)
    counting.go.clear()
    fresh = Fresh[int]()
    asking = [asyncio.create_task(fresh.get("a", counting.make)) for _ in range(50)]
    await asyncio.sleep(0)
    counting.go.set()
    assert await asyncio.gather(*asking) == [1] * 50


async def test_an_answer_is_kept_for_twenty_times_its_cost() -> None:
    counting = Counting(0.01)
    fresh = Fresh[int](clock=lambda: counting.now)
    assert await fresh.get("a", counting.make) == 1
    counting.now = 0.19
    assert await fresh.get("a", counting.make) == 1
    counting.now = 0.2
    assert await fresh.get("a", counting.make) == 2


async def test_no_answer_is_older_than_the_greatest_age_counted_from_when_it_was_asked_for() -> None:
    counting = Counting(0.4)
    fresh = Fresh[int](clock=lambda: counting.now)
    await fresh.get("a", counting.make)
    counting.now = MAX_AGE - 0.001
    assert await fresh.get("a", counting.make) == 1
    counting.now = MAX_AGE
    assert await fresh.get("a", counting.make) == 2


async def test_keys_do_not_meet_and_the_oldest_goes_first() -> None:
    counting = Counting(1.0)
    fresh = Fresh[int](most=2, clock=lambda: 0.0)
    counting.cost = 0.0
    assert [await fresh.get(key, counting.make) for key in "abc"] == [1, 2, 3]
    assert len(fresh._kept) == 2


async def test_one_who_hangs_up_does_not_take_the_answer_from_the_others() -> None:
    counting = Counting(0.01)
    counting.go.clear()
    fresh = Fresh[int]()
    gone, stays = (asyncio.create_task(fresh.get("a", counting.make)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    counting.go.set()
    assert await stays == 1


async def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    counting = Counting(0.01)
    counting.fails = True
    fresh = Fresh[int](clock=lambda: counting.now)
    results = await asyncio.gather(*(fresh.get("a", counting.make) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionError] * 3
    counting.fails = False
    with pytest.raises(KeyError):
        _ = fresh._kept["a"]
    assert await fresh.get("a", counting.make) == 1
