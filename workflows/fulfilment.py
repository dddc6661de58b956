"""What happens after a sale: tickets, e-mail, notification, statistics. Nothing of it can undo the sale."""

from __future__ import annotations

import asyncio
import contextlib

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from activities import names
from domain.fulfilment import (
    ALWAYS,
    FulfilmentResult,
    FulfilOrder,
    GiveUp,
    OrderRef,
    Step,
    StepRequest,
    StepResult,
    StepStatus,
)
from domain.naming import FULFILMENT
from workflows import fulfilment_policies as policies
from workflows.fulfilment_policies import Way

TRIED_LONG_ENOUGH = "tried_for_days"


@workflow.defn(name=FULFILMENT)
class FulfilmentWorkflow:
    """One run per order; and one for each time that a step is asked for again (`FulfilOrder.step`).

    The steps' rows decide what is still to be done, so a second run of an order does only what is left.
    """

    @workflow.init
    def __init__(self, order: FulfilOrder) -> None:
        self._order = order
        self._steps: dict[Step, StepStatus] = {}
        self._details()

    @workflow.run
    async def run(self, order: FulfilOrder) -> FulfilmentResult:
        if order.step is not None:
            await self._do(order.step)
        else:
            await asyncio.gather(self._tickets_and_mail(), self._do(Step.NOTIFY), self._do(Step.STATISTICS))
        await self._close()
        return FulfilmentResult({step.value: status for step, status in self._steps.items()})

    async def _tickets_and_mail(self) -> None:
        """The e-mail waits for the tickets, but not for ever; if it went without them, they follow in another."""
        tickets = asyncio.create_task(self._do(Step.PDF))
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                tickets.done, timeout=policies.MAIL_WAITS, timeout_summary="The e-mail goes without the tickets"
            )
        mail = await self._do(Step.MAIL)
        made = await tickets
        if mail.status is StepStatus.DONE and not mail.with_tickets and made.status is StepStatus.DONE:
            await self._do(Step.TICKETS)

    async def _do(self, step: Step) -> StepResult:
        """One step, for as long as it is sensible; it never fails the run."""
        way = policies.STEPS[step]
        request = StepRequest(self._order.tenant, self._order.order_id, step, self._order.replay)
        self._steps[step] = StepStatus.PENDING
        self._details()
        try:
            result: StepResult = await self._activity(way, request, way.summary)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            gone = GiveUp(request, TRIED_LONG_ENOUGH)
            result = await self._activity(policies.CLOSING[names.GIVE_UP_STEP], gone, f"Give up: {way.summary}")
        self._steps[step] = result.status
        self._details()
        return result

    async def _activity(self, way: Way, argument: StepRequest | GiveUp, summary: str) -> StepResult:
        result: StepResult = await workflow.execute_activity(
            way.activity,
            argument,
            result_type=StepResult,
            start_to_close_timeout=way.patience.attempt,
            schedule_to_close_timeout=way.patience.altogether,
            retry_policy=way.patience.retry,
            summary=summary,
        )
        return result

    async def _close(self) -> None:
        way = policies.CLOSING[names.CLOSE_FULFILMENT]
        await workflow.execute_activity(
            way.activity,
            OrderRef(self._order.tenant, self._order.order_id),
            start_to_close_timeout=way.patience.attempt,
            retry_policy=way.patience.retry,
            summary=way.summary,
        )

    def _details(self) -> None:
        """What the Temporal UI shows of the run."""
        wanted = (self._order.step,) if self._order.step is not None else ALWAYS
        again = f" (replay {self._order.replay})" if self._order.replay else ""
        steps = [*wanted, *(step for step in self._steps if step not in wanted)]
        lines = [f"- {step}{again}: **{self._steps.get(step, StepStatus.PENDING)}**" for step in steps]
        workflow.set_current_details(f"Order `{self._order.order_id}`\n\n" + "\n".join(lines))
