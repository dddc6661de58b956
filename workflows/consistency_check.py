"""The scheduled consistency check: one activity that mends what a lost run left behind."""

from __future__ import annotations

from temporalio import workflow

from activities import names
from domain.messages import Repaired
from domain.naming import CONSISTENCY_CHECK
from workflows import policies


@workflow.defn(name=CONSISTENCY_CHECK)
class ConsistencyCheckWorkflow:
    """Run by a Schedule; expiry never waits for it."""

    @workflow.run
    async def run(self) -> Repaired:
        repaired: Repaired = await workflow.execute_activity(
            names.REPAIR,
            result_type=Repaired,
            start_to_close_timeout=policies.REPAIR.attempt,
            retry_policy=policies.REPAIR.retry,
            summary="Settle overdue holds, deliver unsettled payments",
        )
        return repaired
