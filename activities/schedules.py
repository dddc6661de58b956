"""The Schedules page: what Temporal starts by the clock."""

from __future__ import annotations

from datetime import timedelta

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

from domain.naming import CONSISTENCY_CHECK

CONSISTENCY_CHECK_EVERY = timedelta(minutes=5)
CONSISTENCY_CHECK_ID = "consistency-check"


async def ensure_schedules(client: Client, task_queue: str) -> None:
    """Create the schedules, or bring them up to date. Any number of workers may do so at once."""
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            CONSISTENCY_CHECK,
            id=CONSISTENCY_CHECK_ID,
            task_queue=task_queue,
            static_summary="Mend what a lost run left behind",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=CONSISTENCY_CHECK_EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
    )

    def up_to_date(_: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=schedule)

    try:
        await client.create_schedule(CONSISTENCY_CHECK_ID, schedule)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(CONSISTENCY_CHECK_ID).update(up_to_date)
