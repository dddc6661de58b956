"""`deliver`: hand a stored payment event to whoever decides about it. One way for webhooks, replay and repair."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from enum import StrEnum
from typing import Any

from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.refund_starts import start_order_refunds
from db.database import Database
from db.inbox import EventState, StoredEvent, mark_delivered, mark_settled, mark_unmatched
from db.unmatched import LooseMoney, refund_unmatched
from domain import search_attributes
from domain.checkout import CheckoutStatus
from domain.errors import Unavailable
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId, OrderId, TenantId
from domain.messages import Capture, PaymentSignal, PaymentSignalKind
from domain.money import Money
from domain.naming import LATE_PAYMENT, PAYMENT_SIGNAL, checkout_workflow_id, late_payment_workflow_id
from domain.payment_decision import RefundReason
from domain.payment_messages import LatePayment

RPC_TIMEOUT = timedelta(seconds=3)
"""Of one call, with the SDK's own retries in it."""
_STARTED = frozenset({PaymentStatus.CREATED, PaymentStatus.PROCESSING})
_OVER = frozenset({PaymentStatus.REFUNDED, PaymentStatus.EXPIRED})
"""What decides nothing: the payment's row notes it."""
_UNREACHABLE = (RPCError, RuntimeError, TimeoutError)
"""How a Temporal that is down shows (RuntimeError: a lazy client that cannot connect)."""
LATE_PAYMENT_TASK_TIMEOUT = timedelta(seconds=4)


class Handed(StrEnum):
    """Where an event went. `unmatched`: its checkout is not known yet; it stays in the inbox."""

    NOTHING_TO_DO = "nothing_to_do"
    TO_CHECKOUT = "to_checkout"
    TO_LATE_PAYMENT = "to_late_payment"
    UNMATCHED = "unmatched"


class Delivery:
    """Hands events to running checkouts, or to a late payment's own workflow."""

    def __init__(self, db: Database, client: Client, task_queue: str) -> None:
        self._db = db
        self._client = client
        self._task_queue = task_queue

    async def deliver(self, tenant: TenantId, event: StoredEvent, *, again: bool = False) -> Handed:
        """Hand the event over, unless that was done before (`again`: do it all the same).

        Raises Unavailable when it could not be handed over durably; the event stays in the inbox.
        """
        if event.state is EventState.SETTLED or (event.state is EventState.DELIVERED and not again):
            return Handed.NOTHING_TO_DO
        if event.decided or event.kind in _OVER:
            return await self._settled(tenant, event)
        if event.foreign_tenant:
            return await self._foreign(tenant, event)
        if event.kind in _STARTED:
            return await self._tell(tenant, event, PaymentSignalKind.STARTED)
        if event.checkout_id is None or event.waits_for_checkout:
            return await self._wait(tenant, event, again)
        if event.kind is PaymentStatus.FAILED:
            return await self._tell(tenant, event, PaymentSignalKind.DECLINED)
        return await self._capture(tenant, event, event.checkout_id)

    async def give_back(self, tenant: TenantId, event: StoredEvent, reason: RefundReason) -> bool:
        """Refund captured money that no checkout will take; False when its checkout is there after all.

        The intent is stored first: should the engine not take it now, the consistency check starts the refund.
        """
        if not await refund_unmatched(self._db, tenant, LooseMoney.of(event), reason):
            return False
        capture = _capture_of(event, event.checkout_id) if event.checkout_id else None
        await self.start_late_payment(
            LatePayment(tenant, event.gateway, event.payment_id, event.received_at, None, capture)
        )
        return True

    async def start_order_refunds(self, tenant: TenantId, order: OrderId) -> None:
        """See to it that a run makes the order's refunds that are owed. Raises Unavailable; may be repeated."""
        await start_order_refunds(self._client, self._task_queue, tenant, order)

    async def start_late_payment(self, payment: LatePayment) -> None:
        """Start the payment's own workflow; one that runs already hears of the capture, which it may wait for."""
        try:
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds()):
                await self._client.start_workflow(
                    LATE_PAYMENT,
                    payment,
                    id=late_payment_workflow_id(payment.tenant, payment.gateway, payment.payment_id),
                    task_queue=self._task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    task_timeout=LATE_PAYMENT_TASK_TIMEOUT,
                    static_summary=_summary(payment),
                    search_attributes=_attributes(payment),
                    priority=Priority(fairness_key=payment.tenant),
                    rpc_timeout=RPC_TIMEOUT,
                    **_news(payment),
                )
        except _UNREACHABLE as error:
            raise Unavailable("The workflow engine did not take the payment; it is tried again.") from error

    async def _settled(self, tenant: TenantId, event: StoredEvent) -> Handed:
        await mark_settled(self._db, tenant, event, Handed.NOTHING_TO_DO)
        return Handed.NOTHING_TO_DO

    async def _foreign(self, tenant: TenantId, event: StoredEvent) -> Handed:
        """Money in our account that was meant for another tenant goes back at once; nothing else is told to anybody."""
        if event.kind is PaymentStatus.CAPTURED and await self.give_back(tenant, event, RefundReason.WRONG_TENANT):
            return Handed.TO_LATE_PAYMENT
        return await self._settled(tenant, event)

    async def _wait(self, tenant: TenantId, event: StoredEvent, again: bool) -> Handed:
        """Nobody can take it yet; unless its checkout has appeared since the event was read."""
        if event.handed == Handed.UNMATCHED:
            return Handed.UNMATCHED
        now = await mark_unmatched(self._db, tenant, event, Handed.UNMATCHED)
        return await self.deliver(tenant, now, again=again)

    async def _tell(self, tenant: TenantId, event: StoredEvent, kind: PaymentSignalKind) -> Handed:
        """What decides nothing: a waiting checkout shows a decline, and may extend itself when a payment starts."""
        handed = Handed.NOTHING_TO_DO
        if event.checkout_id is not None and event.checkout_status is CheckoutStatus.HELD:
            signal = PaymentSignal(kind, event.gateway, event.payment_id)
            if await self._signal(tenant, event.checkout_id, signal):
                handed = Handed.TO_CHECKOUT
        await mark_settled(self._db, tenant, event, handed)
        return handed

    async def _capture(self, tenant: TenantId, event: StoredEvent, checkout: CheckoutId) -> Handed:
        capture = _capture_of(event, checkout)
        signal = PaymentSignal(PaymentSignalKind.CAPTURED, event.gateway, event.payment_id, capture)
        if event.checkout_status is CheckoutStatus.HELD and await self._signal(tenant, checkout, signal):
            handed = Handed.TO_CHECKOUT
        else:
            await self.start_late_payment(
                LatePayment(tenant, event.gateway, event.payment_id, event.received_at, checkout, capture)
            )
            handed = Handed.TO_LATE_PAYMENT
        await mark_delivered(self._db, tenant, event, handed)
        return handed

    async def _signal(self, tenant: TenantId, checkout: CheckoutId, signal: PaymentSignal) -> bool:
        """Whether a run of the checkout was open to take the signal. Acknowledged, it is durable."""
        handle = self._client.get_workflow_handle(checkout_workflow_id(tenant, checkout))
        try:
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds()):
                await handle.signal(PAYMENT_SIGNAL, signal, rpc_timeout=RPC_TIMEOUT)
        except _UNREACHABLE as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise Unavailable("The workflow engine did not take the event; send it again.") from error
        return True


def _capture_of(event: StoredEvent, checkout: CheckoutId) -> Capture:
    return Capture(
        event.gateway, event.payment_id, checkout, event.amount, event.currency, received_at=event.received_at
    )


def _summary(payment: LatePayment) -> str:
    amount = f", {Money(payment.capture.amount, payment.capture.currency)}" if payment.capture else ""
    return f"Late payment {payment.payment_id} of {payment.gateway}{amount}"


def _news(payment: LatePayment) -> dict[str, Any]:
    """What makes it a signal-with-start."""
    if payment.capture is None:
        return {}
    signal = PaymentSignal(PaymentSignalKind.CAPTURED, payment.gateway, payment.payment_id, payment.capture)
    return {"start_signal": PAYMENT_SIGNAL, "start_signal_args": [signal]}


def _attributes(payment: LatePayment) -> TypedSearchAttributes:
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(SearchAttributeKey.for_keyword(search_attributes.TENANT), payment.tenant)
    ]
    if payment.capture is not None:
        amount = SearchAttributeKey.for_int(search_attributes.AMOUNT)
        pairs.append(SearchAttributePair(amount, payment.capture.amount))
    return TypedSearchAttributes(pairs)
