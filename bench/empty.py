"""The yardsticks: an update-with-start that does nothing, and an update on a running workflow that does nothing."""

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


@workflow.defn(name="Running")
class RunningWorkflow:
    """Answers updates until it is told to end."""

    def __init__(self) -> None:
        self._ended = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._ended)
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    async def nothing(self) -> int:
        """One."""
        return 1

    @workflow.signal
    async def end(self) -> None:
        """Nobody asks any more."""
        self._ended = True
