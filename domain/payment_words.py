"""Why a payment stands as it does, in a sentence or two for an operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MANUAL: Final = "manual"

_REASONS = {
    "late": "it came after the hold had ended",
    "second_payment": "another payment had made the order before",
    "wrong_amount": "its amount is not the checkout's total",
    "wrong_currency": "its currency is not the checkout's",
    "wrong_checkout": "it was made for another checkout",
    "wrong_tenant": "it was made for another tenant",
    "unmatched": "its checkout never appeared",
    "given_back": "it had been given back at the gateway before it was told of here",
    "refunded_at_the_gateway": "it came and went at the gateway before anything was heard of it here",
}
_STANDS = {
    "created": "The buyer has not paid yet.",
    "processing": "The buyer is paying; the gateway has not said how it ended.",
    "failed": "It was declined; the buyer may try again.",
    "expired": "Nothing was paid, and it cannot be paid any more.",
    "refunded": "All of it was given back at the gateway, with nothing decided here.",
}


@dataclass(frozen=True, slots=True)
class PaymentStory:
    """What the sentences are made of. Amounts in minor units."""

    gateway: str
    payment_id: str
    status: str
    checkout_known: bool
    outcome: str | None = None
    reason: str | None = None
    refund_status: str | None = None
    quarantined: bool = False
    order_id: str | None = None
    refunded: int = 0
    amount: int = 0


def why(story: PaymentStory) -> str:
    """Why it is an order, a refund, or neither (yet)."""
    if story.outcome == "order":
        return f"It made order {story.order_id}.{_of_order(story)}"
    if story.outcome == "refund":
        reason = _REASONS.get(story.reason or "", story.reason)
        look = " Somebody should look at it." if story.quarantined else ""
        return f"It cannot make an order: {reason}. {_went_back(story, 'All of it')}{look}"
    if story.status in _STANDS:
        return _STANDS[story.status]
    if not story.checkout_known:
        return "It was captured, and its checkout is not known (yet): it is kept, and given back if none appears."
    return "It was captured, and nothing is decided yet: its checkout, or its own run, is at it."


def _of_order(story: PaymentStory) -> str:
    if not story.refunded:
        return ""
    whole = "All of it" if story.refunded == story.amount else f"Of it, {story.refunded} (minor units)"
    return f" {_went_back(story, whole)}"


def _went_back(story: PaymentStory, what: str) -> str:
    if story.refund_status == "refunded":
        return f"{what} was given back."
    if story.gateway == MANUAL:
        return f"{what} is to be returned by hand, and then recorded: `holdfast payments refunded {story.payment_id}`."
    return f"{what} is being given back: the gateway is asked until it has."
