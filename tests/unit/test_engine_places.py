"""Starts take a place of their own tenant's before Temporal is asked, and give it back however that ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import Client

from api.engine import Engine, Outlook
from api.fair_places import FairPlaces
from domain.errors import Unavailable
from domain.ids import BuyerKey, CheckoutId, ProductId, TenantId
from domain.messages import Line, StartCheckout, Started, StartStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CROWD, QUIET = TenantId("crowd"), TenantId("quiet")


class SlowTemporal(Client):
    """Takes down who asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: list[asyncio.Future[Started]] = []

    async def execute_update_with_start_workflow(self, *_: Any, **given: Any) -> Started:  # type: ignore[override]
        """Waits for `answer`."""
        start = given["start_workflow_operation"]._start_workflow_input.args[0]
        self.asked.append(start.tenant)
        self._answers.append(asyncio.get_running_loop().create_future())
        return await self._answers[-1]

    async def answer(self, number: int) -> None:
        """To the one that asked as the `number`-th."""
        self._answers[number].set_result(Started(StartStatus.STORED, NOW))
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def come(engine: Engine, tenant: TenantId) -> asyncio.Task[Started]:
    start = StartCheckout(tenant, CheckoutId("c"), BuyerKey("user:u"), [Line(ProductId(1), 1)], "f", NOW)
    return asyncio.create_task(engine.start(start, Outlook(start.lines, 1, "COP", NOW)))


async def test_a_quiet_tenants_start_is_the_next_but_one_however_many_of_the_crowd_wait() -> None:
    temporal = SlowTemporal()
    engine = Engine(temporal, "queue", b"k" * 32, FairPlaces(2, most_waiting=50))
    crowd = [come(engine, CROWD) for _ in range(40)]
    await settle()
    quiet = come(engine, QUIET)
    await settle()
    assert temporal.asked == [CROWD, CROWD]
    await temporal.answer(0)
    await temporal.answer(1)
    assert temporal.asked == [CROWD, CROWD, CROWD, QUIET]
    await temporal.answer(3)
    assert (await quiet).start is StartStatus.STORED
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


async def test_a_crowd_past_its_queue_is_refused_at_once_and_nobody_else() -> None:
    temporal = SlowTemporal()
    engine = Engine(temporal, "queue", b"k" * 32, FairPlaces(1, most_waiting=1))
    held, waits, refused = (come(engine, CROWD) for _ in range(3))
    await settle()
    quiet = come(engine, QUIET)
    await settle()
    assert (held.done(), waits.done(), refused.done(), quiet.done()) == (False, False, True, False)
    with pytest.raises(Unavailable, match="Too many checkouts"):
        await refused
    for number in range(3):
        await temporal.answer(number)
    assert [(await task).start for task in (held, waits, quiet)] == [StartStatus.STORED] * 3
    assert temporal.asked == [CROWD, CROWD, QUIET]


async def test_a_start_that_is_given_up_gives_its_place_back() -> None:
    places = FairPlaces(1)
    engine = Engine(SlowTemporal(), "queue", b"k" * 32, places)
    given_up = come(engine, CROWD)
    await settle()
    assert places.free == 0
    given_up.cancel()
    await settle()
    assert (given_up.cancelled(), places.free) == (True, 1)
