"""The checkout for workers that have a build id."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import VersioningBehavior

from domain.messages import CheckoutResult, StartCheckout
from domain.naming import CHECKOUT
from workflows.checkout import CheckoutWorkflow


@workflow.defn(name=CHECKOUT, versioning_behavior=VersioningBehavior.PINNED)
class PinnedCheckoutWorkflow(CheckoutWorkflow):
    """The same, for workers that have a build id: a run stays on the build that began it.

    A class of its own, because the server refuses a versioning behaviour from a worker without versions.
    """

    @workflow.init
    def __init__(self, start: StartCheckout) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartCheckout) -> CheckoutResult:
        return await super().run(start)
