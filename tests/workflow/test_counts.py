"""What a checkout costs in Temporal: events, workflow tasks, state transitions, bytes. Independent of the machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from temporalio.api.enums.v1 import EventType

from domain.messages import Answer, Line
from tests.support.checkouts import a_start
from tests.support.paths import PATHS, Run
from tests.support.till import Till, a_till

KIB = 1024


@dataclass(frozen=True)
class Cost:
    """Of one run, as the server counts."""

    events: int
    tasks: int
    transitions: int
    size: int


MOST = {
    "paid": Cost(15, 2, 6, 4 * KIB),
    "confirmed_with_a_known_payment": Cost(17, 2, 6, 4 * KIB),
    "confirmed_after_asking_the_gateway": Cost(23, 3, 10, 5 * KIB),
    "cancelled": Cost(16, 2, 6, 4 * KIB),
    "expired": Cost(14, 2, 6, 4 * KIB),
    "refused": Cost(8, 1, 4, 4 * KIB),
}
LINES = 50


@pytest.fixture
async def till(database_url: str, temporal_address: str, temporal_namespace: str) -> AsyncIterator[Till]:
    """A shop of 50 products with holds of 2 seconds. Its name counts, too: it is in every event."""
    async with a_till(
        database_url, temporal_address, temporal_namespace, tenant="shop", products=LINES,
        hold_seconds=2, extension_seconds=2, maximum_seconds=60,
    ) as till:  # fmt: skip
        yield till


async def cost(run: Run) -> Cost:
    info = (await run.describe()).raw_description.workflow_execution_info
    kinds = [event.event_type for event in (await run.fetch_history()).events]
    tasks = kinds.count(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    return Cost(len(kinds), tasks, info.state_transition_count, info.history_size_bytes)


@pytest.mark.parametrize("path", list(MOST))
async def test_a_run_costs_no_more_than_designed(till: Till, path: str) -> None:
    found, most = await cost(await PATHS[path](till)), MOST[path]
    print(path, found)
    assert found.events <= most.events
    assert found.tasks <= most.tasks
    assert found.transitions <= most.transitions
    assert found.size <= most.size


async def test_each_extension_costs_at_most_eight_events(till: Till) -> None:
    plain = await cost(await PATHS["paid"](till))
    extended = await cost(await PATHS["extended_twice_then_paid"](till))
    assert extended.events - plain.events <= 2 * 8


async def test_each_change_of_lines_and_the_extension_of_its_own_cost_at_most_eight_events(till: Till) -> None:
    plain, cancelled = await cost(await PATHS["paid"](till)), await cost(await PATHS["cancelled"](till))
    changed = await cost(await PATHS["lines_added_and_taken_out_then_paid"](till))
    assert changed.events - plain.events <= 2 * 8
    refused = await cost(await PATHS["lines_refused_then_last_line_taken_out"](till))
    assert refused.events - cancelled.events <= 8
    assert refused.size < 6 * KIB
    extended = await cost(await PATHS["extended_itself_then_paid"](till))
    assert extended.events - plain.events <= 8 + 4  # The second event is a signal and a task that finds nothing to do.


async def test_adding_many_lines_costs_no_more_than_adding_one(till: Till) -> None:
    costs = []
    for lines in (till.products[1:2], till.products[1:]):
        held = await till.start()
        assert (await till.lines(held, *(Line(product, 1) for product in lines))).answer is Answer.DONE
        await till.cancel(held)
        await till.result(held)
        costs.append(await cost(till.handle(held)))
    one, many = costs
    assert (many.events, many.tasks, many.transitions) == (one.events, one.tasks, one.transitions)
    assert many.size - one.size < LINES * 64


async def test_no_count_grows_with_the_number_of_lines(till: Till) -> None:
    one = await cost(await PATHS["paid"](till))
    many = await cost(await PATHS["paid_with_every_product"](till))
    assert (many.events, many.tasks, many.transitions) == (one.events, one.tasks, one.transitions)
    assert many.size - one.size < LINES * 64  # A line is one JSON object: three ids, two of them null, a quantity.


async def test_a_run_can_be_found_and_understood_without_reading_code(till: Till) -> None:
    held = await till.start(a_start(till.tenant, {till.products[0]: 2}))
    description = await till.handle(held).describe()
    assert await description.static_summary() == "2 units of 1 product, 20.00 COP"
    attributes = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    assert (attributes["HoldfastTenant"], attributes["HoldfastAmount"]) == (till.tenant, 2000)
    assert "user:1" not in str(attributes["HoldfastBuyer"])
    assert "HoldfastEnd" in attributes
    [started, *_] = (await till.handle(held).fetch_history()).events
    assert started.workflow_execution_started_event_attributes.priority.fairness_key == till.tenant
    await till.cancel(held)
    await till.result(held)
