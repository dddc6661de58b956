"""The activities around a payment: ask the gateway, give money back, start a late payment's own workflow."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import activity

from activities import names
from activities.delivery import Delivery
from activities.errors import translated
from activities.gateways.interface import Gateway
from activities.refunding import MoneyBack, give_back
from db.database import Database
from db.refunds import refund_made, refund_owed
from domain.errors import GatewayUnavailable, NotFound
from domain.gateway import PaymentStatus
from domain.ids import GatewayName
from domain.naming import refund_key
from domain.payment_messages import LatePayment, Refunded, RefundRequest, Verified, VerifyPayment


class PaymentActivities:
    """Verify, refund, and hand over."""

    def __init__(self, db: Database, gateways: Mapping[GatewayName, Gateway], delivery: Delivery) -> None:
        self._db = db
        self._gateways = gateways
        self._delivery = delivery

    @activity.defn(name=names.VERIFY_PAYMENT)
    @translated
    async def verify_payment(self, ask: VerifyPayment) -> Verified:
        """What the gateway says of the payment; a capture comes back as evidence."""
        payment = await self._gateway(ask.gateway).fetch(ask.tenant, ask.payment_id)
        if payment is None or payment.tenant not in (None, ask.tenant):
            return Verified(status=None)
        if payment.status is not PaymentStatus.CAPTURED:
            return Verified(payment.status)
        return Verified(payment.status, payment.checkout_id, payment.amount, payment.currency)

    @activity.defn(name=names.START_LATE_PAYMENT)
    @translated
    async def start_late_payment(self, payment: LatePayment) -> None:
        """Start the payment's own workflow, unless it runs already."""
        await self._delivery.start_late_payment(payment)

    @activity.defn(name=names.REFUND_PAYMENT)
    @translated
    async def refund_payment(self, request: RefundRequest) -> Refunded:
        """Make the refund that is owed. The same idempotency key on every try, so that money goes back once.

        A gateway that refuses is asked again, for days if need be: the intent stays visible until it is paid.
        """
        owed = await refund_owed(self._db, request.tenant, request.gateway, request.payment_id)
        if owed is None:
            return Refunded("", 0)
        key = refund_key(request.tenant, request.gateway, request.payment_id)
        gateway = self._gateways.get(request.gateway)
        if gateway is None:
            raise GatewayUnavailable(f"This installation has no gateway {request.gateway!r} (any more).")
        refund_id = await give_back(
            gateway, request.tenant, MoneyBack(request.payment_id, owed.amount, key), activity.info().attempt
        )
        await refund_made(self._db, request.tenant, owed, refund_id)
        return Refunded(refund_id, owed.amount)

    def _gateway(self, name: GatewayName) -> Gateway:
        gateway = self._gateways.get(name)
        if gateway is None:
            raise NotFound(f"There is no gateway {name!r}.")
        return gateway
