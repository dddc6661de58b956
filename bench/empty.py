"""The yardstick: an update-with-start that does nothing."""

from __future__ import annotations

from temporalio import workflow


@workflow.defn(name="Empty")
class EmptyWorkflow:
    """Answers its update and ends."""

    def __init__(self) -> None:
        self._answered = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._answered)
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    async def answer(self) -> int:
        """One."""
        self._answered = True
        return 1
