"""The sandbox gateway's HTTP interface for programs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Request
from fastapi.responses import Response

from local.gateway import ledger, outbox
from local.gateway.schemas import (
    Act,
    Behaviour,
    Decline,
    Faults,
    Health,
    LedgerEntry,
    NewPayment,
    NewRefund,
    Payment,
    Problem,
    Refund,
    Webhook,
)
from local.gateway.service import Sandbox


async def sandbox_of(request: Request) -> Sandbox:
    """The gateway that the app's lifespan started. Async, as FastAPI runs a plain function in a thread."""
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


Here = Annotated[Sandbox, Depends(sandbox_of)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]
Row = dict[str, Any]

_NO: dict[int | str, Row] = {404: {"model": Problem}, 409: {"model": Problem}, 422: {"model": Problem}}
router = APIRouter(responses={422: {"model": Problem}})


@router.post("/payments", status_code=201, response_model=Payment, tags=["payments"])
async def create_payment(here: Here, new: NewPayment, key: Key = None) -> Row:
    """A payment that waits for its buyer. The same Idempotency-Key gives the same payment."""
    return await here.run(lambda db: ledger.once(db, "payments", key, new.model_dump(), lambda: ledger.create(db, new)))


@router.get("/payments", response_model=list[Payment], tags=["payments"])
async def list_payments(
    here: Here, checkout_id: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[Row]:
    """The newest payments first, of one checkout or of all."""
    return await here.read(ledger.find, checkout_id, limit)


@router.get("/payments/{payment_id}", response_model=Payment, responses=_NO, tags=["payments"])
async def get_payment(here: Here, payment_id: str) -> Row | Response:
    """The payment as it is now."""
    return await here.failing(here.faults.fetch, lambda: here.read(ledger.get, payment_id))


@router.post("/payments/{payment_id}/process", response_model=Payment, responses=_NO, tags=["payments"])
async def process_payment(here: Here, payment_id: str, action: Annotated[Act | None, Body()] = None) -> Row:
    """The buyer begins to pay: sends payment.processing."""
    return await here.run(ledger.process, payment_id, here.behaviour_of(action))


@router.post("/payments/{payment_id}/pay", response_model=Payment, responses=_NO, tags=["payments"])
async def pay_payment(here: Here, payment_id: str, action: Annotated[Act | None, Body()] = None) -> Row:
    """The money is taken: sends payment.captured. Paying a captured payment again changes and sends nothing."""
    return await here.run(ledger.pay, payment_id, here.behaviour_of(action))


@router.post("/payments/{payment_id}/decline", response_model=Payment, responses=_NO, tags=["payments"])
async def decline_payment(here: Here, payment_id: str, action: Annotated[Decline | None, Body()] = None) -> Row:
    """The card is refused: sends payment.failed. The payment may be paid later."""
    reason = None if action is None else action.reason
    return await here.run(ledger.decline, payment_id, reason, here.behaviour_of(action))


@router.post("/payments/{payment_id}/refund", response_model=Refund, responses=_NO, tags=["payments"])
async def refund_payment(
    here: Here, payment_id: str, action: Annotated[NewRefund | None, Body()] = None, key: Key = None
) -> Row | Response:
    """Money goes back: sends payment.refunded. The same Idempotency-Key gives the same refund."""
    amount = None if action is None else action.amount
    behaviour, scope = here.behaviour_of(action), f"refund:{payment_id}"
    return await here.failing(
        here.faults.refund,
        lambda: here.run(
            lambda db: ledger.once(
                db, scope, key, {"amount": amount}, lambda: ledger.refund(db, payment_id, amount, behaviour)
            )
        ),
    )


@router.get("/ledger", response_model=list[LedgerEntry], tags=["payments"])
async def read_ledger(here: Here, tenant: str | None = None) -> list[Row]:
    """Every movement of money in the order it happened."""
    return await here.read(ledger.entries, tenant)


@router.get("/webhooks", response_model=list[Webhook], tags=["webhooks"])
async def list_webhooks(here: Here, payment_id: str | None = None) -> list[Row]:
    """Each copy of each event, with its attempts and the last answer."""
    return await here.read(outbox.find, payment_id)


@router.post("/webhooks/{event_id}/resend", response_model=list[Webhook], responses=_NO, tags=["webhooks"])
async def resend_webhook(here: Here, event_id: str) -> list[Row]:
    """Send it once more now, also when it was delivered or dropped."""
    return await here.run(outbox.resend, event_id)


@router.put("/behaviour", response_model=Behaviour, tags=["on command"])
async def set_behaviour(here: Here, behaviour: Behaviour) -> Behaviour:
    """How webhooks go out when an action does not say; forgotten at a restart."""
    here.behaviour = behaviour
    return behaviour


@router.put("/faults", response_model=Faults, tags=["on command"])
async def set_faults(here: Here, faults: Faults) -> Faults:
    """How the gateway itself fails; `{}` mends it. Forgotten at a restart."""
    here.faults = faults
    return faults


@router.get("/healthz", tags=["health"])
async def health() -> Health:
    """It is up."""
    return Health()
