"""Orders for tests, made as the worker makes them: held, paid, settled."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from db.database import Database
from db.inbox import record_event
from db.manual_payments import ManualPayment, NewManualPayment, record_manual_payment
from db.order_refunds import NewOrderRefund
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import (
    Actor,
    CheckoutId,
    OrderId,
    ProductId,
    TenantId,
    manual_payment_id_for,
    order_id_for,
    order_refund_id_for,
)
from domain.messages import Capture, Line, Settled, StartCheckout
from tests.support.checkouts import a_capture, a_start, an_event, confirm
from tests.support.venues import start_of

OPERATOR = Actor("user:operator")


@dataclass(frozen=True)
class Sale:
    """A confirmed checkout, its order and its payment."""

    start: StartCheckout
    order: OrderId
    capture: Capture
    total: int


async def a_sale(db: Database, tenant: TenantId, lines: Mapping[ProductId, int]) -> Sale:
    """Products, sold."""
    return await sold(db, a_start(tenant, lines, key=uuid.uuid4().hex))


async def a_ticket_sale(db: Database, tenant: TenantId, *lines: Line) -> Sale:
    """Tickets (and what else the lines name), sold to somebody else each time."""
    return await sold(db, start_of(tenant, *lines))


async def sold(db: Database, start: StartCheckout) -> Sale:
    """The start, held, paid and settled."""
    held = await reserve(db, start)
    assert held.status is CheckoutStatus.HELD, held
    capture = a_capture(start.checkout_id, held.total, payment=f"pay_{uuid.uuid4().hex[:24]}")
    assert await record_event(db, start.tenant, an_event(capture, event=capture.payment_id), b"{}") is not None
    assert (await settle(db, confirm(start.ref, capture))).status is CheckoutStatus.CONFIRMED
    return Sale(start, order_id_for(start.tenant, start.checkout_id), capture, held.total)


def a_refund(
    tenant: TenantId, order: OrderId, amount: int | None = None, key: str | None = None, fingerprint: str = "f"
) -> NewOrderRefund:
    """A refund to decide; another one each time unless the key is an old one."""
    name = order_refund_id_for(tenant, order, key or uuid.uuid4().hex)
    return NewOrderRefund(name, order, amount, "The buyer cannot come", fingerprint)


def by_hand(
    tenant: TenantId, checkout: CheckoutId, key: str = "k", name: str = "Transfer 1", amount: int | None = None
) -> NewManualPayment:
    """A bank transfer to record."""
    payment = manual_payment_id_for(tenant, checkout, key)
    return NewManualPayment(payment, checkout, name, "It came by bank", f"f-{name}-{amount}", amount)


async def settle_by_hand(db: Database, start: StartCheckout, payment: ManualPayment) -> Settled:
    """What a run does with the event of a payment recorded by hand."""
    event = payment.event
    capture = Capture(
        event.gateway, event.payment_id, payment.checkout_id, payment.amount, payment.currency, payment.recorded_at
    )
    return await settle(db, confirm(start.ref, capture))


async def a_sale_by_hand(db: Database, tenant: TenantId, lines: Mapping[ProductId, int]) -> tuple[Sale, ManualPayment]:
    """Products, sold for a payment that an operator has recorded."""
    start = a_start(tenant, lines, key=uuid.uuid4().hex)
    held = await reserve(db, start)
    payment = await record_manual_payment(db, tenant, OPERATOR, by_hand(tenant, start.checkout_id))
    assert (await settle_by_hand(db, start, payment)).status is CheckoutStatus.CONFIRMED
    capture = a_capture(start.checkout_id, held.total, payment=payment.payment_id)
    return Sale(start, order_id_for(tenant, start.checkout_id), capture, held.total), payment
