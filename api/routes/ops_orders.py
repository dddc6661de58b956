"""Orders, for those who look after a tenant: refund them, and put what was sold on sale again."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Path, status
from structlog import stdlib

from api.checkout_models import OrderOut
from api.checkout_views import order_out
from api.deps import Administration, Db, IdempotencyKey, Wired
from api.fingerprint import fingerprint, key_digest
from api.models import as_checkout_id
from api.ops_order_models import OpsRefundOut, RefundIn, ReturnIn, ops_refund_out
from api.problems import documented
from api.requests import StrictRoute
from api.routes.checkouts import WRITING
from db.order_refunds import NewOrderRefund, decide_order_refund
from db.order_returns import NewReturn, return_stock
from db.orders import read_order
from domain.errors import NotFound, RefundExceedsOrder, ReturnExceedsOrder, Unavailable
from domain.ids import OrderId, order_refund_id_for

router = APIRouter(route_class=StrictRoute, tags=["operations"])
_log = stdlib.get_logger("orders")
OrderPath = Annotated[str, Path(description="The order's id.", examples=["0d6f1f0a-97a1-5d6c-9b0a-5d4a1f1b2c3d"])]


@router.post(
    "/v1/ops/orders/{order_id}/refunds",
    operation_id="refundOrder",
    summary="Refund an order",
    status_code=status.HTTP_201_CREATED,
    responses=documented(*WRITING, RefundExceedsOrder),
)
async def refund(
    order_id: OrderPath, body: RefundIn, caller: Administration, services: Wired, key: IdempotencyKey
) -> OpsRefundOut:
    """Wholly or in part: decided here, then asked for at the gateway until it is made. The order stands; its stock and
    its number stay. The key names the refund, whoever sends it."""
    tenant, order = caller.tenant, OrderId(as_checkout_id(order_id))
    wanted = NewOrderRefund(order_refund_id_for(tenant, order, key), order, body.amount, body.reason, fingerprint(body))
    decided = await decide_order_refund(services.db, tenant, caller.actor, wanted)
    _log.info("order_refund", order=order, refund=decided.id, amount=decided.amount, status=decided.status.value)
    with contextlib.suppress(Unavailable):  # The intent stands: the repair starts it.
        await services.delivery.start_order_refunds(tenant, order)
    return ops_refund_out(decided)


@router.post(
    "/v1/ops/orders/{order_id}/return",
    operation_id="returnOrder",
    summary="Put an order's things on sale again",
    responses=documented(*WRITING, ReturnExceedsOrder),
)
async def return_(
    order_id: OrderPath, caller: Administration, db: Db, key: IdempotencyKey, body: ReturnIn | None = None
) -> OrderOut:
    """Sold units are free again: all or none of those asked for. Never part of a refund, nor is a refund part of it."""
    order, body = OrderId(as_checkout_id(order_id)), body or ReturnIn()
    wanted = NewReturn(order, key_digest(key), fingerprint(body), body.units)
    returned = await return_stock(db, caller.tenant, caller.actor, wanted)
    _log.info("order_returned", order=order, lines=len(returned), units=sum(returned.values()))
    view = await read_order(db, caller.tenant, order, buyer=None)
    if view is None:
        raise NotFound
    return order_out(view)
