"""The shapes of checkouts and orders at HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from api.line_models import LineOut, Lines
from api.models import Answer, Minor, StrictModel

MAX_AMOUNT = 10**15
PAYMENT_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,199}$"
GATEWAY = r"^[a-z][a-z0-9_-]{0,39}$"
PaymentIdField = Annotated[
    str,
    StringConstraints(pattern=PAYMENT_ID),
    Field(description="The gateway's id of the payment.", examples=["pay_3f9c2a"]),
]
GatewayField = Annotated[str, StringConstraints(pattern=GATEWAY), Field(examples=["sandbox"])]


class StartIn(StrictModel):
    """What to hold: these lines, or all that the caller's cart has."""

    lines: Lines | None = Field(default=None, description="Leave it out to start from the cart.")
    expected_total: int | None = Field(
        default=None, ge=0, le=MAX_AMOUNT, description="Refuse (409 `price_changed`) if the total is another."
    )

    @model_validator(mode="after")
    def _lines_are_given_or_left_out(self) -> StartIn:
        # A client that lost its lines on the way must not hold a cart in their place.
        if self.lines is None and "lines" in self.model_fields_set:
            raise ValueError("lines is null: leave it out to start from the cart")
        return self


class ExtendIn(StrictModel):
    """How much more time."""

    minutes: int | None = Field(
        default=None, ge=1, le=1440, description="At most the tenant's step (15 by default), which is also the default."
    )


class ConfirmIn(StrictModel):
    """Which payment was made."""

    payment_id: PaymentIdField
    gateway: GatewayField = "sandbox"


class CancelIn(StrictModel):
    """Nothing to say."""


PaymentState = Literal["created", "processing", "failed", "captured", "refunded", "expired"]
"""Where a payment stands at its gateway, as we last heard."""


class PaymentOut(Answer):
    """A payment of this checkout: where it stands, and once it was captured what became of it, the order or a refund.

    Until then `outcome` is null.
    """

    gateway: str
    payment_id: str
    status: PaymentState = Field(description="At the gateway, as we last heard. `failed`: it may yet be paid.")
    amount: Minor
    currency: str
    outcome: Literal["order", "refund"] | None
    reason: str | None = Field(description="With a refund: late, second_payment, wrong_amount, …")
    quarantined: bool = Field(description="Somebody should look at it: the money was not what was asked for.")
    refund_status: Literal["intended", "refunded", "refused"] | None
    decided_at: datetime | None
    refunded_at: datetime | None


class TaxOut(Answer):
    """The taxes of one class and rate, of all lines together."""

    tax_class: str = Field(alias="class", serialization_alias="class", examples=["IVA 19 %"])
    rate_basis_points: int = Field(description="1900 is 19 %.", examples=[1900])
    included: bool = Field(description="Whether prices include it; `tax` of the whole has only what they do not.")
    base: Minor = Field(description="What it is on, without it.")
    tax: Minor


class CheckoutOut(Answer):
    """A checkout as it is now."""

    id: str
    status: Literal["held", "confirmed", "cancelled", "expired"]
    expires_at: datetime
    remaining_seconds: int = Field(description="0 when the hold is over.")
    currency: str = Field(examples=["COP"])
    subtotal: Minor
    discount: Minor
    tax: Minor = Field(description="What prices do not include.")
    total: Minor = Field(description="`subtotal` - `discount` + `tax`.")
    taxes: list[TaxOut]
    created_at: datetime
    ended_at: datetime | None
    order_id: str | None
    lines: list[LineOut]
    payments: list[PaymentOut]


class OrderLineOut(Answer):
    """What was sold. `returned`: units of it whose stock was given back."""

    line: int = Field(description="Its place in the order: 1, 2, …")
    product_id: int | None
    zone_id: int | None
    seat_id: int | None
    name: str
    quantity: int
    returned: int
    list_price: Minor
    unit_price: Minor
    tax_class: str | None = Field(description="Null: no tax on it.")
    tax_rate_basis_points: int
    tax_included: bool = Field(description="Whether `unit_price` includes the tax.")
    tax: Minor = Field(description="On the whole line.")
    metadata: dict[str, Any] | None


class RefundOut(Answer):
    """A refund of an order, wholly or in part."""

    id: str
    amount: Minor
    currency: str
    status: Literal["intended", "refunded"] = Field(
        description="`intended`: decided; the gateway is asked until it is made."
    )
    decided_at: datetime
    refunded_at: datetime | None


class OrderOut(Answer):
    """A sale, with what was fixed when its lines were locked."""

    id: str
    checkout_id: str
    currency: str
    subtotal: Minor
    discount: Minor
    tax: Minor = Field(description="What prices do not include.")
    total: Minor = Field(description="`subtotal` - `discount` + `tax`.")
    taxes: list[TaxOut]
    fiscal_number: str | None = Field(description="Null: none, or not yet.", examples=["SETT-000042"])
    fiscal_status: Literal["none", "pending", "issued"] = Field(
        description="`pending`: it waits for a range of numbers. `none`: the shop gave none when it was made."
    )
    fiscal_issued_at: datetime | None
    gateway: str
    payment_id: str
    created_at: datetime
    refunded: Minor = Field(description="What was decided to be refunded, all refunds together.")
    lines: list[OrderLineOut]
    refunds: list[RefundOut]


class OrderPage(Answer):
    """Orders, newest first."""

    items: list[OrderOut]
    next_before: str | None = Field(description="`before` of the next page; null on the last.")


class AcceptedOut(Answer):
    """Taken, and still at work: look at `status_url`."""

    checkout_id: str
    status: Literal["held", "confirmed", "cancelled", "expired", "refused"]
    status_url: str
    detail: str
