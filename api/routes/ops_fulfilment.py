"""Fulfilment for those who look after a tenant: how it stands, doing a step once more, and what was sold."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Path, Query, status

from api.deps import Administration, Db, IdempotencyKey, Wired
from api.fingerprint import key_digest
from api.fulfilment_models import FulfilmentOut, ReplayOut, SalesOut, SalesQuery
from api.models import as_checkout_id
from api.problems import documented
from api.requests import StrictRoute
from db.fulfilment_steps import ask_again, read_steps
from db.statistics import daily_sales
from domain.errors import (
    BadRequest,
    Forbidden,
    Invalid,
    MissingIdempotencyKey,
    NotFound,
    Unauthorized,
    Unavailable,
)
from domain.fulfilment import replayable
from domain.ids import OrderId

router = APIRouter(route_class=StrictRoute, tags=["operations"])
_ALWAYS = (BadRequest, Unauthorized, Forbidden, Invalid, Unavailable)
OrderPath = Annotated[str, Path(description="The order's id.", examples=["0d6f1f0a-97a1-5d6c-9b0a-5d4a1f1b2c3d"])]
StepPath = Annotated[str, Path(description="`pdf`, `mail`, `notify` or `statistics`.", examples=["mail"])]


@router.get(
    "/v1/ops/orders/{order_id}/fulfilment",
    operation_id="getFulfilment",
    summary="Read an order's fulfilment",
    responses=documented(*_ALWAYS, NotFound),
)
async def read(order_id: OrderPath, caller: Administration, db: Db) -> FulfilmentOut:
    """How each step stands, with its attempts and why the latest one failed."""
    steps = await read_steps(db, caller.tenant, OrderId(as_checkout_id(order_id)))
    if steps is None:
        raise NotFound
    return FulfilmentOut.of(order_id, steps)


@router.post(
    "/v1/ops/orders/{order_id}/fulfilment/{step}/replay",
    operation_id="replayStep",
    summary="Do a step once more",
    status_code=status.HTTP_202_ACCEPTED,
    responses=documented(*_ALWAYS, NotFound, MissingIdempotencyKey),
)
async def replay(
    order_id: OrderPath, step: StepPath, caller: Administration, services: Wired, key: IdempotencyKey
) -> ReplayOut:
    """Such as sending the tickets again. Audited. The same key asks for it once."""
    order = OrderId(as_checkout_id(order_id))
    try:
        request = await ask_again(services.db, caller.tenant, order, replayable(step), key_digest(key), caller.actor)
    except NotFound:
        raise NotFound from None  # In the same words, whichever of the two is not there.
    with contextlib.suppress(Unavailable):  # It is written down: the consistency check starts it.
        await services.fulfilling.replay(request)
    return ReplayOut.of(request)


@router.get(
    "/v1/ops/statistics/sales",
    operation_id="readSales",
    summary="Read what was sold by day",
    responses=documented(*_ALWAYS),
)
async def sales(caller: Administration, db: Db, query: Annotated[SalesQuery, Query()]) -> SalesOut:
    """Orders, units and revenue of each day and currency, as the orders were made."""
    return SalesOut.of(await daily_sales(db, caller.tenant, query.since))
