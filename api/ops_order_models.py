"""What operators send and see of refunds of orders, of their stock, and of payments recorded by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import Field, model_validator

from api.checkout_models import MAX_AMOUNT, RefundOut
from api.models import Answer, Minor, StrictModel
from db.manual_payments import ManualPayment
from db.order_refunds import OrderRefund
from domain.checkout import MAX_LINES, MAX_QUANTITY

_LINE_OF_TEXT = r"^[^\x00-\x1f\x7f]+$"
Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        pattern=_LINE_OF_TEXT,
        description="Why, for those who look at it later. One line.",
        examples=["One ticket returned before the concert"],
    ),
]
PaymentName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        pattern=_LINE_OF_TEXT,
        description="What it is called where it was seen, such as the bank's reference.",
        examples=["Bank transfer 4711-20261122"],
    ),
]
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]


class RefundIn(StrictModel):
    """How much to give back, and why."""

    amount: Amount | None = Field(
        default=None, description="In minor units. Left out: all that is left of the order.", examples=[150000]
    )
    reason: Reason


class OpsRefundOut(RefundOut):
    """A refund of an order, with who decided it and why."""

    order_id: str
    reason: str
    actor: str = Field(examples=["user:7a0b0c9e-6c5f-4b0e-9d3a-0d6f1f0a97a1"])
    refund_id: str | None = Field(
        description="The gateway's id of it; `by-hand` and `refunded-at-the-gateway` stand for what people did."
    )


class ReturnedLineIn(StrictModel):
    """Units of one of the order's lines."""

    line: Annotated[int, Field(ge=1, le=MAX_LINES * MAX_QUANTITY, description="As the order shows it.", examples=[1])]
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY, examples=[1])]


class ReturnIn(StrictModel):
    """What goes back on sale."""

    lines: Annotated[list[ReturnedLineIn], Field(min_length=1, max_length=MAX_LINES)] | None = Field(
        default=None, description="Left out: all that has not been given back yet."
    )

    @model_validator(mode="after")
    def _lines_are_left_out_or_named_once_each(self) -> ReturnIn:
        # A client that lost its lines on the way must not put all of the order on sale again.
        if self.lines is None and "lines" in self.model_fields_set:
            raise ValueError("lines is null: leave it out to give back all that is left")
        if self.lines and len({one.line for one in self.lines}) < len(self.lines):
            raise ValueError("a line is named twice: send each once, with all its units")
        return self

    @property
    def units(self) -> Mapping[int, int] | None:
        """Units by line."""
        return None if self.lines is None else {one.line: one.quantity for one in self.lines}


class ManualPaymentIn(StrictModel):
    """A payment that an operator has seen elsewhere."""

    name: PaymentName
    reason: Reason
    amount: Amount | None = Field(default=None, description="The checkout's total; may be left out.", examples=[450000])


class ManualPaymentOut(Answer):
    """A payment recorded by hand. What becomes of it: `GET /v1/ops/payments/manual/{payment_id}`."""

    gateway: str = Field(examples=["manual"])
    payment_id: str = Field(examples=["man_0d6f1f0a97a15d6c9b0a5d4a"])
    checkout_id: str
    amount: Minor
    currency: str = Field(examples=["COP"])
    name: str
    reason: str
    actor: str
    recorded_at: datetime
    refunded_amount: Minor = Field(description="What an operator has returned of it, in all.")


class ReturnedMoneyIn(StrictModel):
    """What an operator has returned of a payment recorded by hand."""

    name: PaymentName = Field(description="What the transfer back is called.", examples=["Bank transfer 4712"])
    amount: Amount | None = Field(
        default=None, description="In minor units, in all until now. Left out: all that was decided to go back."
    )


def ops_refund_out(refund: OrderRefund) -> OpsRefundOut:
    """The refund for an operator."""
    return OpsRefundOut(**{name: getattr(refund, name) for name in OpsRefundOut.model_fields})


def manual_payment_out(payment: ManualPayment) -> ManualPaymentOut:
    """The payment for an operator."""
    named = {name: getattr(payment, name) for name in set(ManualPaymentOut.model_fields) - {"gateway"}}
    return ManualPaymentOut(gateway=payment.event.gateway, **named)
