"""From a cart to what HTTP answers, and to what the log says of it.

The body is built and written once: the models of `api/cart_models.py` only describe it. The end-to-end tests hold every
answer against the document.
"""

from __future__ import annotations

from typing import Any

from fastapi import Response
from pydantic_core import to_json
from structlog import stdlib

from db.cart_view import CartView
from domain.cart import Notice, ProductNow
from domain.ids import ProductId

NO_STORE = {"cache-control": "no-store"}
_log = stdlib.get_logger("carts")


def cart_response(view: CartView, status: int = 200, *, ids_only: bool = False) -> Response:
    """The cart as JSON that no cache keeps."""
    body = _head(view)
    if ids_only:
        body["lines"] = [{"product_id": each, "quantity": quantity} for each, quantity in view.lines.items()]
    else:
        products, sums = view.products, view.totals
        body["currency"] = view.currency
        body["lines"] = [_line(products[each], quantity) for each, quantity in view.lines.items()]
        body |= {"subtotal": sums.subtotal, "discount": sums.discount, "tax": sums.tax, "total": sums.total}
    return Response(to_json(body), status, NO_STORE, "application/json")


def log_read(view: CartView) -> None:
    """Say what a read had to remove or lower, and why."""
    if view.notices:
        _log.info("cart_validated", cart=view.id, removed=_removed(view))


def log_changed(view: CartView, *asked: ProductId) -> None:
    """Say what was validated at which price, and what had to go."""
    lines = [
        {"product_id": each, "quantity": quantity, "unit_price": view.products[each].unit_price}
        for each in asked
        if (quantity := view.lines.get(each))
    ]
    _log.info("cart_changed", cart=view.id, lines=len(view.lines), validated=lines, removed=_removed(view))


def _removed(view: CartView) -> list[dict[str, Any]]:
    return [
        {"product_id": each.product_id, "reason": each.reason.value, "before": each.before, "after": each.after}
        for each in view.notices
    ]


def _head(view: CartView) -> dict[str, Any]:
    return {
        "id": view.id,
        "status": view.status,
        "checkout_id": view.checkout_id,
        "updated_at": view.updated_at,
        "notices": [_notice(each) for each in view.notices],
    }


def _notice(notice: Notice) -> dict[str, Any]:
    return {
        "product_id": notice.product_id,
        "name": notice.name,
        "reason": notice.reason,
        "before": notice.before,
        "after": notice.after,
    }


def _line(product: ProductNow, quantity: int) -> dict[str, Any]:
    unit_price = product.unit_price
    return {
        "product_id": product.id,
        "name": product.name,
        "quantity": quantity,
        "price": product.price,
        "offer_price": unit_price if unit_price < product.price else None,
        "unit_price": unit_price,
        "total": quantity * unit_price,
        "available": product.available,
        "stock_available": product.free,
        "one_per_cart": product.one_per_cart,
    }
