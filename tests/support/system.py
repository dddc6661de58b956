"""A whole Holdfast for a test: API, worker and sandbox gateway, on real PostgreSQL and real Temporal.

    async with running_system(database_url, temporal_address, namespace, folder) as system: ...

At its end it waits until all is quiet and then runs the invariant checker, compares the outcomes with the gateway's own
ledger, looks for runs of finished checkouts (I5), and holds every answer that was seen against the OpenAPI document.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.worker import Worker

from activities.delivery import Delivery
from activities.fulfilment.starting import Fulfilling
from activities.gateways.registry import gateways_from
from activities.gateways.secrets import TenantSecrets
from activities.repair import Repair
from api.app import create_app, tokens_from
from api.tokens import Scope
from db.database import Database
from db.invariants import check, check_ledger
from db.keyring import KeyRing
from domain.ids import CheckoutId, ProductId, TenantId
from domain.naming import checkout_workflow_id
from local.ports import free_port
from settings import Settings
from tests.support import shop
from tests.support.api import api_settings, running_api, serving
from tests.support.buyers import Buyer
from tests.support.contract import Contract
from tests.support.fulfilment import NearRenderer, Pigeonhole, near_fulfilment
from tests.support.gateway import SECRET, RunningGateway, running_gateway
from worker import all_activities, make_fulfilment_worker, make_worker

DEMO = TenantId("demo")
"""Holds of 15 minutes."""
QUICK = TenantId("quick")
"""Holds of 2 seconds, extended by 2, at most 6; what is paid late is given back."""
OTHER = TenantId("other")
"""Somebody else's shop."""
QUIET_SECONDS = 20.0
_OURS_RUNNING = "ExecutionStatus = 'Running' AND WorkflowType IN ('Checkout', 'LatePayment', 'RefundOrder')"


class WorkerSwitch:
    """The worker of all parts, in this process, which a test may stop and start again."""

    def __init__(self, client: Client, task_queue: str, activities: Sequence[Any], fulfilment: Sequence[Any]) -> None:
        self._client, self._task_queue = client, task_queue
        self._activities, self._fulfilment = activities, fulfilment
        self._running: list[tuple[Worker, asyncio.Task[None]]] = []

    async def start(self) -> None:
        """Does nothing when it runs."""
        if not self._running:
            workers = [
                make_worker(self._client, self._task_queue, [*self._activities, *self._fulfilment]),
                make_fulfilment_worker(self._client, self._task_queue, self._fulfilment),
            ]
            self._running = [(worker, asyncio.create_task(worker.run())) for worker in workers]

    async def stop(self) -> None:
        """Drain and stop. Does nothing when it does not run."""
        for worker, running in self._running:
            await worker.shutdown()
            await running
        self._running = []


@dataclass
class System:
    """What a test needs of it. The tenants DEMO, QUICK and OTHER exist and have no products yet."""

    http: httpx.AsyncClient
    gateway: RunningGateway
    client: Client
    settings: Settings
    admin: shop.Connection
    worker: WorkerSwitch
    contract: Contract
    database: Database
    mail: Pigeonhole
    """Where e-mails go."""
    renderer: NearRenderer
    """What makes tickets."""
    unmatched: set[str] = field(default_factory=set)
    """Payments that name no checkout of their tenant: they stay captured and undecided, which is right."""
    without_run: set[str] = field(default_factory=set)
    """Checkouts whose run the test has ended by force."""

    @property
    def admin_url(self) -> str:
        return self.settings.admin_url

    def buyer(self, tenant: TenantId = DEMO, subject: str | None = None, *scopes: Scope) -> Buyer:
        """A buyer with a token, nobody in particular by default."""
        subject = subject or uuid.uuid4().hex[:12]
        token = tokens_from(self.settings).issue(tenant, subject, scopes or (Scope.BUYER,), 900)
        return Buyer(self.http, tenant, subject, {"authorization": f"Bearer {token}"})

    async def product(self, stock: int = 10, price: int = 1000, tenant: TenantId = DEMO, **more: Any) -> ProductId:
        """A new product."""
        return await shop.make_product(self.admin, tenant, stock=stock, price=price, **more)

    async def stock(self, product: ProductId, tenant: TenantId = DEMO) -> tuple[int, int, int]:
        """(free, reserved, sold) units as the stock item's row says."""
        cursor = await self.admin.execute(
            "SELECT s.total - s.reserved - s.sold, s.reserved, s.sold FROM stock_items s JOIN products p"
            " ON p.tenant_id = s.tenant_id AND p.stock_item_id = s.id WHERE p.tenant_id = %s AND p.id = %s",
            (tenant, product),
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1], row[2]

    async def payment(self, checkout: dict[str, Any], tenant: TenantId = DEMO, **changes: Any) -> str:
        """A payment at the gateway for this checkout's total, not paid yet. `changes`: amount, currency, checkout."""
        made = await self.gateway.create(
            tenant,
            changes.get("checkout", checkout["id"]),
            changes.get("amount", checkout["total"]),
            changes.get("currency", checkout["currency"]),
        )
        return str(made["id"])

    async def terminate(self, checkout: str, tenant: TenantId = DEMO) -> None:
        """What an operator does in the Temporal UI by mistake."""
        self.without_run.add(checkout)
        workflow_id = checkout_workflow_id(tenant, CheckoutId(checkout))
        await self.client.get_workflow_handle(workflow_id).terminate("a test")

    async def run_status(self, checkout: str, tenant: TenantId = DEMO) -> str:
        """The status of the checkout's latest run, as Temporal names it."""
        handle = self.client.get_workflow_handle(checkout_workflow_id(tenant, CheckoutId(checkout)))
        status = (await handle.describe()).status
        return status.name if status else "UNKNOWN"

    async def end_well(self, seconds: float = QUIET_SECONDS) -> None:
        """Wait until all is quiet; AssertionError naming what is not so after `seconds`."""
        await self.worker.start()
        await assert_all_well(self, seconds)
        broken, self.contract.broken = self.contract.broken, []
        assert not broken, "\n".join(broken[:20])


@asynccontextmanager
async def running_system(
    database_url: str,
    temporal_address: str,
    namespace: str,
    folder: Path,
    *,
    stripe_api_base: str | None = None,
    **gateway: float,
) -> AsyncIterator[System]:
    """Everything up, in under a second; everything checked and down at the end. `gateway`: more of GatewayConfig."""
    client = await Client.connect(temporal_address, namespace=namespace)
    port = free_port()
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(shop.connect(database_url))
        await make_tenants(admin)
        sandbox = await stack.enter_async_context(
            running_gateway(folder, f"http://127.0.0.1:{port}", SECRET, **gateway)
        )
        settings = api_settings(
            database_url,
            sandbox_gateway_url=sandbox.url,
            sandbox_gateway_secret=SecretStr(SECRET),
            stripe_api_base=stripe_api_base,
            log_format="json",
        )
        database = await stack.enter_async_context(_database(database_url))
        outgoing = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        secrets = TenantSecrets(database, KeyRing.parse(settings.secret_keys.get_secret_value()))
        gateways = gateways_from(settings.gateways, outgoing, secrets)
        fulfilling = Fulfilling(client, settings.task_queue)
        activities = all_activities(database, database_url, client, settings.task_queue, gateways, fulfilling)
        mail, renderer = Pigeonhole(), NearRenderer()
        fulfilment = await stack.enter_async_context(near_fulfilment(database, fulfilling, mail, renderer))
        worker = WorkerSwitch(client, settings.task_queue, activities, fulfilment)
        app = create_app(settings, client=client)
        http = await stack.enter_async_context(serving(app, port))
        contract = Contract(app.openapi())
        http.event_hooks = {"response": [contract.hook]}
        await worker.start()
        stack.push_async_callback(worker.stop)
        system = System(http, sandbox, client, settings, admin, worker, contract, database, mail, renderer)
        yield system
        await system.end_well()


async def make_tenants(admin: shop.Connection) -> None:
    """DEMO, QUICK and OTHER."""
    await shop.make_tenant(admin, DEMO)
    await shop.make_tenant(admin, QUICK, hold_seconds=2, extension_seconds=2, maximum_seconds=6, late_payments="refund")
    await shop.make_tenant(admin, OTHER)


class Whole(Protocol):
    """What the checks at the end look at: a System, or a Fleet of processes."""

    gateway: RunningGateway
    client: Client
    unmatched: set[str]
    without_run: set[str]

    @property
    def admin_url(self) -> str: ...


async def assert_all_well(system: Whole, seconds: float) -> None:
    """Wait until nothing is wrong; AssertionError with what is after `seconds`."""
    deadline = time.monotonic() + seconds
    while faults := await faults_now(system):
        assert time.monotonic() < deadline, "\n".join(faults)
        await asyncio.sleep(0.1)


async def faults_now(system: Whole) -> list[str]:
    """Everything that may not be so when all is quiet."""
    faults = await check(system.admin_url, quiet=True)
    faults += await check_ledger(system.admin_url, await _captures(system.gateway))
    faults = [fault for fault in faults if not any(payment in fault for payment in system.unmatched)]
    waiting = [one for one in await system.gateway.call("GET", "/webhooks") if one["state"] == "pending"]
    faults += [f"a webhook is still pending: {one}" for one in waiting[:5]]
    return faults + await _run_faults(system)


async def _captures(gateway: RunningGateway) -> list[tuple[str, str, str, int, int]]:
    money: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: {"capture": 0, "refund": 0})
    for entry in await gateway.ledger():
        money[entry["tenant"], entry["payment_id"]][entry["kind"]] += entry["amount"]
    return [(tenant, "sandbox", payment, one["capture"], one["refund"]) for (tenant, payment), one in money.items()]


async def _run_faults(system: Whole) -> list[str]:
    """I5: a checkout has an open run exactly while it is held; nothing else runs."""
    async with shop.connect(system.admin_url) as admin:
        cursor = await admin.execute("SELECT tenant_id, id::text FROM checkouts WHERE status = 'held'")
        held = {checkout_workflow_id(tenant, checkout): checkout for tenant, checkout in await cursor.fetchall()}
    running = {run.id async for run in system.client.list_workflows(_OURS_RUNNING)}
    orphans = [run for run, checkout in held.items() if run not in running and checkout not in system.without_run]
    return [
        *(f"I5: {run} runs, and its checkout is not held" for run in sorted(running - set(held))),
        *(f"I5: {run} does not run, and its checkout is held" for run in sorted(orphans)),
    ]


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Database]:
    database = Database(url, name="holdfast-test-worker")
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def repair_of(system: System, delivery: Delivery) -> Repair:
    """The consistency check as the worker has it, handing over by this delivery."""
    fulfilling = Fulfilling(system.client, system.settings.task_queue)
    return Repair(system.database, system.admin_url, delivery, fulfilling)


@asynccontextmanager
async def second_api(system: System, temporal_address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Another API on the system's database, whose Temporal is somewhere else; such as where nobody answers."""
    client = await Client.connect(temporal_address, namespace=system.client.namespace, lazy=True)
    async with running_api(system.settings, client=client) as http:
        http.event_hooks = {"response": [system.contract.hook]}
        yield http
