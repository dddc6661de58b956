"""The tickets of an order, as a PDF."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from api.deps import Buyer, Db
from api.models import as_checkout_id
from api.problems import documented
from api.requests import StrictRoute
from api.routes.ops_fulfilment import OrderPath
from db.order_documents import owner_of_order, read_tickets
from domain.errors import BadRequest, Forbidden, Invalid, NotFound, TicketsNotReady, Unauthorized, Unavailable
from domain.ids import OrderId

router = APIRouter(route_class=StrictRoute, tags=["orders"])
_PDF: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A page for each ticket or voucher, and a receipt.",
        "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get(
    "/v1/orders/{order_id}/tickets.pdf",
    operation_id="getTickets",
    summary="Read an order's tickets",
    response_class=Response,
    responses={
        **_PDF,
        **documented(BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Unavailable, TicketsNotReady),
    },
)
async def tickets(order_id: OrderPath, caller: Buyer, db: Db) -> Response:
    """As they were made after the sale. Before that 409 `tickets_not_ready`: ask again."""
    order = OrderId(as_checkout_id(order_id))
    if await owner_of_order(db, caller.tenant, order) != caller.buyer_key:
        raise NotFound
    found = await read_tickets(db, caller.tenant, order)
    if found is None:
        raise TicketsNotReady("They are being made; ask again.", retry_after=2)
    headers = {
        "content-disposition": f'inline; filename="tickets-{order[:8]}.pdf"',
        "cache-control": "private, no-store",
    }
    return Response(found.content, media_type="application/pdf", headers=headers)
