"""The shapes of carts at HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from api.models import MAX_ID, Answer, Minor, RowId, StrictModel
from api.validation import MAX_ERRORS
from domain.cart import CartStatus, NoticeReason
from domain.checkout import MAX_LINES, MAX_QUANTITY
from domain.errors import Invalid
from domain.ids import ProductId

_KEY = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_BAD_KEY = f"Key %d is not a product's id: a whole number from 1 to {MAX_ID}, in digits, without leading zeros"
_BAD_VALUE = f"The value of key %d is not a quantity: a JSON integer from 0 to {MAX_QUANTITY}"


def _as_delta(body: Any) -> dict[ProductId, int]:
    """Quantities by product. Raises Invalid, which names keys by their place and never by what they say.

    By hand, because a place is what the error must name, and it is quicker: carts are changed all the time.
    """
    if not isinstance(body, dict) or not 1 <= len(body) <= MAX_LINES:
        problem = {"field": "body", "message": f"Input should be an object of 1 to {MAX_LINES} keys"}
        raise Invalid("See `errors`.", errors=[{**problem, "fix": 'Send products and quantities, such as {"38":3}'}])
    delta = {
        ProductId(int(key)): quantity
        for key, quantity in body.items()
        if type(quantity) is int and 0 <= quantity <= MAX_QUANTITY and _KEY.fullmatch(key) and int(key) <= MAX_ID
    }
    if len(delta) < len(body):
        raise Invalid("See `errors` for each key that is not valid.", errors=list(_faults(body))[:MAX_ERRORS])
    return delta


def _faults(body: dict[str, Any]) -> Iterator[dict[str, str]]:
    for place, (key, quantity) in enumerate(body.items()):
        if not _KEY.fullmatch(key) or int(key) > MAX_ID:
            fix = "Send ids as the catalogue has them"
            yield {"field": f"keys.{place}", "message": _BAD_KEY % (place + 1), "fix": fix}
        if type(quantity) is not int or not 0 <= quantity <= MAX_QUANTITY:
            fix = "Send a JSON integer, without quotes, decimals or exponent; 0 removes the line"
            yield {"field": f"values.{place}", "message": _BAD_VALUE % (place + 1), "fix": fix}


Delta = Annotated[
    dict[ProductId, int],
    PlainValidator(_as_delta),
    WithJsonSchema(
        {
            "type": "object",
            "description": f"Quantities by product id (1 to {MAX_ID}); 0 removes the line.",
            "propertyNames": {"pattern": f"^{_KEY.pattern}$"},
            "additionalProperties": {"type": "integer", "minimum": 0, "maximum": MAX_QUANTITY},
            "minProperties": 1,
            "maxProperties": MAX_LINES,
            "examples": [{"38": 3}],
        }
    ),
]
"""`{"38":3}`: set product 38 to 3 units."""


class ItemIn(StrictModel):
    """Units of one product, on top of what is there."""

    product_id: RowId = Field(examples=[38])
    quantity: int = Field(default=1, ge=1, le=MAX_QUANTITY)


class CartQuery(BaseModel):
    """How much of the cart to answer."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    view: Literal["full", "ids"] = Field(default="full", description="`ids`: only ids and quantities.")


class NoticeOut(Answer):
    """A line that was lowered or removed since the cart was last read, and why. It is told once."""

    product_id: RowId
    name: str | None = Field(description="Null when the product is gone.")
    reason: NoticeReason
    before: int = Field(description="Units that were in the cart.")
    after: int = Field(description="Units that still are; 0: the line is removed.")


class CartLineOut(Answer):
    """A line at its price now, or at the price held while the cart is processing."""

    product_id: RowId
    name: str | None = Field(description="Null when the product is gone, which only a processing cart shows.")
    quantity: int
    price: Minor = Field(description="The list price of a unit.", examples=[2000])
    offer_price: Minor | None = Field(description="What a unit costs now, when it is on offer.", examples=[1500])
    unit_price: Minor = Field(description="What a unit costs now.", examples=[1500])
    total: Minor = Field(description="`quantity` times `unit_price`.")
    available: bool = Field(description="Whether the product is on sale.")
    stock_available: int = Field(description="Units of it that can be reserved now.")
    one_per_cart: bool


class CartLineIdsOut(Answer):
    """What a line stores."""

    product_id: RowId
    quantity: int


class _Cart(Answer):
    id: str | None = Field(description="Null until something was put in.")
    status: CartStatus = Field(description="`processing`: a checkout holds it, and it cannot be changed.")
    checkout_id: str | None = Field(description="The live checkout that was started from it.")
    updated_at: datetime | None
    notices: list[NoticeOut]


class CartIdsOut(_Cart):
    """A cart without names and prices."""

    lines: list[CartLineIdsOut]


class CartOut(_Cart):
    """A cart, priced now."""

    currency: str = Field(description="ISO 4217.", examples=["COP"])
    lines: list[CartLineOut]
    subtotal: Minor = Field(description="Sum of list prices.", examples=[6000])
    discount: Minor = Field(description="What offers take off.", examples=[500])
    tax: Minor = Field(description="What prices do not include.", examples=[0])
    total: Minor = Field(description="`subtotal` - `discount` + `tax`.", examples=[5500])
