"""Mending what reconciliation found. Nothing here decides about money: it is handed to those who do."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from activities.delivery import Delivery
from db.database import Database
from db.inbox import record_event
from db.reconciliation import record_refunded, waiting_capture
from db.refunds import refund_owed
from domain.disagreements import ADVICE, Kind, Remedy
from domain.gateway import GatewayPayment, PaymentEvent, PaymentStatus
from domain.ids import EventId, PaymentId, TenantId
from domain.messages import Capture
from domain.payment_messages import LatePayment
from domain.reconciliation import Ours


class Remedies:
    """Begins repairs. Each may be begun any number of times."""

    def __init__(self, db: Database, delivery: Delivery) -> None:
        self._db = db
        self._delivery = delivery

    async def begin(self, tenant: TenantId, kind: Kind, theirs: GatewayPayment, ours: Ours) -> bool:
        """Begin the repair of this kind; False: there is none. Raises Unavailable when it could not be handed over."""
        match ADVICE[kind].remedy:
            case Remedy.DELIVER:
                await self._deliver(tenant, theirs)
            case Remedy.REDELIVER:
                await self._redeliver(tenant, theirs)
            case Remedy.RECORD:
                await record_refunded(self._db, tenant, theirs)
            case Remedy.REFUND:
                await self._refund(tenant, theirs)
            case Remedy.ORDER_REFUND if ours.order_id is not None:
                await self._delivery.start_order_refunds(tenant, ours.order_id)
            case _:
                return False
        return True

    async def _deliver(self, tenant: TenantId, payment: GatewayPayment) -> None:
        """The event that should have come, under an id that is the same in every run."""
        event = PaymentEvent(
            gateway=payment.gateway,
            event_id=event_id(payment.payment_id),
            kind=PaymentStatus.CAPTURED,
            payment_id=payment.payment_id,
            checkout_id=payment.checkout_id,
            amount=payment.amount,
            currency=payment.currency,
            occurred_at=datetime.now(UTC),
        )
        stored = await record_event(self._db, tenant, event, json.dumps({"from": "reconciliation"}).encode())
        if stored is not None:
            await self._delivery.deliver(tenant, stored, again=True)

    async def _redeliver(self, tenant: TenantId, payment: GatewayPayment) -> None:
        event = await waiting_capture(self._db, tenant, payment.gateway, payment.payment_id)
        if event is not None:  # Else it was settled in the meantime.
            await self._delivery.deliver(tenant, event, again=True)

    async def _refund(self, tenant: TenantId, payment: GatewayPayment) -> None:
        owed = await refund_owed(self._db, tenant, payment.gateway, payment.payment_id)
        if owed is None:
            return  # It was made in the meantime.
        capture = None
        if owed.checkout_id is not None:
            capture = Capture(
                owed.gateway, owed.payment_id, owed.checkout_id, owed.amount, owed.currency, received_at=owed.decided_at
            )
        await self._delivery.start_late_payment(
            LatePayment(tenant, owed.gateway, owed.payment_id, owed.decided_at, owed.checkout_id, capture)
        )


def event_id(payment: PaymentId) -> EventId:
    """The inbox's id of the capture that reconciliation hands over."""
    return EventId(f"reconcile:{payment}:captured")
