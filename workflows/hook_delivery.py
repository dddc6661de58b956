"""A message for a tenant's endpoint: tried until it gets through, with growing pauses, for days."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from activities import names
from domain.hooks import FIRST_PAUSE, LONGEST_PAUSE, PAUSES_GROW, SEND_SECONDS, TRIED_FOR, HookRef, HookResult
from domain.naming import HOOK_DELIVERY

_TRIES = RetryPolicy(initial_interval=FIRST_PAUSE, backoff_coefficient=PAUSES_GROW, maximum_interval=LONGEST_PAUSE)
_ATTEMPT = timedelta(seconds=SEND_SECONDS + 15)
_OWN = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5))


@workflow.defn(name=HOOK_DELIVERY)
class HookDeliveryWorkflow:
    """One run for one message and replay. The message's row decides; the order of messages is not kept."""

    @workflow.run
    async def run(self, ref: HookRef) -> HookResult:
        try:
            result: HookResult = await workflow.execute_activity(
                names.SEND_HOOK,
                ref,
                result_type=HookResult,
                start_to_close_timeout=_ATTEMPT,
                schedule_to_close_timeout=TRIED_FOR,
                retry_policy=_TRIES,
                summary="Send it until it gets through",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            result = await workflow.execute_activity(
                names.GIVE_UP_HOOK,
                ref,
                result_type=HookResult,
                start_to_close_timeout=_ATTEMPT,
                retry_policy=_OWN,
                summary="Give up",
            )
        return result
