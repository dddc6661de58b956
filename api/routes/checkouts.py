"""Checkouts: start, read, extend, confirm, cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response, status

from api.addresses import address_of
from api.changing import cancel_checkout, extend_checkout, own_checkout
from api.checkout_models import AcceptedOut, CancelIn, CheckoutOut, ConfirmIn, ExtendIn, OrderOut, StartIn
from api.checkout_views import checkout_out, order_out
from api.confirming import Claim, Pending
from api.deps import Buyer, Db, IdempotencyKey, Wired
from api.fingerprint import fingerprint
from api.models import as_checkout_id
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from api.starting import start_checkout
from api.tokens import CallerKind
from domain.errors import (
    AlreadyConfirmed,
    BadRequest,
    CartEmpty,
    CartProcessing,
    CheckoutRefused,
    Forbidden,
    GatewayUnavailable,
    Gone,
    HoldfastError,
    IdempotencyKeyReused,
    InsufficientStock,
    Invalid,
    LimitReached,
    MissingIdempotencyKey,
    NotFound,
    PaymentMismatch,
    PaymentNotCaptured,
    PaymentRefunded,
    PriceChanged,
    Unauthorized,
    Unavailable,
)
from domain.ids import GatewayName, PaymentId, checkout_id_for
from domain.messages import CheckoutRef

router = APIRouter(route_class=StrictRoute, tags=["checkouts"])
CheckoutPath = Annotated[str, Path(description="The checkout's id.", examples=["0d6f1f0a-97a1-5d6c-9b0a-5d4a1f1b2c3d"])]
READING: tuple[type[HoldfastError], ...] = (BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Unavailable)
WRITING = (
    *READING,
    *JSON_BODY,
    MissingIdempotencyKey,
    IdempotencyKeyReused,
)
"""What every route can answer that changes a checkout."""


@router.post(
    "/v1/checkouts",
    operation_id="startCheckout",
    summary="Start a checkout",
    status_code=status.HTTP_201_CREATED,
    responses=documented(*WRITING, CartEmpty, CartProcessing, InsufficientStock, PriceChanged, LimitReached),
)
async def start(
    body: StartIn, request: Request, caller: Buyer, services: Wired, key: IdempotencyKey, response: Response
) -> CheckoutOut:
    """Hold every line, or none; `{}`: the caller's cart. The same key answers the same checkout, as it is now."""
    checkout = checkout_id_for(caller.tenant, caller.key_scope, key)
    address = None if caller.kind is CallerKind.SERVICE else services.engine.address_key(address_of(request.scope))
    view = await start_checkout(
        services.db,
        services.engine,
        services.delivery,
        caller.tenant,
        caller.buyer_key,
        checkout,
        body,
        fingerprint(body),
        address,
    )
    response.headers["location"] = f"/v1/checkouts/{checkout}"
    return checkout_out(view)


@router.get(
    "/v1/checkouts/{checkout_id}",
    operation_id="getCheckout",
    summary="Read a checkout",
    responses=documented(*READING, CheckoutRefused),
)
async def read(checkout_id: CheckoutPath, caller: Buyer, db: Db) -> CheckoutOut:
    """Its state, time left, lines, and what became of its payments."""
    view = await own_checkout(db, CheckoutRef(caller.tenant, as_checkout_id(checkout_id)), caller.buyer_key)
    if view.row["refusal"] is not None:
        raise CheckoutRefused("It was refused at its start and holds nothing.", refusal=view.row["refusal"])
    return checkout_out(view)


@router.post(
    "/v1/checkouts/{checkout_id}/extend",
    operation_id="extendCheckout",
    summary="Extend the hold",
    responses=documented(*WRITING, AlreadyConfirmed, Gone),
)
async def extend(
    checkout_id: CheckoutPath, caller: Buyer, services: Wired, key: IdempotencyKey, body: ExtendIn | None = None
) -> CheckoutOut:
    """New end: the later of the old one and now + step, never past the start + maximum."""
    body = body or ExtendIn()
    view = await extend_checkout(
        services.db,
        services.engine,
        CheckoutRef(caller.tenant, as_checkout_id(checkout_id)),
        caller.buyer_key,
        key,
        body.minutes * 60 if body.minutes else None,
        fingerprint(body),
    )
    return checkout_out(view)


@router.post(
    "/v1/checkouts/{checkout_id}/cancel",
    operation_id="cancelCheckout",
    summary="Cancel",
    responses=documented(*WRITING, AlreadyConfirmed, Gone),
)
async def cancel(
    checkout_id: CheckoutPath, caller: Buyer, services: Wired, key: IdempotencyKey, body: CancelIn | None = None
) -> CheckoutOut:
    """Give the stock back at once. Repeating it is no error."""
    ref = CheckoutRef(caller.tenant, as_checkout_id(checkout_id))
    mark = fingerprint(body or CancelIn())
    return checkout_out(await cancel_checkout(services.db, services.engine, ref, caller.buyer_key, key, mark))


@router.post(
    "/v1/checkouts/{checkout_id}/confirm",
    operation_id="confirmCheckout",
    summary="Confirm with a payment",
    response_model=OrderOut,
    responses={
        202: {"model": AcceptedOut, "description": "Taken; look at `status_url`."},
        **documented(
            *WRITING,
            AlreadyConfirmed,
            CheckoutRefused,
            PaymentMismatch,
            PaymentNotCaptured,
            PaymentRefunded,
            GatewayUnavailable,
        ),
    },
)
async def confirm(
    checkout_id: CheckoutPath,
    body: ConfirmIn,
    caller: Buyer,
    services: Wired,
    key: IdempotencyKey,
    response: Response,
    prefer: Annotated[str, Header(description="`respond-async`: answer 202 at once (RFC 7240).")] = "",
) -> OrderOut | Response:
    """The gateway's word makes the sale: the order, or 202 when that takes longer than two seconds."""
    if body.gateway not in services.gateways:
        raise Invalid("There is no such gateway.", errors=[{"field": "gateway", "message": "Unknown gateway"}])
    claim = Claim(
        ref=CheckoutRef(caller.tenant, as_checkout_id(checkout_id)),
        buyer=caller.buyer_key,
        gateway=GatewayName(body.gateway),
        payment_id=PaymentId(body.payment_id),
        key=key,
        fingerprint=fingerprint(body),
        asynchronous="respond-async" in prefer.lower(),
    )
    outcome = await services.confirming.confirm(claim)
    if isinstance(outcome, Pending):
        return _accepted(outcome)
    response.headers["location"] = f"/v1/orders/{outcome.row['id']}"
    return order_out(outcome)


def _accepted(pending: Pending) -> Response:
    row = pending.view.row
    url = f"/v1/checkouts/{row['id']}"
    body = AcceptedOut(checkout_id=row["id"], status=row["status"], status_url=url, detail=pending.detail)
    headers = {"location": url, "retry-after": "1"}
    return Response(body.model_dump_json(), status.HTTP_202_ACCEPTED, headers, "application/json")
