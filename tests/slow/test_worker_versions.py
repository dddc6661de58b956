"""Worker versions on a real server: nothing is current until a build is promoted, and held checkouts stay on theirs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

import worker
from activities.deployments import current_build, promote
from activities.fulfilment.starting import Fulfilling
from db.database import Database
from db.invariants import check
from domain.errors import Unavailable
from domain.ids import BuyerKey, CheckoutId, ProductId, TenantId
from domain.messages import CancelUpdate, CheckoutResult, Line, StartCheckout, Started
from domain.naming import CANCEL_UPDATE, RESERVE_UPDATE, checkout_workflow_id
from tests.support import servers, shop
from workflows.checkout import CheckoutWorkflow

pytestmark = pytest.mark.slow
QUEUE = "versions"


@asynccontextmanager
async def private_client(folder: Path) -> AsyncIterator[Client]:
    server = servers.private_temporal(folder)
    server.start()
    try:
        yield await Client.connect(server.address)
    finally:
        server.stop()


async def test_a_promoted_build_takes_new_checkouts_and_a_held_one_stays_where_it_began(
    database_url: str, server_folder: Path
) -> None:
    async with shop.connect(database_url) as connection:
        tenant = await shop.make_tenant(connection)
        product = await shop.make_product(connection, tenant)
    db = Database(database_url)
    await db.open()
    async with private_client(server_folder) as client:
        activities = worker.all_activities(db, database_url, client, QUEUE, {}, Fulfilling(client, QUEUE))
        assert await current_build(client) is None
        with pytest.raises(Unavailable):
            await promote(client, "one", patience=0.5)
        async with worker.make_worker(client, QUEUE, activities, build_id="one"):
            await promote(client, "one", patience=20)
            assert await current_build(client) == "one"
            held = await start(client, tenant, product)
            async with worker.make_worker(client, QUEUE, activities, build_id="two"):
                await promote(client, "two", patience=20)
                new = await start(client, tenant, product)
                assert (await build_of(client, held), await build_of(client, new)) == ("one", "two")
                for workflow_id in (held, new):
                    handle = client.get_workflow_handle(workflow_id, result_type=CheckoutResult)
                    await handle.execute_update(CANCEL_UPDATE, CancelUpdate("f" * 64))
                    assert (await handle.result()).status == "cancelled"
    await db.close()
    assert await check(database_url, quiet=True) == []


async def start(client: Client, tenant: TenantId, product: ProductId) -> str:
    """Hold one unit. The workflow's id."""
    now = datetime.now(UTC)
    start = StartCheckout(
        tenant,
        CheckoutId(str(uuid.uuid4())),
        BuyerKey("user:1"),
        [Line(product, 1)],
        "f" * 64,
        now + timedelta(seconds=20),
    )
    workflow_id = checkout_workflow_id(tenant, start.checkout_id)
    started: Started = await client.execute_update_with_start_workflow(
        RESERVE_UPDATE,
        result_type=Started,
        start_workflow_operation=WithStartWorkflowOperation(
            CheckoutWorkflow.run,
            start,
            id=workflow_id,
            task_queue=QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        ),
    )
    assert started.status == "held"
    return workflow_id


async def build_of(client: Client, workflow_id: str) -> str:
    """The build that the run is pinned to."""
    described = await client.get_workflow_handle(workflow_id).describe()
    return described.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id
