"""From rows to what HTTP answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from api.checkout_models import CheckoutOut, OrderLineOut, OrderOut, PaymentOut, RefundOut, TaxOut
from api.line_models import LineOut
from db.checkouts import CheckoutView
from db.orders import OrderView
from domain.errors import (
    CartEmpty,
    CartProcessing,
    CheckoutRefused,
    HoldfastError,
    InsufficientStock,
    LimitReached,
    PaymentInFlight,
    PriceChanged,
)
from domain.tax import TaxedLine, TaxSum, breakdown

_PAYMENT = tuple(PaymentOut.model_fields)
_LINE = tuple(LineOut.model_fields)
_ORDER_LINE = tuple(OrderLineOut.model_fields)
_REFUND = tuple(RefundOut.model_fields)


def checkout_out(view: CheckoutView) -> CheckoutOut:
    """A checkout that was held, as the row says it is now."""
    row = view.row
    return CheckoutOut(
        **_some(row, set(CheckoutOut.model_fields) - {"order_id", "lines", "payments", "taxes"}),
        taxes=_taxes(view.lines),
        order_id=next((payment["order_id"] for payment in view.payments if payment["order_id"]), None),
        lines=[LineOut(**_some(line, _LINE)) for line in view.lines],
        payments=[PaymentOut(**_some(payment, _PAYMENT)) for payment in view.payments],
    )


def order_out(view: OrderView) -> OrderOut:
    """An order, its lines and its refunds."""
    return OrderOut(
        **_some(view.row, set(OrderOut.model_fields) - {"lines", "refunds", "taxes"}),
        taxes=_taxes(view.lines),
        lines=[OrderLineOut(**_some(line, _ORDER_LINE)) for line in view.lines],
        refunds=[RefundOut(**_some(refund, _REFUND)) for refund in view.refunds],
    )


def _taxes(lines: Sequence[dict[str, Any]]) -> list[TaxOut]:
    taxed = [
        TaxedLine(
            line["unit_price"] * line["quantity"],
            line["tax_class"],
            line["tax_rate_basis_points"],
            line["tax_included"],
            line["tax"],
        )
        for line in lines
    ]
    return [TaxOut(**{"class": one.tax_class, **_sums(one)}) for one in breakdown(taxed)]


def _sums(one: TaxSum) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("rate_basis_points", "included", "base", "tax")}


def refusal(stored: dict[str, Any] | None, now: datetime) -> HoldfastError:
    """The error that a refused checkout answered with, and answers again."""
    if stored is None:
        return CheckoutRefused()
    if stored["code"] == PriceChanged.code:
        return price_changed(stored["total"])
    if stored["code"] == CartEmpty.code:
        return CartEmpty("The cart was empty when the checkout was started.")
    if stored["code"] == CartProcessing.code:
        return cart_processing(stored["checkout_id"])
    if stored["code"] == LimitReached.code:
        return limit_reached(stored, now)
    if stored["code"] == PaymentInFlight.code:
        return payment_in_flight(stored["payments"])
    return insufficient_stock(stored["shortages"])


def limit_reached(stored: dict[str, Any], now: datetime) -> LimitReached:
    """Says which limit, what it allows, and when it frees: at the end of the earliest hold that counts."""
    frees_at = datetime.fromisoformat(stored["frees_at"]) if stored["frees_at"] else None
    most = f" of {stored['most']}" if stored["most"] else ""
    return LimitReached(
        f"The limit{most} on {_LIMITS[stored['limit']]} is reached.",
        retry_after=max(1, math.ceil((frees_at - now).total_seconds())) if frees_at else None,
        limit=stored["limit"],
        most=stored["most"],
        frees_at=frees_at,
    )


_LIMITS = {
    "lines": "lines in one checkout",
    "cooldown": "starting again after a hold expired",
    "checkouts_per_owner": "live checkouts of one buyer",
    "checkouts_per_address": "live checkouts from one address",
    "held_lines": "lines that one buyer holds",
}


def price_changed(total: int) -> PriceChanged:
    """`expected_total` was another."""
    return PriceChanged("The total is not the expected one; ask the buyer again.", total=total)


def cart_processing(held_by: str | None) -> CartProcessing:
    """The cart is in the hands of a checkout, or was set so by an administrator."""
    return CartProcessing("Confirm or cancel the checkout that holds the cart first.", checkout_id=held_by)


def payment_in_flight(payments: list[dict[str, Any]]) -> PaymentInFlight:
    """The amount due cannot change while a payment of it is open."""
    return PaymentInFlight("End the payments in `payments` first, or wait for their outcome.", payments=payments)


def insufficient_stock(shortages: list[dict[str, Any]]) -> InsufficientStock:
    """Names every short line."""
    return InsufficientStock("Not enough stock for the lines in `shortages`.", shortages=shortages)


def _some(row: dict[str, Any], names: Any) -> dict[str, Any]:
    return {name: row[name] for name in names}
