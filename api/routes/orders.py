"""Orders: what was sold."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.checkout_models import OrderOut, OrderPage
from api.checkout_views import order_out
from api.deps import Buyer, Db
from api.models import as_checkout_id
from api.problems import documented
from api.requests import StrictRoute
from db.orders import OrderView, list_orders, read_order
from domain.errors import BadRequest, Forbidden, Invalid, NotFound, Unauthorized, Unavailable
from domain.ids import OrderId

router = APIRouter(route_class=StrictRoute, tags=["orders"])


class PageQuery(BaseModel):
    """Which part of the list."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    limit: int = Field(default=20, ge=1, le=100)
    before: str | None = Field(default=None, max_length=200, description="`next_before` of the page before.")


@router.get(
    "/v1/orders",
    operation_id="listOrders",
    summary="List orders",
    responses=documented(BadRequest, Unauthorized, Forbidden, Invalid, Unavailable),
)
async def list_own(caller: Buyer, db: Db, page: Annotated[PageQuery, Query()]) -> OrderPage:
    """The caller's orders, newest first, a page at a time."""
    found = await list_orders(
        db, caller.tenant, buyer=caller.buyer_key, limit=page.limit, before=_place(page.before) if page.before else None
    )
    more = len(found) == page.limit
    return OrderPage(items=[order_out(one) for one in found], next_before=_cursor(found[-1]) if more else None)


@router.get(
    "/v1/orders/{order_id}",
    operation_id="getOrder",
    summary="Read an order",
    responses=documented(BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Unavailable),
)
async def read(order_id: Annotated[str, Path()], caller: Buyer, db: Db) -> OrderOut:
    """One order of the caller's."""
    view = await read_order(db, caller.tenant, OrderId(as_checkout_id(order_id)), buyer=caller.buyer_key)
    if view is None:
        raise NotFound
    return order_out(view)


def _cursor(order: OrderView) -> str:
    return base64.urlsafe_b64encode(f"{order.row['created_at'].isoformat()}|{order.row['id']}".encode()).decode()


def _place(cursor: str) -> tuple[datetime, OrderId]:
    try:
        at, _, order = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition("|")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError
        return moment, OrderId(as_checkout_id(order))
    except (ValueError, binascii.Error, NotFound):
        field = {"field": "before", "message": "Not a place in this list", "fix": "Send `next_before` as it was"}
        raise Invalid("`before` is not valid.", errors=[field]) from None
