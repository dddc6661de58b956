"""The sandbox gateway's HTTP interface for programs."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
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
    Moment,
    NewPayment,
    NewRefund,
    Payment,
    Payments,
    Problem,
    Refund,
    Webhook,
)
from local.gateway.service import Sandbox

Row = dict[str, Any]


async def sandbox_of(request: Request) -> Sandbox:
    """The gateway that the app's lifespan started. Async, as FastAPI runs a plain function in a thread."""
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


async def base_of(request: Request) -> str:
    """Where buyers find the payments' own pages."""
    sandbox: Sandbox = request.app.state.sandbox
    return (sandbox.public_url or str(request.base_url)).rstrip("/")


async def shown(work: Awaitable[Row], base: str) -> Row:
    """A payment as it is answered: with the address of its own page."""
    payment = await work
    return payment | {"url": f"{base}/pay/{payment['id']}"}


Here = Annotated[Sandbox, Depends(sandbox_of)]
Base = Annotated[str, Depends(base_of)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]
_NO: dict[int | str, Row] = {404: {"model": Problem}, 409: {"model": Problem}, 422: {"model": Problem}}
router = APIRouter(responses={422: {"model": Problem}})


@router.post("/payments", status_code=201, response_model=Payment, tags=["payments"])
async def create_payment(here: Here, base: Base, new: NewPayment, key: Key = None) -> Row | Response:
    """A payment that waits for its buyer. The same Idempotency-Key gives the same payment, whatever `ends_at` says."""
    asked = new.model_dump(mode="json", exclude={"ends_at"})
    return await here.failing(
        here.faults.start,
        lambda: shown(
            here.run(lambda db: ledger.once(db, "payments", key, asked, lambda: ledger.create(db, new))), base
        ),
    )


@router.get("/payments", response_model=Payments, tags=["payments"])
async def list_payments(
    here: Here,
    base: Base,
    tenant: str | None = None,
    checkout_id: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    cursor: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Row | Response:
    """The payments made at `since` or later and before `until`, the oldest first, page by page."""
    wanted = ledger.Wanted(
        tenant, checkout_id, _kept(since) or ledger.NEVER, _kept(until) or ledger.EVER, cursor, limit
    )
    return await here.failing(here.faults.list, lambda: _page(here.read(ledger.page, wanted), base))


@router.get("/payments/{payment_id}", response_model=Payment, responses=_NO, tags=["payments"])
async def get_payment(here: Here, base: Base, payment_id: str) -> Row | Response:
    """The payment as it is now."""
    return await here.failing(here.faults.fetch, lambda: shown(here.read(ledger.get, payment_id), base))


@router.post("/payments/{payment_id}/process", response_model=Payment, responses=_NO, tags=["payments"])
async def process_payment(here: Here, base: Base, payment_id: str, action: Annotated[Act | None, Body()] = None) -> Row:
    """The buyer begins to pay: sends payment.processing."""
    return await shown(here.run(ledger.process, payment_id, here.behaviour_of(action)), base)


@router.post("/payments/{payment_id}/pay", response_model=Payment, responses=_NO, tags=["payments"])
async def pay_payment(here: Here, base: Base, payment_id: str, action: Annotated[Act | None, Body()] = None) -> Row:
    """The money is taken: sends payment.captured. Paying a captured payment again changes and sends nothing."""
    return await shown(here.run(ledger.pay, payment_id, here.behaviour_of(action)), base)


@router.post("/payments/{payment_id}/decline", response_model=Payment, responses=_NO, tags=["payments"])
async def decline_payment(
    here: Here, base: Base, payment_id: str, action: Annotated[Decline | None, Body()] = None
) -> Row:
    """The card is refused: sends payment.failed. The payment may be paid later."""
    reason = None if action is None else action.reason
    return await shown(here.run(ledger.decline, payment_id, reason, here.behaviour_of(action)), base)


@router.post("/payments/{payment_id}/expire", response_model=Payment, responses=_NO, tags=["payments"])
async def expire_payment(
    here: Here, base: Base, payment_id: str, action: Annotated[Act | None, Body()] = None
) -> Row | Response:
    """Nobody can pay it any more: sends payment.expired. A captured payment, or one on its way, stays as it is."""
    behaviour = here.behaviour_of(action)
    return await here.failing(here.faults.expire, lambda: shown(here.run(ledger.expire, payment_id, behaviour), base))


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


async def _page(work: Awaitable[tuple[list[Row], int | None]], base: str) -> Row:
    payments, more = await work
    items = [payment | {"url": f"{base}/pay/{payment['id']}"} for payment in payments]
    return {"items": items, "next": None if more is None else str(more)}


def _kept(moment: datetime | None) -> str | None:
    """As the ledger keeps times."""
    return None if moment is None else moment.astimezone(UTC).isoformat()
