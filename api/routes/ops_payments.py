"""Payments, for those who look after a tenant: see them and why, and record what was paid or returned by hand."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, status
from structlog import stdlib

from activities.manual_payments import take_manual_payment
from api.deps import Administration, Db, IdempotencyKey, Wired
from api.fingerprint import fingerprint
from api.models import as_checkout_id
from api.ops_order_models import ManualPaymentIn, ManualPaymentOut, ReturnedMoneyIn, manual_payment_out
from api.ops_payment_models import (
    NAME,
    OpsPaymentDetail,
    OpsPaymentPage,
    PaymentsQuery,
    payment_detail,
    payment_page,
    place_in_payments,
)
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from api.routes.checkouts import WRITING, CheckoutPath
from db.manual_payments import NewManualPayment
from db.manual_refunds import record_returned_money
from db.payment_reading import list_payments, read_payment
from domain.errors import (
    BadRequest,
    CheckoutRefused,
    Conflict,
    Forbidden,
    Invalid,
    ManualPaymentExists,
    NotFound,
    NothingToPay,
    Unauthorized,
    Unavailable,
)
from domain.ids import CheckoutId, GatewayName, PaymentId, manual_payment_id_for

router = APIRouter(route_class=StrictRoute, tags=["operations"])
_ALWAYS = (BadRequest, Unauthorized, Forbidden, Invalid, Unavailable)
_log = stdlib.get_logger("payments")
GatewayPath = Annotated[str, Path(description="The gateway's name.", examples=["sandbox"])]
PaymentPath = Annotated[str, Path(description="The gateway's id of the payment.", examples=["pay_3f9c2a"])]


@router.get(
    "/v1/ops/payments",
    operation_id="listPayments",
    summary="List payments",
    responses=documented(*_ALWAYS),
)
async def listing(caller: Administration, db: Db, query: Annotated[PaymentsQuery, Query()]) -> OpsPaymentPage:
    """The tenant's, newest first, a page at a time: by how they stand, what became of them, or their checkout."""
    before = place_in_payments(query.before) if query.before else None
    return payment_page(await list_payments(db, caller.tenant, query.wanted, limit=query.limit, before=before))


@router.get(
    "/v1/ops/payments/{gateway}/{payment_id}",
    operation_id="getPayment",
    summary="Read a payment, and why it stands as it does",
    responses=documented(*_ALWAYS, NotFound),
)
async def one(gateway: GatewayPath, payment_id: PaymentPath, caller: Administration, db: Db) -> OpsPaymentDetail:
    """Its row, its events, what became of it and why, its order's refunds, and the ids of its workflows."""
    if not NAME.fullmatch(gateway) or not NAME.fullmatch(payment_id):
        raise NotFound
    view = await read_payment(db, caller.tenant, GatewayName(gateway), PaymentId(payment_id))
    if view is None:
        raise NotFound
    return payment_detail(caller.tenant, view)


@router.post(
    "/v1/ops/checkouts/{checkout_id}/manual-payment",
    operation_id="recordManualPayment",
    summary="Record a payment seen elsewhere",
    status_code=status.HTTP_201_CREATED,
    responses=documented(*WRITING, CheckoutRefused, ManualPaymentExists, NothingToPay),
)
async def record(
    checkout_id: CheckoutPath, body: ManualPaymentIn, caller: Administration, services: Wired, key: IdempotencyKey
) -> ManualPaymentOut:
    """Such as a bank transfer. It counts as captured: a live hold becomes an order; after the end it goes the way of
    any late payment. A 503 has recorded it: send it again with the same key."""
    tenant, checkout = caller.tenant, CheckoutId(as_checkout_id(checkout_id))
    payment = manual_payment_id_for(tenant, checkout, key)
    wanted = NewManualPayment(payment, checkout, body.name, body.reason, fingerprint(body), body.amount)
    taken = await take_manual_payment(services.db, services.delivery, tenant, caller.actor, wanted)
    _log.info("manual_payment", checkout=checkout, payment=payment, amount=taken.amount, currency=taken.currency)
    return manual_payment_out(taken)


@router.post(
    "/v1/ops/payments/manual/{payment_id}/refunded",
    operation_id="recordReturnedMoney",
    summary="Record money returned by hand",
    responses=documented(*_ALWAYS, *JSON_BODY, NotFound, Conflict),
)
async def refunded(payment_id: PaymentPath, body: ReturnedMoneyIn, caller: Administration, db: Db) -> ManualPaymentOut:
    """Of a payment recorded by hand: the refunds that were waiting for it are made. A repeat changes nothing."""
    if not NAME.fullmatch(payment_id):
        raise NotFound
    payment = PaymentId(payment_id)
    done = await record_returned_money(db, caller.tenant, caller.actor, payment, body.amount, body.name)
    _log.info("money_returned", payment=payment, returned=done.refunded_amount)
    return manual_payment_out(done)
