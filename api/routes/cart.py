"""The cart: read, change, clear. Plain SQL: nothing here goes to Temporal."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response, status

from api.cart_models import CartIdsOut, CartOut, CartQuery, Delta, ItemIn
from api.cart_views import cart_response, log_changed, log_read
from api.deps import Buyer, Db
from api.models import RowId
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from db import carts
from domain.errors import (
    AlreadyInCart,
    BadRequest,
    CartProcessing,
    CartRefused,
    Forbidden,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
)
from domain.ids import ProductId

router = APIRouter(route_class=StrictRoute, tags=["cart"])
_READING = (BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Unavailable)
_WITH_BODY = (
    *_READING,
    *JSON_BODY,
    CartProcessing,
    CartRefused,
    AlreadyInCart,
)


@router.get(
    "/v1/cart",
    operation_id="getCart",
    summary="Read the cart",
    response_model=CartOut | CartIdsOut,
    responses=documented(*_READING),
)
async def read(caller: Buyer, db: Db, query: Annotated[CartQuery, Query()]) -> Response:
    """The caller's cart, priced now. Lines that cannot be bought any more are removed or lowered, as `notices` say."""
    view = await carts.read_cart(db, caller.tenant, caller.buyer_key)
    log_read(view)
    return cart_response(view, ids_only=query.view == "ids")


@router.patch(
    "/v1/cart",
    operation_id="changeCart",
    summary="Change quantities",
    response_model=CartOut,
    responses=documented(*_WITH_BODY),
)
async def change(body: Delta, caller: Buyer, db: Db) -> Response:
    """Sets each product that is named to its quantity, 0 removes it; all or nothing. Answers the whole cart."""
    view = await carts.set_quantities(db, caller.tenant, caller.buyer_key, body)
    log_changed(view, *body)
    return cart_response(view)


@router.post(
    "/v1/cart/items",
    operation_id="addToCart",
    summary="Add units of a product",
    status_code=status.HTTP_201_CREATED,
    response_model=CartOut,
    responses=documented(*_WITH_BODY),
)
async def add(body: ItemIn, caller: Buyer, db: Db) -> Response:
    """Adds to what is there. After a lost answer rather send `PATCH /v1/cart`, which may be repeated."""
    product_id = ProductId(body.product_id)
    view = await carts.add_units(db, caller.tenant, caller.buyer_key, product_id, body.quantity)
    log_changed(view, product_id)
    return cart_response(view, status.HTTP_201_CREATED)


@router.delete(
    "/v1/cart/items/{product_id}",
    operation_id="removeFromCart",
    summary="Remove a product",
    response_model=CartOut,
    responses=documented(*_READING, CartProcessing),
)
async def remove(product_id: Annotated[RowId, Path()], caller: Buyer, db: Db) -> Response:
    """Removes its line, if there is one. Answers the whole cart."""
    view = await carts.set_quantities(db, caller.tenant, caller.buyer_key, {ProductId(product_id): 0})
    log_changed(view)
    return cart_response(view)


@router.delete(
    "/v1/cart",
    operation_id="clearCart",
    summary="Clear the cart",
    response_model=CartOut,
    responses=documented(*_READING, CartProcessing),
)
async def clear(caller: Buyer, db: Db) -> Response:
    """Removes every line. Answers the cart, empty."""
    view = await carts.clear_cart(db, caller.tenant, caller.buyer_key)
    log_changed(view)
    return cart_response(view)
