"""Places among the starts in flight: bounded, fair between tenants, and none lost whoever gives up when."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pytest

from api.fair_places import FairPlaces
from domain.errors import Unavailable
from domain.ids import TenantId

A, B, C = TenantId("a"), TenantId("b"), TenantId("c")
NEVER = 3600.0


class Shop:
    """Tasks that each take a place and keep it until they are told to give it back."""

    def __init__(self, places: FairPlaces) -> None:
        self.places = places
        self.inside: list[str] = []
        """Who has a place, in the order in which they came to it."""
        self.history: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, tenant: TenantId, *names: str) -> None:
        """One after the other asks for a place."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._stay(tenant, name))
        await settle()

    async def go(self, *names: str) -> None:
        """They give their places back, one after the other."""
        for name in names:
            self._ends[name].set()
            await settle()

    async def give_up(self, name: str) -> None:
        """It is cancelled, wherever it is."""
        self._tasks[name].cancel()
        with suppress(asyncio.CancelledError):
            await self._tasks[name]

    def task(self, name: str) -> asyncio.Task[None]:
        return self._tasks[name]

    def end_without_waiting(self, name: str) -> None:
        """It gives its place back when the loop next runs."""
        self._ends[name].set()

    async def close(self) -> None:
        """Everybody goes; every place is then free, and nobody waits."""
        for end in self._ends.values():
            end.set()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _stay(self, tenant: TenantId, name: str) -> None:
        async with self.places.place(tenant):
            self.inside.append(name)
            self.history.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.inside.remove(name)


async def settle() -> None:
    """Until everything that can run has run."""
    for _ in range(8):
        await asyncio.sleep(0)


def shop(places: int, **more: float) -> Shop:
    return Shop(FairPlaces(places, **{"patience": NEVER, **more}))  # type: ignore[arg-type]


async def gone(one: Shop, places: int, *tenants: TenantId) -> None:
    """Nobody is left, and no place was lost or made."""
    await one.close()
    assert (one.inside, one.places.free) == ([], places)
    assert [one.places.waiting(tenant) for tenant in tenants] == [0] * len(tenants)


async def test_a_tenant_alone_has_every_place_and_no_more() -> None:
    one = shop(3)
    await one.come(A, "a1", "a2", "a3", "a4")
    assert (one.inside, one.places.free, one.places.waiting(A)) == (["a1", "a2", "a3"], 0, 1)
    await one.go("a2")
    assert one.inside == ["a1", "a3", "a4"]
    await gone(one, 3, A)


async def test_within_a_tenant_the_first_to_come_is_the_first_served() -> None:
    one = shop(1)
    await one.come(A, "a1", "a2", "a3", "a4")
    await one.go("a1", "a2", "a3")
    assert one.history == ["a1", "a2", "a3", "a4"]
    await gone(one, 1, A)


async def test_who_comes_last_from_another_tenant_waits_for_one_place_not_for_the_whole_queue() -> None:
    one = shop(2)
    await one.come(A, *(f"a{number}" for number in range(8)))
    await one.come(B, "b")
    await one.go("a0")
    assert one.history == ["a0", "a1", "a2"]  # It was the turn of A, which had come before.
    await one.go("a1")
    assert one.history[-1] == "b"
    await gone(one, 2, A, B)


async def test_places_go_round_the_tenants_that_wait() -> None:
    one = shop(1)
    await one.come(A, "a0", "a1", "a2", "a3", "a4")
    await one.come(B, "b1", "b2")
    await one.come(C, "c1")
    for name in ("a0", "a1", "b1", "c1", "a2", "b2", "a3"):
        await one.go(name)
    assert one.history == ["a0", "a1", "b1", "c1", "a2", "b2", "a3", "a4"]
    await gone(one, 1, A, B, C)


async def test_a_tenant_that_comes_back_queues_at_the_end_of_the_round() -> None:
    one = shop(1)
    await one.come(A, "a0", "a1", "a2")
    await one.come(B, "b1")
    await one.go("a0", "a1")  # B has the place; only A waits.
    await one.come(C, "c1")
    await one.come(B, "b2")
    await one.go("b1", "a2", "c1")
    assert one.history == ["a0", "a1", "b1", "a2", "c1", "b2"]
    await gone(one, 1, A, B, C)


async def test_a_full_queue_refuses_at_once_and_only_its_own_tenant() -> None:
    one = shop(1, most_waiting=2)
    await one.come(A, "a0", "a1", "a2", "a3")
    assert one.task("a3").done()
    with pytest.raises(Unavailable, match="Too many checkouts"):
        await one.task("a3")
    await one.come(B, "b1", "b2")
    assert (one.places.waiting(A), one.places.waiting(B)) == (2, 2)
    await one.go("a0", "a1")
    assert one.history == ["a0", "a1", "b1"]
    await gone(one, 1, A, B)


async def test_a_tenant_whose_queue_may_hold_nobody_still_has_free_places() -> None:
    one = shop(1, most_waiting=0)
    await one.come(A, "a0", "a1")
    with pytest.raises(Unavailable):
        await one.task("a1")
    assert (one.inside, one.places.waiting(A)) == (["a0"], 0)
    await one.go("a0")
    await one.come(A, "a2")
    assert one.inside == ["a2"]
    await gone(one, 1, A)


async def test_who_waits_too_long_is_refused_and_leaves_the_queue() -> None:
    one = shop(1, patience=0.02)
    await one.come(A, "a0", "a1")
    with pytest.raises(Unavailable, match="Too many checkouts"):
        await one.task("a1")
    assert one.places.waiting(A) == 0
    await one.go("a0")
    assert (one.history, one.places.free) == (["a0"], 1)
    await gone(one, 1, A)


async def test_who_gives_up_while_waiting_is_passed_over() -> None:
    one = shop(1)
    await one.come(A, "a0", "a1", "a2")
    await one.come(B, "b1")
    await one.give_up("a1")
    await one.give_up("b1")
    assert (one.places.waiting(A), one.places.waiting(B)) == (1, 0)
    await one.go("a0")
    assert one.history == ["a0", "a2"]
    await gone(one, 1, A, B)


async def test_who_gives_up_with_a_place_gives_it_to_the_next() -> None:
    one = shop(1)
    await one.come(A, "a0", "a1")
    await one.give_up("a0")
    await settle()
    assert one.inside == ["a1"]
    await gone(one, 1, A)


async def test_a_place_given_to_one_who_gives_up_in_that_moment_goes_on() -> None:
    one = shop(1)
    await one.come(A, "a0", "a1")
    await one.come(B, "b1")
    one.end_without_waiting("a0")
    for _ in range(8):
        if one.inside:
            await asyncio.sleep(0)
    assert not one.task("a1").done()  # The place is on its way to a1, which has not run since.
    one.task("a1").cancel()
    await settle()
    assert (one.task("a1").cancelled(), one.history) == (True, ["a0", "b1"])
    await gone(one, 1, A, B)


async def test_one_cancelled_but_not_run_since_does_not_swallow_a_place() -> None:
    one = shop(1)
    await one.come(A, "a0", "a1")
    await one.come(B, "b1")
    one.end_without_waiting("a0")
    one.task("a1").cancel()  # Its turn is cancelled at once; it leaves the queue only when it runs, after a0 has gone.
    await settle()
    assert (one.task("a1").cancelled(), one.history) == (True, ["a0", "b1"])
    await gone(one, 1, A, B)


async def test_an_error_inside_gives_the_place_back() -> None:
    places = FairPlaces(1)
    with pytest.raises(LookupError):
        async with places.place(A):
            raise LookupError
    assert places.free == 1


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_places_are_bounded_and_none_is_lost(seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    one, tenants = shop(3, most_waiting=4), (A, B, C)
    for number in range(300):
        name, tenant = f"n{number}", chance.choice(tenants)
        await _anything(chance, one, tenant, name)
        assert len(one.inside) <= 3
        waiting = sum(one.places.waiting(each) for each in tenants)
        assert not (waiting and one.places.free), "a free place, and somebody who waits"
        assert len(one.inside) + one.places.free == 3
    assert len(one.history) > 50
    await gone(one, 3, *tenants)


async def _anything(chance: random.Random, one: Shop, tenant: TenantId, name: str) -> None:
    """Somebody comes; or goes, or gives up, or both in one moment."""
    match chance.randrange(4):
        case 0 | 1:
            await one.come(tenant, name)
        case 2 if one.inside:
            one.end_without_waiting(chance.choice(one.inside))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            for doomed in _some(chance, list(one._tasks), 2):
                one.task(doomed).cancel()
        case 3:
            for doomed in _some(chance, list(one._tasks), 1):
                one.task(doomed).cancel()
    await settle()


def _some(chance: random.Random, names: Sequence[str], most: int) -> list[str]:
    return chance.sample(names, min(most, len(names)))


async def test_one_tenants_on_sale_takes_no_more_than_its_turn_from_another() -> None:
    """A has 64 starts waiting at any moment, B one: B's waits for at most one of A's, every time."""
    places, served = FairPlaces(4, patience=NEVER), Counter[TenantId]()
    ahead: list[int] = []

    async def one_after_the_other(tenant: TenantId, times: int) -> None:
        for _ in range(times):
            before = served[A]
            async with places.place(tenant):
                if tenant == B:
                    ahead.append(served[A] - before)
                served[tenant] += 1
                await asyncio.sleep(0)

    crowd = [asyncio.create_task(one_after_the_other(A, 50)) for _ in range(64)]
    await settle()
    await one_after_the_other(B, 100)
    assert max(ahead) <= 4 + 1, ahead
    await asyncio.gather(*crowd)
    assert served == {A: 64 * 50, B: 100}
