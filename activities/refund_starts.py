"""Starting the run that makes an order's refunds."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError

from domain import search_attributes
from domain.errors import Unavailable
from domain.ids import OrderId, TenantId
from domain.naming import REFUND_ORDER, REFUND_SIGNAL, order_refunds_workflow_id
from domain.refund_messages import OrderRefunds

_RPC_TIMEOUT = timedelta(seconds=3)
_TASK_TIMEOUT = timedelta(seconds=4)
_UNREACHABLE = (RPCError, RuntimeError, TimeoutError)
"""How a Temporal that is down shows (RuntimeError: a lazy client that cannot connect)."""


async def start_order_refunds(client: Client, task_queue: str, tenant: TenantId, order: OrderId) -> None:
    """See to it that a run looks for refunds of this order that are owed. Raises Unavailable; may be repeated.

    With a signal, so that a run that is about to end looks again: the intent was stored before.
    """
    key = SearchAttributeKey.for_keyword(search_attributes.TENANT)
    try:
        async with asyncio.timeout(_RPC_TIMEOUT.total_seconds()):
            await client.start_workflow(
                REFUND_ORDER,
                OrderRefunds(tenant, order),
                id=order_refunds_workflow_id(tenant, order),
                task_queue=task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                start_signal=REFUND_SIGNAL,
                static_summary=f"Refunds of order {order}",
                task_timeout=_TASK_TIMEOUT,
                search_attributes=TypedSearchAttributes([SearchAttributePair(key, tenant)]),
                priority=Priority(fairness_key=tenant),
                rpc_timeout=_RPC_TIMEOUT,
            )
    except _UNREACHABLE as error:
        raise Unavailable("The workflow engine did not take the refund; it is started later.") from error
