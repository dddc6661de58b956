"""The catalogue, for those who buy."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.deps import AnyCaller, Db
from api.models import MAX_ID, Answer, Minor, RowId
from api.problems import documented
from api.requests import StrictRoute
from db import catalogue
from domain.errors import BadRequest, Invalid, NotFound, Unauthorized, Unavailable
from domain.ids import ProductId

router = APIRouter(route_class=StrictRoute, tags=["catalogue"])


class Product(Answer):
    """A product with its stock now. A hold that is past its end counts as available."""

    id: RowId = Field(examples=[38])
    name: str = Field(examples=["Colombian coffee, 500 g"])
    description: str
    currency: str = Field(description="ISO 4217.", examples=["COP"])
    price: Minor = Field(examples=[2000])
    offer_price: Minor | None = Field(description="What it costs now, when it is on offer.", examples=[1500])
    available: bool = Field(description="Whether it is on sale.")
    stock_total: int = Field(examples=[50])
    stock_reserved: int = Field(examples=[2])
    stock_sold: int = Field(examples=[8])
    stock_available: int = Field(examples=[40])
    stock: int = Field(description="The older name of `stock_available`.", examples=[40])


class ProductPage(Answer):
    """Products in order of id."""

    items: list[Product]
    next_after: RowId | None = Field(description="`after` of the next page; null on the last.", examples=[None])


class PageQuery(BaseModel):
    """Which part of the list."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    after: int = Field(default=0, ge=0, le=MAX_ID, description="Products with ids past this one.")
    limit: int = Field(default=50, ge=1, le=100)


@router.get(
    "/v1/products",
    operation_id="listProducts",
    summary="List products",
    responses=documented(BadRequest, Unauthorized, Invalid, Unavailable),
)
async def list_products(caller: AnyCaller, db: Db, page: Annotated[PageQuery, Query()]) -> ProductPage:
    """The caller's tenant's products, a page at a time."""
    found = await catalogue.list_products(db, caller.tenant, ProductId(page.after), page.limit)
    full = len(found) == page.limit
    return ProductPage(items=[product_out(row) for row in found], next_after=found[-1].id if full else None)


@router.get(
    "/v1/products/{product_id}",
    operation_id="getProduct",
    summary="Read a product",
    responses=documented(BadRequest, Unauthorized, NotFound, Invalid, Unavailable),
)
async def get_product(caller: AnyCaller, db: Db, product_id: Annotated[RowId, Path()]) -> Product:
    """One product of the caller's tenant."""
    found = await catalogue.find_product(db, caller.tenant, ProductId(product_id))
    if found is None:
        raise NotFound
    return product_out(found)


def product_out(row: catalogue.Product) -> Product:
    """What a buyer sees of it."""
    return Product(
        id=row.id,
        name=row.name,
        description=row.description,
        currency=row.currency,
        price=row.price,
        offer_price=row.offer_price,
        available=row.available,
        stock_total=row.total,
        stock_reserved=row.reserved,
        stock_sold=row.sold,
        stock_available=row.free,
        stock=row.free,
    )
