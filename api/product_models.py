"""Products as an administrator sends and sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, cast

from pydantic import Field

from api.models import StrictModel
from api.routes.products import Product, product_out
from db import catalogue
from db.catalogue_admin import NewProduct, ProductChanges
from domain.catalogue import (
    DESCRIPTION_PATTERN,
    MAX_CHOSEN_ID,
    MAX_DESCRIPTION,
    MAX_NAME,
    MAX_PRICE,
    MAX_STOCK,
    NAME_PATTERN,
)
from domain.ids import ProductId
from domain.tenant_settings import MAX_TAX_NAME

ChosenId = Annotated[int, Field(ge=1, le=MAX_CHOSEN_ID, examples=[61])]
Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME,
        pattern=NAME_PATTERN,
        description="One line, without blanks at its ends.",
        examples=["Colombian coffee, 500 g"],
    ),
]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION, pattern=DESCRIPTION_PATTERN)]
Price = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_PRICE,
        description="In the currency's minor unit (ISO 4217). With 0 it cannot be sold.",
        examples=[2000],
    ),
]
OfferPrice = Annotated[int, Field(ge=1, le=MAX_PRICE, examples=[1500])]
TaxClassName = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=MAX_TAX_NAME,
        pattern=NAME_PATTERN,
        description="One of the tenant's `tax_classes`; null: no tax.",
        examples=["IVA 19 %"],
    ),
]
StockTotal = Annotated[int, Field(ge=0, le=MAX_STOCK, examples=[50])]


class ProductIn(StrictModel):
    """A new product."""

    id: ChosenId | None = Field(default=None, description="The next free number when not given.")
    name: Name
    description: Description = ""
    price: Price
    offer_price: OfferPrice | None = Field(default=None, description="What it costs now; below the price.")
    tax_class: TaxClassName = None
    available: bool = Field(default=True, description="Whether it is on sale.")
    one_per_cart: bool = Field(default=False, description="Whether a cart may have only one.")
    stock_total: StockTotal = 0

    def as_new(self) -> NewProduct:
        """What the database is given."""
        given = self.model_dump(exclude={"id"})
        return NewProduct(**given, id=None if self.id is None else ProductId(self.id))


class ProductPatch(StrictModel):
    """What to change; fields that are not sent stay. Only `offer_price` and `tax_class` may be null."""

    # Factories, not defaults: a field may be left out, but null is not one of its values.
    name: Name = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    price: Price = Field(default_factory=int)
    offer_price: OfferPrice | None = Field(default=None, description="Below the price; null ends the offer.")
    tax_class: TaxClassName = None
    available: bool = Field(default_factory=bool, description="Whether it is on sale.")
    one_per_cart: bool = Field(default_factory=bool, description="Whether a cart may have only one.")
    stock_total: StockTotal = Field(default_factory=int, description="Not below what is reserved and sold.")

    def as_changes(self) -> ProductChanges:
        """The fields that were sent."""
        return cast("ProductChanges", self.model_dump(exclude_unset=True))


class AdminProduct(Product):
    """A product as an administrator sees it."""

    tax_class: TaxClassName
    one_per_cart: bool = Field(description="Whether a cart may have only one.")
    updated_at: datetime = Field(description="When a field of it last changed.")

    @classmethod
    def of(cls, row: catalogue.Product) -> AdminProduct:
        """From its row."""
        public = product_out(row).model_dump()
        return cls(**public, tax_class=row.tax_class, one_per_cart=row.one_per_cart, updated_at=row.updated_at)
