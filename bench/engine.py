"""Starts and whole paid paths, each beside an empty update-with-start on the same server, in turns."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from api.engine import Engine, Outlook
from api.fair_places import FairPlaces
from bench.empty import EmptyWorkflow
from bench.figures import Round, Series
from bench.load import Task, closed_loop
from bench.stage import HOT, PRODUCTS, TENANT, Stage
from domain.errors import Unavailable
from domain.ids import BuyerKey, CheckoutId, GatewayName, PaymentId, ProductId, TenantId
from domain.messages import Capture, Line, PaymentSignal, PaymentSignalKind, StartCheckout, Started
from domain.naming import PAYMENT_SIGNAL, checkout_workflow_id
from workflows.policies import TASK_TIMEOUT

QUEUE = "holdfast"
PRICE = 1000
TRIES = 5


class Contestants:
    """What is measured, by the Temporal client: no HTTP in between."""

    def __init__(self, stage: Stage, client: Client) -> None:
        self._stage = stage
        self._client = client
        self._engine = Engine(client, QUEUE, b"bench" * 8, FairPlaces(1000))
        self._sent = 0
        self.asked_again = 0

    async def empty(self, _: int) -> None:
        """The yardstick."""
        await self._client.execute_update_with_start_workflow(
            EmptyWorkflow.answer,
            id="answer",
            start_workflow_operation=WithStartWorkflowOperation(
                EmptyWorkflow.run,
                id=f"empty/{uuid.uuid4()}",
                task_queue=QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                task_timeout=TASK_TIMEOUT,
            ),
        )

    async def start(self, number: int) -> None:
        """A checkout of one unit, over a thousand products."""
        await self._start(number % PRODUCTS + 1)

    async def start_hot(self, _: int) -> None:
        """A checkout of one unit of the product that everybody wants."""
        await self._start(HOT)

    async def paid(self, number: int) -> None:
        """Start, then the payment's signal. `settled` waits for the orders."""
        checkout = await self._start(number % PRODUCTS + 1)
        now = datetime.now(UTC)
        capture = Capture(GatewayName("sandbox"), PaymentId(f"pay-{checkout}"), checkout, PRICE, "COP", now)
        handle = self._client.get_workflow_handle(checkout_workflow_id(TenantId(TENANT), checkout))
        signal = PaymentSignal(PaymentSignalKind.CAPTURED, capture.gateway, capture.payment_id, capture)
        await handle.signal(PAYMENT_SIGNAL, signal)
        self._sent += 1

    async def settled(self) -> None:
        """Until every payment sent has its order."""
        async with await psycopg.AsyncConnection.connect(self._stage.url, autocommit=True) as connection:
            while True:
                row = await (await connection.execute("SELECT count(*) FROM orders")).fetchone()
                if row is not None and row[0] >= self._sent:
                    return
                await asyncio.sleep(0.02)

    async def _start(self, product: int) -> CheckoutId:
        checkout, now = CheckoutId(str(uuid.uuid4())), datetime.now(UTC)
        start = StartCheckout(
            tenant=TenantId(TENANT),
            checkout_id=checkout,
            buyer=BuyerKey(f"user:{uuid.uuid4()}"),
            lines=[Line(ProductId(product), 1)],
            fingerprint="f" * 64,
            deadline=now + timedelta(seconds=30),
        )
        started = await self._insist(start, Outlook(start.lines, PRICE, "COP", now + timedelta(seconds=900)))
        if started.status != "held":
            raise RuntimeError(f"a start that should have held: {started}")
        return checkout

    async def _insist(self, start: StartCheckout, outlook: Outlook) -> Started:
        """As a client would: what was not answered in time is asked again. The time it takes counts."""
        for _ in range(TRIES):
            try:
                return await self._engine.start(start, outlook)
            except Unavailable:
                self.asked_again += 1
        raise RuntimeError(f"a start was not answered in {TRIES} tries")


async def measure(stage: Stage, *, clients: int, count: int, rounds: int) -> list[Series]:
    """Empty, start over many products, start on one, whole paid path: in turns, `rounds` times."""
    client = await Client.connect(stage.temporal.address)
    contestants = Contestants(stage, client)
    every = [
        (Series("empty update-with-start"), contestants.empty, False),
        (Series("start, 1,000 products"), contestants.start, False),
        (Series("start, one hot product"), contestants.start_hot, False),
        (Series("whole paid path"), contestants.paid, True),
    ]
    for _, task, _ in every:
        await closed_loop(task, clients=clients, count=count // 4)  # Warm, and not counted.
    for _ in range(rounds):
        for series, task, to_the_end in every:
            await contestants.settled()
            series.rounds.append(await _timed(contestants, task, clients, count, to_the_end))
    return [series for series, _, _ in every]


async def _timed(contestants: Contestants, task: Task, clients: int, count: int, to_the_end: bool) -> Round:
    loop = asyncio.get_running_loop()
    began = loop.time()
    done = await closed_loop(task, clients=clients, count=count)
    if to_the_end:
        await contestants.settled()
        return Round(count, loop.time() - began, done.latencies)
    return done
