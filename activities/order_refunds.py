"""Refunds of orders: the oldest that is owed is made."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import activity

from activities import names
from activities.errors import translated
from activities.gateways.interface import Gateway
from activities.refunding import MoneyBack, give_back
from db.database import Database
from db.order_refunds import next_order_refund, order_refund_made
from domain.errors import GatewayUnavailable
from domain.ids import GatewayName
from domain.naming import order_refund_key
from domain.refund_messages import OrderRefundMade, OrderRefunds


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
        made = await give_back(gateway, order.tenant, money, activity.info().attempt)
        await order_refund_made(self._db, order.tenant, owed.id, made)
        return OrderRefundMade(made, owed.amount, owed.left)
