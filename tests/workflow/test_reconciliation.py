"""The hourly reconciliation's workflow: every ledger, one failure among them, and more of them than one run takes."""

from __future__ import annotations

import pytest
from temporalio.client import Client

from domain.naming import RECONCILE_PAYMENTS
from domain.reconciliation_messages import LedgerReconciled, Reconciled
from tests.support.ledgers import QUEUE, MadeUp, reconciling


@pytest.fixture
async def client(temporal_address: str, temporal_namespace: str) -> Client:
    return await Client.connect(temporal_address, namespace=temporal_namespace)


async def run(client: Client, made_up: MadeUp) -> Reconciled:
    """One run, to its end."""
    async with reconciling(client, made_up):
        done: Reconciled = await client.execute_workflow(
            RECONCILE_PAYMENTS, id="reconcile-payments", task_queue=QUEUE, result_type=Reconciled
        )
        return done


async def test_one_ledger_that_fails_does_not_keep_the_others_waiting(client: Client) -> None:
    fine = LedgerReconciled(compared=10, repaired=2, flagged=1)
    made_up = MadeUp({"a": fine, "b": None, "c": LedgerReconciled(compared=1, failed=True), "d": fine})
    assert await run(client, made_up) == Reconciled(ledgers=4, failed=2, compared=21, repaired=4, flagged=2)
    assert sorted(made_up.reconciled) == ["a", "b", "c", "d"]


async def test_many_ledgers_are_gone_through_by_runs_that_follow_each_other(client: Client) -> None:
    made_up = MadeUp({f"t{number:02}": LedgerReconciled(compared=number) for number in range(25)}, page=10)
    assert await run(client, made_up) == Reconciled(ledgers=25, compared=300)
    assert sorted(made_up.reconciled) == [f"t{number:02}" for number in range(25)]
    runs = [one async for one in client.list_workflows("WorkflowId = 'reconcile-payments'")]
    assert len(runs) == 3


async def test_no_ledgers_are_no_work(client: Client) -> None:
    assert await run(client, MadeUp({})) == Reconciled()
