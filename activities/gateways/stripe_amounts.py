"""Amounts at Stripe. Ours are in the minor unit of ISO 4217; for a few currencies Stripe counts in another.

Source: https://docs.stripe.com/currencies ("Minor units in API amounts", "Special cases"). Whatever is not named here
is the same at both, such as COP with two decimals and CLP with none.
"""

from __future__ import annotations

from domain.errors import GatewayRefused, Invalid

_TIMES_HUNDRED = frozenset({"ISK", "UGX"})
"""No decimals by ISO 4217; at Stripe two, which must be 00."""
_BY_HUNDRED = frozenset({"MGA"})
"""Two decimals by ISO 4217; none at Stripe."""
_LAST_DIGIT_ZERO = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
"""Three decimals at both; Stripe wants the last one to be 0."""


def to_stripe(amount: int, currency: str) -> int:
    """Our amount as Stripe counts. Raises GatewayRefused, which says why, for one that Stripe cannot take."""
    if currency in _TIMES_HUNDRED:
        return amount * 100
    step = 100 if currency in _BY_HUNDRED else 10 if currency in _LAST_DIGIT_ZERO else 1
    if amount % step:
        raise GatewayRefused(f"Stripe takes {currency} only in multiples of {step} of its smallest unit")
    return amount // 100 if currency in _BY_HUNDRED else amount


def from_stripe(amount: int, currency: str) -> int:
    """Stripe's amount as we count. Raises Invalid where there is no such amount."""
    if currency in _BY_HUNDRED:
        return amount * 100
    if currency not in _TIMES_HUNDRED:
        return amount
    if amount % 100:
        raise Invalid(f"amount in Stripe's message must be whole {currency}")
    return amount // 100
