"""The hourly reconciliation: every tenant's payments at every gateway, held against ours."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from activities import names
from domain.naming import RECONCILE_PAYMENTS
from domain.reconciliation_messages import (
    LedgerReconciled,
    LedgerRef,
    Ledgers,
    LedgersAfter,
    Reconciled,
    ReconcileFrom,
)
from workflows.policies import Patience

LEDGER = Patience(timedelta(hours=1), RetryPolicy(initial_interval=timedelta(seconds=5), maximum_attempts=5))
"""An attempt goes on where the one before came to."""
LEDGER_HEARTBEAT = timedelta(minutes=1)
"""More than the slowest page."""
LIST = Patience(timedelta(seconds=30), RetryPolicy(initial_interval=timedelta(seconds=2), maximum_attempts=10))
AT_ONCE = 4
"""Ledgers: what is compared at once is kept from the buyers' own work."""


@workflow.defn(name=RECONCILE_PAYMENTS)
class ReconcilePaymentsWorkflow:
    """Run by a Schedule, one run at a time. One ledger's failure does not keep the others waiting."""

    @workflow.run
    async def run(self, start: ReconcileFrom | None = None) -> Reconciled:
        start = start or ReconcileFrom()
        ledgers = await self._ledgers(start.last)
        done = start.done
        limit = asyncio.Semaphore(AT_ONCE)
        for one in await asyncio.gather(*(self._reconcile(ledger, limit) for ledger in ledgers.ledgers)):
            done = done.plus(one)
        workflow.set_current_details(
            f"{done.compared} payments of {done.ledgers} ledgers compared, {done.repaired} repairs begun, "
            f"**{done.flagged} to look at**, {done.failed} ledgers could not be read"
        )
        if ledgers.more:
            workflow.continue_as_new(ReconcileFrom(ledgers.ledgers[-1], done))
        return done

    async def _ledgers(self, last: LedgerRef | None) -> Ledgers:
        found: Ledgers = await workflow.execute_activity(
            names.LEDGERS,
            LedgersAfter(last),
            result_type=Ledgers,
            start_to_close_timeout=LIST.attempt,
            retry_policy=LIST.retry,
            summary="List tenants and gateways",
        )
        return found

    async def _reconcile(self, ledger: LedgerRef, limit: asyncio.Semaphore) -> LedgerReconciled:
        async with limit:
            try:
                done: LedgerReconciled = await workflow.execute_activity(
                    names.RECONCILE_LEDGER,
                    ledger,
                    result_type=LedgerReconciled,
                    start_to_close_timeout=LEDGER.attempt,
                    heartbeat_timeout=LEDGER_HEARTBEAT,
                    retry_policy=LEDGER.retry,
                    summary=f"{ledger.tenant} at {ledger.gateway}",
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                workflow.logger.warning("the ledger could not be reconciled: the next run covers its window")
                return LedgerReconciled(failed=True)
        return done
