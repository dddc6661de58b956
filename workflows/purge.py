"""The hourly purge: one activity that deletes the tokens, revocations and sessions that are over."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities import names
from domain.naming import PURGE_TOKENS
from domain.purging import Purged
from workflows.policies import Patience

PURGE = Patience(timedelta(minutes=10), RetryPolicy(initial_interval=timedelta(seconds=10), maximum_attempts=3))
"""What is left then, the next hour's run deletes."""


@workflow.defn(name=PURGE_TOKENS)
class PurgeTokensWorkflow:
    """Run by a Schedule. Nothing depends on it: what is over is refused whether or not its row is still there."""

    @workflow.run
    async def run(self) -> Purged:
        purged: Purged = await workflow.execute_activity(
            names.PURGE_TOKENS,
            result_type=Purged,
            start_to_close_timeout=PURGE.attempt,
            retry_policy=PURGE.retry,
            summary="Delete expired tokens, revocations and sessions",
        )
        return purged
