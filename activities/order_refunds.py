"""Refunds of orders: start the run that makes them, and make the oldest one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from temporalio import activity
from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError

from activities import names
from activities.delivery import RPC_TIMEOUT
from activities.errors import translated
from activities.gateways.interface import Gateway
from activities.refunding import MoneyBack, give_back
from db.database import Database
from db.order_refunds import next_order_refund, order_refund_made
from domain import search_attributes
from domain.errors import GatewayUnavailable, Unavailable
from domain.ids import GatewayName, OrderId, TenantId
from domain.naming import REFUND_ORDER, REFUND_SIGNAL, order_refund_key, order_refunds_workflow_id
from domain.refund_messages import OrderRefundMade, OrderRefunds

_UNREACHABLE = (RPCError, RuntimeError, TimeoutError)
"""How a Temporal that is down shows (RuntimeError: a lazy client that cannot connect)."""


class OrderRefundStarts:
    """Starts the one run that makes an order's refunds, or tells it that there is another one."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def start(self, tenant: TenantId, order: OrderId) -> None:
        """See to it that a run looks for refunds of this order that are owed. Raises Unavailable; may be repeated.

        With a signal, so that a run that is about to end looks again: the intent was stored before.
        """
        try:
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds()):
                await self._client.start_workflow(
                    REFUND_ORDER,
                    OrderRefunds(tenant, order),
                    id=order_refunds_workflow_id(tenant, order),
                    task_queue=self._task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    start_signal=REFUND_SIGNAL,
                    static_summary=f"Refunds of order {order}",
                    search_attributes=_attributes(tenant),
                    priority=Priority(fairness_key=tenant),
                    rpc_timeout=RPC_TIMEOUT,
                )
        except _UNREACHABLE as error:
            raise Unavailable("The workflow engine did not take the refund; it is started later.") from error


class OrderRefundActivities:
    """Make what is owed."""

    def __init__(self, db: Database, gateways: Mapping[GatewayName, Gateway]) -> None:
        self._db = db
        self._gateways = gateways

    @activity.defn(name=names.REFUND_ORDER)
    @translated
    async def refund_order(self, order: OrderRefunds) -> OrderRefundMade:
        """Make the oldest refund of the order that is owed; nothing when there is none.

        One at a time and in their order: so it is known what the gateway must show as given back (`refunding`).
        """
        owed = await next_order_refund(self._db, order.tenant, order.order_id)
        if owed is None:
            return OrderRefundMade("", 0, 0)
        gateway = self._gateways.get(owed.gateway)
        if gateway is None:
            raise GatewayUnavailable(f"This installation has no gateway {owed.gateway!r} (any more).")
        money = MoneyBack(owed.payment_id, owed.amount, order_refund_key(order.tenant, owed.id), owed.before)
        made = await give_back(gateway, order.tenant, money)
        await order_refund_made(self._db, order.tenant, owed.id, made)
        return OrderRefundMade(made, owed.amount, owed.left)


def _attributes(tenant: TenantId) -> TypedSearchAttributes:
    key = SearchAttributeKey.for_keyword(search_attributes.TENANT)
    return TypedSearchAttributes([SearchAttributePair(key, tenant)])
