"""The worker: runs the workflows and their activities. The only place that wires them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import httpx
import uvloop
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import PollerBehaviorAutoscaling, Worker, WorkerDeploymentConfig

from activities.checkout import CheckoutActivities
from activities.closing import Closing
from activities.delivery import Delivery
from activities.fulfilment.mailers import SmtpServer
from activities.fulfilment.starting import Fulfilling
from activities.fulfilment.wiring import FulfilmentConfig, fulfilment_activities, outlets_from
from activities.gateways.manual import ManualGateway
from activities.gateways.registry import gateways_from
from activities.gateways.secrets import TenantSecrets
from activities.hooks.relay import Relay
from activities.hooks.sender import client as hook_client
from activities.hooks.wiring import hook_activities
from activities.order_refunds import OrderRefundActivities
from activities.payments import PaymentActivities
from activities.purge import Purge
from activities.reconciliation import ReconciliationActivities, reconciler_from
from activities.repair import Repair
from activities.schedules import keep_trying
from api import logs, temporal
from db.database import Database
from db.keyring import KeyRing
from db.manual_payments import MANUAL
from domain.naming import fulfilment_queue, hooks_queue
from domain.parts import ALL_PARTS, Part
from settings import Settings
from workflows.checkout import CheckoutWorkflow
from workflows.consistency_check import ConsistencyCheckWorkflow
from workflows.fulfilment import FulfilmentWorkflow
from workflows.hook_delivery import HookDeliveryWorkflow
from workflows.late_payment import LatePaymentWorkflow
from workflows.pinned import PinnedCheckoutWorkflow
from workflows.purge import PurgeTokensWorkflow
from workflows.reconciliation import ReconcilePaymentsWorkflow
from workflows.refund_order import RefundOrderWorkflow
from workflows.runner import runner

WORKFLOWS = (
    CheckoutWorkflow,
    LatePaymentWorkflow,
    RefundOrderWorkflow,
    FulfilmentWorkflow,
    ConsistencyCheckWorkflow,
    PurgeTokensWorkflow,
    ReconcilePaymentsWorkflow,
)
VERSIONED_WORKFLOWS = (
    PinnedCheckoutWorkflow,
    LatePaymentWorkflow,
    RefundOrderWorkflow,
    FulfilmentWorkflow,
    ConsistencyCheckWorkflow,
    PurgeTokensWorkflow,
    ReconcilePaymentsWorkflow,
)
STICKY_TIMEOUT = timedelta(seconds=1)
"""How long a task waits for the worker that had its run in memory; a killed worker costs this."""
GRACE = timedelta(seconds=8)
ANSWERS_FIRST = timedelta(seconds=1)
"""What follows a sale begins so much later: its rendering and its run, three times the work of the confirm, would take
the processor, and Temporal's database, from the very answers that buyers wait for."""
LOW_PRIORITY = 10
"""By how much a process that serves no checkouts gives way to others of its machine (see nice(1))."""
HOOKS_AT_ONCE = 32
"""Tenants' webhooks under way at once in one worker."""


def all_activities(
    db: Database, admin_url: str, client: Client, task_queue: str, gateways: Any, fulfilling: Fulfilling
) -> Sequence[Callable[..., Any]]:
    """Every activity but fulfilment's own, wired."""
    delivery = Delivery(db, client, task_queue)
    gateways = {**gateways, MANUAL: ManualGateway(db)}
    reconciliation = ReconciliationActivities(reconciler_from(db, client, task_queue, gateways), admin_url)
    checkout, payments = CheckoutActivities(db, fulfilling), PaymentActivities(db, gateways, delivery)
    return (
        checkout.reserve,
        checkout.settle,
        checkout.extend,
        checkout.change_lines,
        Closing(db, gateways).close_payments,
        payments.verify_payment,
        payments.start_late_payment,
        payments.refund_payment,
        OrderRefundActivities(db, gateways).refund_order,
        Repair(db, admin_url, delivery, fulfilling).repair,
        Purge(admin_url).purge_tokens,
        reconciliation.ledgers,
        reconciliation.reconcile_ledger,
    )


def make_worker(
    client: Client,
    task_queue: str,
    activities: Sequence[Callable[..., Any]],
    *,
    build_id: str | None = None,
    also: Sequence[type] = (),
) -> Worker:
    """A worker for one task queue. With a build id, checkouts stay on the build that started them.

    `also`: more workflows to run beside ours, such as a measurement's yardstick.
    """
    versioning = (
        WorkerDeploymentConfig(
            WorkerDeploymentVersion("holdfast", build_id),
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
        )
        if build_id
        else None
    )
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[*(VERSIONED_WORKFLOWS if build_id else WORKFLOWS), *also],
        activities=activities,
        workflow_runner=runner(),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=2, initial=4, maximum=20),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(minimum=1, initial=2, maximum=10),
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=GRACE,
        deployment_config=versioning,
    )


def make_fulfilment_worker(client: Client, task_queue: str, activities: Sequence[Callable[..., Any]]) -> Worker:
    """The worker of what follows a sale, on a queue of its own: a process of its own can serve it, and checkouts have
    theirs for themselves. `task_queue`: the installation's, whose worker goes on with the runs that began there."""
    return Worker(
        client,
        task_queue=fulfilment_queue(task_queue),
        workflows=[FulfilmentWorkflow],
        activities=activities,
        workflow_runner=runner(),
        graceful_shutdown_timeout=GRACE,
    )


def make_hooks_worker(client: Client, task_queue: str, activities: Sequence[Callable[..., Any]]) -> Worker:
    """The worker of the webhooks that tenants are sent, on a queue of their own: what a slow receiver takes, nobody
    else waits for. `task_queue`: the installation's."""
    return Worker(
        client,
        task_queue=hooks_queue(task_queue),
        workflows=[HookDeliveryWorkflow],
        activities=activities,
        workflow_runner=runner(),
        max_concurrent_activities=HOOKS_AT_ONCE,
        graceful_shutdown_timeout=GRACE,
    )


async def run_worker(settings: Settings, *, parts: Collection[Part] = ALL_PARTS, also: Sequence[type] = ()) -> None:
    """Run until SIGTERM or SIGINT, then drain: what runs is finished, nothing new is taken."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    db = Database(settings.database_url.get_secret_value(), size=settings.database_pool_size, name="holdfast-worker")
    await db.open()
    client = await connect(settings)
    try:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient())
            ring = KeyRing.parse(settings.secret_keys.get_secret_value())
            secrets = TenantSecrets(db, ring)
            outlets = await stack.enter_async_context(outlets_from(fulfilment_config(settings), secrets, http))
            gateways = gateways_from(settings.gateways, http, secrets)
            fulfilling = Fulfilling(client, settings.task_queue, pause=ANSWERS_FIRST)
            following = fulfilment_activities(db, fulfilling, outlets)
            stack.push_async_callback(fulfilling.finish)
            queue = settings.task_queue
            if Part.CHECKOUTS in parts:
                activities = [*all_activities(db, settings.admin_url, client, queue, gateways, fulfilling), *following]
                worker = make_worker(client, queue, activities, build_id=settings.build_id, also=also)
                await stack.enter_async_context(worker)
                await stack.enter_async_context(beside(keep_trying(client, queue)))
            if Part.FULFILMENT in parts:
                await stack.enter_async_context(make_fulfilment_worker(client, queue, following))
                await stack.enter_async_context(hooks_running(settings, db, ring, client))
            await stop.wait()
    finally:
        await db.close()


@asynccontextmanager
async def hooks_running(settings: Settings, db: Database, ring: KeyRing, client: Client) -> AsyncIterator[None]:
    """Send tenants' webhooks while the block runs."""
    async with hook_client() as http:
        activities = hook_activities(db, ring, http, development=settings.env == "development")
        relay = Relay(settings.admin_url, client, settings.task_queue)
        async with make_hooks_worker(client, settings.task_queue, activities), beside(relay.run()):
            yield


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do this while the block runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def fulfilment_config(settings: Settings) -> FulfilmentConfig:
    """What fulfilment is told."""
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    smtp = settings.smtp_host and SmtpServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_security,
        settings.smtp_username,
        password,
        settings.smtp_ca_file,
        settings.smtp_connections,
    )
    return FulfilmentConfig(
        ticket_keys=settings.ticket_keys.get_secret_value(),
        mail_from=settings.mail_from,
        mail_folder=settings.mail_folder,
        smtp=smtp or None,
        template_folder=settings.template_dir,
        whatsapp_url=settings.whatsapp_url,
        sms_url=settings.sms_url,
        pdf_processes=settings.pdf_processes,
        pdf_seconds=settings.pdf_seconds,
    )


async def connect(settings: Settings) -> Client:
    """Temporal's client; waits for a server that is still starting."""
    while True:
        try:
            return await temporal.connect(f"127.0.0.1:{settings.temporal_port}")
        except RuntimeError as error:  # The bridge reports a refused connection so.
            print(f"Temporal is not there yet ({str(error)[:120]}); trying again.", flush=True)  # noqa: T201
            await asyncio.sleep(1)


def main(settings: Settings, *, parts: Collection[Part] = ALL_PARTS, also: Sequence[type] = ()) -> None:
    """Run the worker on uvloop."""
    logs.configure(settings.log_format)
    if Part.CHECKOUTS not in parts:
        os.nice(LOW_PRIORITY)
    uvloop.run(run_worker(settings, parts=parts, also=also))
