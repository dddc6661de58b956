"""The Schedules page: what Temporal starts by the clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from structlog import stdlib
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError

from domain.naming import CONSISTENCY_CHECK, PURGE_TOKENS, RECONCILE_PAYMENTS

PAUSE_SECONDS = 10
_log = stdlib.get_logger("schedules")


@dataclass(frozen=True)
class Planned:
    """A workflow that is started again and again, one run at a time. `id` names both schedule and run."""

    id: str
    workflow: str
    every: timedelta
    summary: str


PLANNED = (
    Planned("consistency-check", CONSISTENCY_CHECK, timedelta(minutes=5), "Mend what a lost run left behind"),
    Planned("purge-tokens", PURGE_TOKENS, timedelta(hours=1), "Delete tokens, revocations and sessions that are over"),
    Planned(
        "reconcile-payments",
        RECONCILE_PAYMENTS,
        timedelta(hours=1),
        "Hold the gateways' ledgers against ours, and mend",
    ),
)


async def ensure_schedules(client: Client, task_queue: str) -> None:
    """Create the schedules, or bring them up to date. Any number of workers may do so at once."""
    for planned in PLANNED:
        await _ensure(client, planned.id, _schedule(planned, task_queue))


async def keep_trying(client: Client, task_queue: str) -> None:
    """The same, until it is done: a server that is slow with its schedules must keep no worker from its checkouts."""
    while True:
        try:
            return await ensure_schedules(client, task_queue)
        except RPCError as error:
            _log.warning("schedules_not_made", error=error.message, again_in_seconds=PAUSE_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)


def _schedule(planned: Planned, task_queue: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            planned.workflow, id=planned.id, task_queue=task_queue, static_summary=planned.summary
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=planned.every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
    )


async def _ensure(client: Client, schedule_id: str, schedule: Schedule) -> None:
    def up_to_date(_: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=schedule)

    try:
        await client.create_schedule(schedule_id, schedule)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(schedule_id).update(up_to_date)
