"""The catalogue, for a tenant's administrators. Every change is in the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from api.deps import Admin, Db
from api.models import Answer, RowId
from api.problems import JSON_BODY, documented
from api.product_models import AdminProduct, ProductIn, ProductPatch
from api.requests import StrictRoute
from api.routes.products import PageQuery
from db import catalogue, catalogue_admin
from domain.errors import (
    BadRequest,
    Forbidden,
    Invalid,
    NotFound,
    ProductExists,
    ProductHeld,
    TotalBelowCommitted,
    Unauthorized,
    Unavailable,
)
from domain.ids import ProductId

router = APIRouter(route_class=StrictRoute, tags=["catalogue administration"])

_ALWAYS = (BadRequest, Unauthorized, Forbidden, Invalid, Unavailable)
_CREATED = {
    "headers": {"Location": {"description": "Where the product is.", "schema": {"type": "string"}}},
}


class AdminProductPage(Answer):
    """Products in order of id."""

    items: list[AdminProduct]
    next_after: RowId | None = Field(description="`after` of the next page; null on the last.", examples=[None])


@router.post(
    "/v1/admin/products",
    operation_id="createProduct",
    summary="Create a product",
    status_code=201,
    responses={**documented(*_ALWAYS, *JSON_BODY, NotFound, ProductExists), 201: _CREATED},
)
async def create(body: ProductIn, caller: Admin, db: Db, response: Response) -> AdminProduct:
    """Adds a product with its stock. Needs no Idempotency-Key: send an `id`, and a repeat is 409 `product_exists`.
    Without one, each request that succeeds makes another product."""
    made = await catalogue_admin.create_product(db, caller.tenant, caller.actor, body.as_new())
    response.headers["location"] = f"/v1/admin/products/{made.id}"
    return AdminProduct.of(made)


@router.get(
    "/v1/admin/products",
    operation_id="listAdminProducts",
    summary="List products as an administrator",
    responses=documented(*_ALWAYS),
)
async def list_page(caller: Admin, db: Db, page: Annotated[PageQuery, Query()]) -> AdminProductPage:
    """The tenant's products, a page at a time, also those that are not on sale."""
    found = await catalogue.list_products(db, caller.tenant, ProductId(page.after), page.limit)
    full = len(found) == page.limit
    return AdminProductPage(items=list(map(AdminProduct.of, found)), next_after=found[-1].id if full else None)


@router.get(
    "/v1/admin/products/{product_id}",
    operation_id="getAdminProduct",
    summary="Read a product as an administrator",
    responses=documented(*_ALWAYS, NotFound),
)
async def read(caller: Admin, db: Db, product_id: Annotated[RowId, Path()]) -> AdminProduct:
    """One product of the tenant."""
    found = await catalogue.find_product(db, caller.tenant, ProductId(product_id))
    if found is None:
        raise NotFound
    return AdminProduct.of(found)


@router.patch(
    "/v1/admin/products/{product_id}",
    operation_id="changeProduct",
    summary="Change a product",
    responses=documented(*_ALWAYS, *JSON_BODY, NotFound, TotalBelowCommitted),
)
async def change(body: ProductPatch, caller: Admin, db: Db, product_id: Annotated[RowId, Path()]) -> AdminProduct:
    """Changes the fields that are sent, and answers the whole product. Live holds keep the price they were given. A
    stock total below what is reserved and sold is refused."""
    changed = await catalogue_admin.change_product(
        db, caller.tenant, caller.actor, ProductId(product_id), body.as_changes()
    )
    return AdminProduct.of(changed)


@router.delete(
    "/v1/admin/products/{product_id}",
    operation_id="deleteProduct",
    summary="Delete a product",
    status_code=204,
    responses=documented(*_ALWAYS, NotFound, ProductHeld),
)
async def delete(caller: Admin, db: Db, product_id: Annotated[RowId, Path()]) -> None:
    """Deletes a product that no live hold keeps. Orders keep its name; carts lose it when they are next read."""
    await catalogue_admin.delete_product(db, caller.tenant, caller.actor, ProductId(product_id))
