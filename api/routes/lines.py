"""Lines of a live hold: add some, take one out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.checkout_models import CheckoutOut
from api.checkout_views import checkout_out
from api.deps import Buyer, IdempotencyKey, Wired
from api.fingerprint import fingerprint
from api.line_changes import LineChange, change_checkout_lines
from api.line_models import AddLinesIn, RemovedLine, summed
from api.models import RowId, as_checkout_id
from api.problems import documented
from api.requests import StrictRoute
from api.routes.checkouts import WRITING, CheckoutPath
from domain.errors import AlreadyConfirmed, CheckoutRefused, Gone, InsufficientStock, LimitReached, PaymentInFlight
from domain.ids import LineId
from domain.messages import CheckoutRef

router = APIRouter(route_class=StrictRoute, tags=["checkouts"])
LinePath = Annotated[RowId, Path(description="The `id` of a line of the checkout.", examples=[7])]
_CHANGING = (*WRITING, AlreadyConfirmed, CheckoutRefused, PaymentInFlight, Gone)


@router.post(
    "/v1/checkouts/{checkout_id}/lines",
    operation_id="addLines",
    summary="Add lines",
    responses=documented(*_CHANGING, InsufficientStock, LimitReached),
)
async def add(
    checkout_id: CheckoutPath, body: AddLinesIn, caller: Buyer, services: Wired, key: IdempotencyKey
) -> CheckoutOut:
    """Hold these lines too, at the price of now, or none of them. The end moves to the hold time from now at least."""
    lines, metadata = summed(body.lines)
    ref = CheckoutRef(caller.tenant, as_checkout_id(checkout_id))
    change = LineChange(ref, caller.buyer_key, key, fingerprint(body), lines, metadata)
    return checkout_out(await change_checkout_lines(services.db, services.engine, change))


@router.delete(
    "/v1/checkouts/{checkout_id}/lines/{line_id}",
    operation_id="removeLine",
    summary="Take a line out",
    responses=documented(*_CHANGING),
)
async def remove(
    checkout_id: CheckoutPath, line_id: LinePath, caller: Buyer, services: Wired, key: IdempotencyKey
) -> CheckoutOut:
    """Give a line's units back. The end stays. Taking the last line out cancels the checkout."""
    ref = CheckoutRef(caller.tenant, as_checkout_id(checkout_id))
    mark = fingerprint(RemovedLine(line_id=line_id))
    change = LineChange(ref, caller.buyer_key, key, mark, add=[], remove=LineId(line_id))
    return checkout_out(await change_checkout_lines(services.db, services.engine, change))
