"""The schedules, as a worker makes them when it starts, on a real Temporal server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import cast

import pytest
from temporalio.client import (
    Client,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleIntervalSpec,
)
from temporalio.service import RPCError, RPCStatusCode

from activities import schedules
from activities.schedules import PLANNED, ensure_schedules
from domain.ids import TenantId
from domain.purging import Purged
from local.temporal import Temporal
from tests.support import servers, shop
from tests.support.till import TASK_QUEUE, a_till
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def temporal() -> Iterator[Temporal]:
    """A server of its own: the session's has no system workers, which schedules need."""
    folder = servers.new_folder()
    server = servers.private_temporal(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
async def client(temporal_address: str, temporal_namespace: str) -> Client:
    return await Client.connect(temporal_address, namespace=temporal_namespace)


async def described(client: Client, schedule: str) -> ScheduleDescription:
    return await client.get_schedule_handle(schedule).describe()


def every(description: ScheduleDescription) -> list[ScheduleIntervalSpec]:
    return list(description.schedule.spec.intervals)


async def test_they_run_as_often_as_they_should_and_say_what_for(client: Client) -> None:
    await ensure_schedules(client, TASK_QUEUE)
    hour = timedelta(hours=1)
    pauses = {"consistency-check": timedelta(minutes=5), "purge-tokens": hour, "reconcile-payments": hour}
    assert {planned.id for planned in PLANNED} == set(pauses)
    for name, pause in pauses.items():
        description = await described(client, name)
        assert every(description) == [ScheduleIntervalSpec(every=pause)]
        action = description.schedule.action
        assert isinstance(action, ScheduleActionStartWorkflow)
        assert action.task_queue == TASK_QUEUE


async def test_a_worker_that_starts_later_brings_them_up_to_date(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_schedules(client, "an old queue")
    await ensure_schedules(client, TASK_QUEUE)
    seldom = [schedules.Planned(one.id, one.workflow, timedelta(days=1), one.summary) for one in PLANNED]
    monkeypatch.setattr(schedules, "PLANNED", seldom)
    await ensure_schedules(client, TASK_QUEUE)
    for planned in PLANNED:
        description = await described(client, planned.id)
        assert every(description) == [ScheduleIntervalSpec(every=timedelta(days=1))]
        action = description.schedule.action
        assert isinstance(action, ScheduleActionStartWorkflow)
        assert action.task_queue == TASK_QUEUE


async def test_the_purge_that_the_schedule_starts_says_what_it_deleted(
    database_url: str, temporal_address: str, temporal_namespace: str
) -> None:
    async with a_till(database_url, temporal_address, temporal_namespace) as till:
        await till.admin.execute(
            "INSERT INTO sessions (tenant_id, id, expires_at) VALUES (%s, 'over', now() - '1 day'::interval)",
            (till.tenant,),
        )
        await revocation(till.admin, till.tenant, "over", "now() - '1 day'::interval")
        await revocation(till.admin, till.tenant, "later", "now() + '1 day'::interval")
        await ensure_schedules(till.client, TASK_QUEUE)
        schedule = till.client.get_schedule_handle("purge-tokens")
        await schedule.trigger()

        async def started() -> bool:
            return bool((await schedule.describe()).info.recent_actions)

        await eventually(started)
        [run] = (await schedule.describe()).info.recent_actions
        assert isinstance(run.action, ScheduleActionExecutionStartWorkflow)
        handle = till.client.get_workflow_handle(run.action.workflow_id, result_type=Purged)
        assert await handle.result() == Purged(revocations=1, sessions=1)
        assert "are over" in (await (await handle.describe()).static_summary() or "")
        assert await till.rows.value("SELECT id FROM revocations") == "later"


async def revocation(admin: shop.Connection, tenant: TenantId, name: str, end: str) -> None:
    await admin.execute(
        f"INSERT INTO revocations (tenant_id, id, reason, expires_at) VALUES (%s, %s, 'test', {end})", (tenant, name)
    )


async def test_a_server_that_is_slow_with_its_schedules_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def slow(_: object, task_queue: str) -> None:
        asked.append(task_queue)
        if len(asked) < 3:
            raise RPCError("Timeout expired", RPCStatusCode.CANCELLED, b"")

    monkeypatch.setattr(schedules, "ensure_schedules", slow)
    monkeypatch.setattr(schedules, "PAUSE_SECONDS", 0)
    await schedules.keep_trying(cast("Client", None), TASK_QUEUE)
    assert asked == [TASK_QUEUE] * 3
