"""The hourly reconciliation's workflow on a worker of its own, with ledgers that a test makes up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities import names
from domain.ids import GatewayName, TenantId
from domain.reconciliation_messages import LedgerReconciled, LedgerRef, Ledgers, LedgersAfter
from workflows.reconciliation import ReconcilePaymentsWorkflow
from workflows.runner import runner

QUEUE = "reconciling"


class MadeUp:
    """`ledgers`: what comes of each, by its tenant; None: it fails for good. One page has `page` of them."""

    def __init__(self, ledgers: Mapping[str, LedgerReconciled | None], page: int = 100) -> None:
        self._ledgers, self._page = ledgers, page
        self.reconciled: list[str] = []

    @activity.defn(name=names.LEDGERS)
    async def ledgers(self, after: LedgersAfter) -> Ledgers:
        """As the real one."""
        every = [LedgerRef(TenantId(name), GatewayName("sandbox")) for name in sorted(self._ledgers)]
        left = [one for one in every if after.last is None or one.tenant > after.last.tenant]
        return Ledgers(left[: self._page], more=len(left) > self._page)

    @activity.defn(name=names.RECONCILE_LEDGER)
    async def reconcile_ledger(self, ledger: LedgerRef) -> LedgerReconciled:
        """As the real one."""
        self.reconciled.append(ledger.tenant)
        done = self._ledgers[ledger.tenant]
        if done is None:
            raise ApplicationError("it cannot be read", type="internal_error", non_retryable=True)
        return done


@asynccontextmanager
async def reconciling(client: Client, made_up: MadeUp) -> AsyncIterator[None]:
    """A worker that takes the workflow from QUEUE."""
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[ReconcilePaymentsWorkflow],
        activities=[made_up.ledgers, made_up.reconcile_ledger],
        workflow_runner=runner(),
    ):
        yield
