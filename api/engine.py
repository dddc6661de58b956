"""Writes that change a checkout go to Temporal: start, extend, lines, confirm, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.fair_places import Places
from api.fingerprint import key_digest
from domain import search_attributes
from domain.errors import Unavailable
from domain.ids import BuyerKey, buyer_hash
from domain.messages import (
    Answered,
    CancelUpdate,
    CheckoutRef,
    ConfirmUpdate,
    ExtendUpdate,
    Line,
    LinesUpdate,
    PaymentSignal,
    StartCheckout,
    Started,
    StartStatus,
)
from domain.money import Money
from domain.naming import CHECKOUT, CHECKOUT_OVER, PAYMENT_SIGNAL, RESERVE_UPDATE, checkout_workflow_id
from workflows.details import units
from workflows.policies import CLIENT_DEADLINE, TASK_TIMEOUT

_TRANSPORT = (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError, RuntimeError, TimeoutError)
"""How a Temporal that is down, slow or overloaded shows (RuntimeError: a lazy client that cannot connect)."""
_DOWN = "The checkout engine does not answer in time; send the same request with the same Idempotency-Key."


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a checkout before it starts, for the Temporal UI. `total` in minor units."""

    lines: Sequence[Line]
    total: int
    currency: str
    end: datetime


class Engine:
    """Speaks to the checkouts' runs. Every method raises Unavailable when Temporal does not answer in time."""

    def __init__(self, client: Client, task_queue: str, buyer_hash_key: bytes, places: Places) -> None:
        """`places`: of the starts in flight."""
        self._client = client
        self._task_queue = task_queue
        self._buyer_hash_key = buyer_hash_key
        self._places = places

    def address_key(self, address: str) -> str:
        """What is kept of a buyer's address: a keyed hash, like the buyer's own in the search attributes."""
        return buyer_hash(BuyerKey(f"address:{address}"), self._buyer_hash_key)

    async def start(self, start: StartCheckout, outlook: Outlook) -> Started:
        """Start the checkout's run, or find it, and wait for its reserve: one round trip."""
        try:
            async with asyncio.timeout(CLIENT_DEADLINE.total_seconds()), self._places.place(start.tenant):
                started = await self._reserve(start, outlook, RESERVE_UPDATE)
                if started.start is StartStatus.NOT_ATTEMPTED and started.deadline != start.deadline:
                    # The answer of an earlier run that came too late and wrote nothing: ask for a new one.
                    started = await self._reserve(start, outlook, f"{RESERVE_UPDATE}-{start.deadline.timestamp():.6f}")
                return started
        except TimeoutError:
            raise Unavailable(_DOWN) from None

    async def update(
        self,
        ref: CheckoutRef,
        name: str,
        key: str,
        update: ConfirmUpdate | ExtendUpdate | LinesUpdate | CancelUpdate,
        wait: float,
    ) -> Answered | None:
        """Ask the run, and wait up to `wait` seconds for its answer; None: it took the request and is still at it.

        The same name and key find the first request's answer. Raises CheckoutIsOver when no run is open to ask.
        """
        try:
            async with asyncio.timeout(CLIENT_DEADLINE.total_seconds()):  # Of a lazy client's connecting, too.
                asked = await self._ask(ref, name, key, update)
        except WorkflowUpdateFailedError as error:
            raise _refused(error) from error
        except _TRANSPORT as error:
            raise _unreachable(error) from error
        return await self._answer(asked, wait)

    async def tell(self, ref: CheckoutRef, signal: PaymentSignal) -> bool:
        """Tell the run of a payment; whether one was open to hear it. Acknowledged, it is durable."""
        handle = self._client.get_workflow_handle(checkout_workflow_id(ref.tenant, ref.checkout_id))
        try:
            async with asyncio.timeout(SIGNAL_WAIT.total_seconds()):
                await handle.signal(PAYMENT_SIGNAL, signal, rpc_timeout=SIGNAL_WAIT)
        except _TRANSPORT as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise Unavailable(_DOWN) from error
        return True

    async def _ask(self, ref: CheckoutRef, name: str, key: str, update: object) -> Any:
        handle = self._client.get_workflow_handle(checkout_workflow_id(ref.tenant, ref.checkout_id))
        for last in (False, True):
            try:
                return await handle.start_update(
                    name,
                    update,
                    id=_update_id(name, key),
                    wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                    result_type=Answered,
                    rpc_timeout=CLIENT_DEADLINE,
                )
            except RPCError as error:
                # The task that carried it failed, as one does when a signal arrives while the run completes.
                if last or error.status is not RPCStatusCode.FAILED_PRECONDITION:
                    raise
        raise AssertionError("unreachable")

    async def _answer(self, asked: Any, wait: float) -> Answered | None:
        try:
            async with asyncio.timeout(wait):
                answered: Answered = await asked.result()
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            return None  # The SDK turns the end of our wait into its own error. The run has the request all the same.
        except WorkflowUpdateFailedError as error:
            raise _refused(error) from error
        except _TRANSPORT as error:
            raise _unreachable(error) from error
        return answered

    async def _reserve(self, start: StartCheckout, outlook: Outlook, update_id: str) -> Started:
        operation = self._operation(start, outlook)
        try:
            started: Started = await self._client.execute_update_with_start_workflow(
                RESERVE_UPDATE,
                start_workflow_operation=operation,
                id=update_id,
                result_type=Started,
                rpc_timeout=CLIENT_DEADLINE,
            )
        except (WorkflowUpdateFailedError, *_TRANSPORT) as error:
            # The SDK leaves the error in the operation too; unheard there, the event loop logs it a second time.
            await asyncio.gather(operation.workflow_handle(), return_exceptions=True)
            raise Unavailable(_DOWN) from error
        return started

    def _operation(self, start: StartCheckout, outlook: Outlook) -> WithStartWorkflowOperation[Any, Any]:
        return WithStartWorkflowOperation(
            CHECKOUT,
            start,
            id=checkout_workflow_id(start.tenant, start.checkout_id),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            task_timeout=TASK_TIMEOUT,
            static_summary=f"{units(outlook.lines)}, {Money(outlook.total, outlook.currency)}",
            static_details=f"Shop `{start.tenant}`. The current details say how the hold stands.",
            search_attributes=self._attributes(start, outlook),
            # Where tasks pile up, Temporal too takes them from the tenants in turn. Activities inherit it.
            priority=Priority(fairness_key=start.tenant),
        )

    def _attributes(self, start: StartCheckout, outlook: Outlook) -> TypedSearchAttributes:
        buyer = buyer_hash(BuyerKey(start.buyer), self._buyer_hash_key)
        return TypedSearchAttributes(
            [
                SearchAttributePair(SearchAttributeKey.for_keyword(search_attributes.TENANT), start.tenant),
                SearchAttributePair(SearchAttributeKey.for_keyword(search_attributes.BUYER), buyer),
                SearchAttributePair(SearchAttributeKey.for_int(search_attributes.AMOUNT), outlook.total),
                SearchAttributePair(SearchAttributeKey.for_datetime(search_attributes.END), outlook.end),
            ]
        )


class CheckoutIsOver(Exception):
    """No run of this checkout is open: its row says how it ended."""


def deadline_after(now: datetime) -> datetime:
    """When a start that begins now stops being waited for. `now` by the database's clock, which also compares it."""
    return now + CLIENT_DEADLINE


def _update_id(name: str, key: str) -> str:
    return f"{name}-{key_digest(key)}"


def _refused(error: WorkflowUpdateFailedError) -> Exception:
    if isinstance(error.cause, ApplicationError) and error.cause.type == CHECKOUT_OVER:
        return CheckoutIsOver()
    return Unavailable(_DOWN)


def _unreachable(error: BaseException) -> Exception:
    if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
        return CheckoutIsOver()
    return Unavailable(_DOWN)


ANSWER_WAIT = timedelta(seconds=2).total_seconds()
"""How long a request waits for the run: then a confirm is answered 202, the others 503."""
SIGNAL_WAIT = timedelta(seconds=2)
"""How long a run is told something."""
