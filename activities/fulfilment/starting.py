"""Starting fulfilment: an order's, or one step once more. Already started is a success."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from structlog import stdlib
from temporalio import activity
from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities import names
from activities.errors import translated
from db.database import Database
from db.fulfilment_open import orders_without_fulfilment, replays_without_end
from domain import search_attributes
from domain.errors import Unavailable
from domain.fulfilment import FulfilOrder, OrderRef, StepRequest
from domain.ids import TenantId
from domain.naming import FULFILMENT, fulfilment_queue, fulfilment_workflow_id, replay_workflow_id

RPC_TIMEOUT = timedelta(seconds=2)
_log = stdlib.get_logger("fulfilment")
_UNREACHABLE = (RPCError, RuntimeError, TimeoutError)
"""How a Temporal that is down shows (RuntimeError: a lazy client that cannot connect)."""


class Fulfilling:
    """Starts the workflows of fulfilment, on their own queue.

    `task_queue`: the installation's. `pause`: between a sale and the begin of what follows it.
    """

    def __init__(self, client: Client, task_queue: str, pause: timedelta | None = None) -> None:
        self._client, self._queue, self._pause = client, fulfilment_queue(task_queue), pause
        self._beside: set[asyncio.Task[None]] = set()

    def start_beside(self, ref: OrderRef) -> None:
        """Start it, and do not wait for it. What is lost of it, or refused, the consistency check starts."""
        task = asyncio.create_task(self._start_or_log(ref))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def finish(self) -> None:
        """Wait for what is being started; at most RPC_TIMEOUT."""
        await asyncio.gather(*self._beside)

    async def _start_or_log(self, ref: OrderRef) -> None:
        try:
            await self.start(ref, pause=self._pause)
        except Unavailable:
            _log.warning("fulfilment_not_started", tenant=ref.tenant, order=ref.order_id)

    @activity.defn(name=names.START_FULFILMENT)
    @translated
    async def start_fulfilment(self, ref: OrderRef) -> None:
        """Start the order's fulfilment, unless it runs, or has come to its end."""
        await self.start(ref)

    async def start(self, ref: OrderRef, *, again: bool = False, pause: timedelta | None = None) -> None:
        """The same, after a pause. `again`: also where a run has come to its end.

        Raises Unavailable, then nothing was started.
        """
        reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
        await self._start(
            FulfilOrder(ref.tenant, ref.order_id),
            fulfilment_workflow_id(ref.tenant, ref.order_id),
            f"Fulfilment of order {ref.order_id}",
            reuse,
            pause,
        )

    async def replay(self, request: StepRequest) -> None:
        """Do a step once more. Raises Unavailable; the step stays pending then, and the consistency check starts it."""
        await self._start(
            FulfilOrder(request.tenant, request.order_id, request.step, request.replay),
            replay_workflow_id(request.tenant, request.order_id, request.step, request.replay),
            f"Once more: {request.step} of order {request.order_id}",
            WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )

    async def mend(self, db: Database, tenant: TenantId, older_than_seconds: float) -> int:
        """Start what is not at its end and may have no run; how many there were. For the consistency check."""
        orders = await orders_without_fulfilment(db, tenant, older_than_seconds)
        replays = await replays_without_end(db, tenant, older_than_seconds)
        for order in orders:
            await self.start(OrderRef(tenant, order), again=True)
        for request in replays:
            await self.replay(request)
        return len(orders) + len(replays)

    async def _start(
        self,
        order: FulfilOrder,
        workflow_id: str,
        summary: str,
        reuse: WorkflowIDReusePolicy,
        pause: timedelta | None = None,
    ) -> None:
        tenant = SearchAttributePair(SearchAttributeKey.for_keyword(search_attributes.TENANT), order.tenant)
        try:
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds()):
                await self._client.start_workflow(
                    FULFILMENT,
                    order,
                    id=workflow_id,
                    task_queue=self._queue,
                    id_reuse_policy=reuse,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    static_summary=summary,
                    start_delay=pause,
                    search_attributes=TypedSearchAttributes([tenant]),
                    priority=Priority(fairness_key=order.tenant),
                    rpc_timeout=RPC_TIMEOUT,
                )
        except WorkflowAlreadyStartedError:
            return
        except _UNREACHABLE as error:
            raise Unavailable("The workflow engine did not take it; it is tried again.") from error
