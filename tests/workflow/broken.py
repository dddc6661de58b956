"""A checkout whose code was changed without a patch, to show that the replay sees it."""

from __future__ import annotations

from temporalio import workflow

from domain.messages import CheckoutResult, StartCheckout
from domain.naming import CHECKOUT
from workflows.checkout import CheckoutWorkflow


@workflow.defn(name=CHECKOUT)
class BrokenCheckoutWorkflow(CheckoutWorkflow):
    """Waits a second before it reserves."""

    @workflow.init
    def __init__(self, start: StartCheckout) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartCheckout) -> CheckoutResult:
        await workflow.sleep(1)
        return await super().run(start)
