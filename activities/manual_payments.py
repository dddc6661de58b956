"""Recording a payment that an operator has seen elsewhere: stored, then handed over as any other capture is."""

from __future__ import annotations

from activities.delivery import Delivery
from db.database import Database
from db.inbox import stored_event
from db.manual_payments import ManualPayment, NewManualPayment, record_manual_payment
from domain.ids import Actor, TenantId


async def take_manual_payment(
    db: Database, delivery: Delivery, tenant: TenantId, actor: Actor, new: NewManualPayment
) -> ManualPayment:
    """Record the payment and hand its event over; a repeat goes on where the first try ended.

    Raises what `record_manual_payment` raises, and Unavailable when it could not be handed over durably: then it is
    stored, and the repair hands it over too.
    """
    payment = await record_manual_payment(db, tenant, actor, new)
    event = await stored_event(db, tenant, payment.event.gateway, payment.event.event_id)
    if event is not None:
        await delivery.deliver(tenant, event)
    return payment
