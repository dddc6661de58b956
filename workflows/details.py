"""What the Temporal UI shows of a running checkout, in Markdown. No personal data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from domain.checkout import CheckoutStatus
from domain.messages import Line, Settled

_ENDED = {
    CheckoutStatus.NEW: "Nothing was held.",
    CheckoutStatus.REFUSED: "**Refused**: not enough stock, or the price had changed. Nothing was held.",
    CheckoutStatus.CANCELLED: "**Cancelled**: the stock was given back.",
    CheckoutStatus.EXPIRED: "**Expired**: no payment came in time, the stock was given back.",
}


def describe(settled: Settled, end: datetime, declined: int) -> str:
    """The checkout's state in a sentence."""
    if settled.status is CheckoutStatus.HELD:
        if settled.in_flight:
            until = f"{end:%Y-%m-%d %H:%M:%S} UTC"
            return f"**Past its end**, held until {until} at most: a payment is in flight, and its gateway is asked."
        tries = f" Declined payments so far: {declined}." if declined else ""
        return f"**Held** until {end:%Y-%m-%d %H:%M:%S} UTC, waiting for the payment.{tries}"
    if settled.status is CheckoutStatus.CONFIRMED:
        return f"**Confirmed**: order `{settled.order_id}`, payment `{settled.paid_by}`."
    return _ENDED.get(settled.status or CheckoutStatus.NEW, "")


def units(lines: Sequence[Line]) -> str:
    """How much a checkout holds, in words."""
    count = sum(line.quantity for line in lines)
    what = "product" if all(line.product_id for line in lines) else "thing"
    return f"{count} unit{'s'[: count != 1]} of {len(lines)} {what}{'s'[: len(lines) != 1]}"
