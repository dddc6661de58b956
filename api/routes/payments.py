"""Payments of a live hold: start one at a gateway, or see to it that one can be paid no more."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Path, status

from api.checkout_models import GATEWAY, PAYMENT_ID, CheckoutOut
from api.checkout_views import checkout_out
from api.deps import Buyer, IdempotencyKey, Wired
from api.fingerprint import fingerprint, key_digest
from api.models import as_checkout_id
from api.paying import Payable, chosen
from api.payment_models import PaymentStartedOut, StartPaymentIn
from api.problems import documented
from api.requests import StrictRoute
from api.routes.checkouts import READING, WRITING, CheckoutPath
from db.payment_starts import PaymentWish
from domain.errors import (
    AlreadyConfirmed,
    CheckoutRefused,
    GatewayNotConfigured,
    GatewayRefused,
    GatewayUnavailable,
    Gone,
    LimitReached,
    MissingIdempotencyKey,
    NotFound,
    NothingToPay,
    PaymentInFlight,
    PriceChanged,
)
from domain.ids import GatewayName, PaymentId
from domain.messages import CheckoutRef

router = APIRouter(route_class=StrictRoute, tags=["checkouts"])
GatewayPath = Annotated[str, Path(description="The gateway's name.", examples=["sandbox"])]
PaymentPath = Annotated[str, Path(description="The gateway's id of the payment.", examples=["pay_3f9c2a"])]


@router.post(
    "/v1/checkouts/{checkout_id}/payments",
    operation_id="startPayment",
    summary="Start a payment",
    status_code=status.HTTP_201_CREATED,
    responses=documented(
        *WRITING,
        AlreadyConfirmed,
        CheckoutRefused,
        GatewayNotConfigured,
        GatewayRefused,
        NothingToPay,
        PriceChanged,
        Gone,
        LimitReached,
        GatewayUnavailable,
    ),
)
async def start(
    checkout_id: CheckoutPath, caller: Buyer, services: Wired, key: IdempotencyKey, body: StartPaymentIn | None = None
) -> PaymentStartedOut:
    """A payment of the total at a gateway, and what the browser needs to pay it. The hold is extended, once."""
    body = body or StartPaymentIn()
    wish = PaymentWish(
        CheckoutRef(caller.tenant, as_checkout_id(checkout_id)),
        caller.buyer_key,
        key_digest(key),
        fingerprint(body),
        await chosen(services.db, caller.tenant, body.gateway, services.gateways),
        body.return_url,
    )
    return _out(await services.paying.start(wish))


@router.delete(
    "/v1/checkouts/{checkout_id}/payments/{gateway}/{payment_id}",
    operation_id="endPayment",
    summary="End a payment that nobody has made yet",
    responses=documented(*READING, MissingIdempotencyKey, PaymentInFlight, GatewayUnavailable),
)
async def end(
    checkout_id: CheckoutPath,
    gateway: GatewayPath,
    payment_id: PaymentPath,
    caller: Buyer,
    services: Wired,
    key: IdempotencyKey,  # noqa: ARG001  # Asked for of every change; a repeat of this one ends what is ended.
) -> CheckoutOut:
    """The gateway is asked to end it, so that the lines can change. Repeating it is no error."""
    if not re.fullmatch(GATEWAY, gateway) or not re.fullmatch(PAYMENT_ID, payment_id):
        raise NotFound
    ref = CheckoutRef(caller.tenant, as_checkout_id(checkout_id))
    view = await services.paying.end(ref, caller.buyer_key, GatewayName(gateway), PaymentId(payment_id))
    return checkout_out(view)


def _out(payable: Payable) -> PaymentStartedOut:
    start, started = payable.start, payable.started
    return PaymentStartedOut(
        payment_id=payable.payment_id,
        gateway=start.gateway,
        status=payable.status.value,
        amount=start.amount,
        currency=start.currency,
        url=started.url if started else None,
        client_secret=started.client_secret if started else None,
        checkout=checkout_out(payable.view),
    )
