"""The rules of a product: what it may be called, cost and count. No I/O."""

from __future__ import annotations

from domain.errors import Invalid

MAX_NAME = 200
MAX_DESCRIPTION = 4_000
MAX_PRICE = 10**12
"""In minor units."""
MAX_STOCK = 2**31 - 1
MAX_CHOSEN_ID = 2**53 - 1
"""The largest whole number that every reader of JSON keeps (RFC 8259, section 6)."""
NAME_PATTERN = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f])?$"
"""One line without control characters, and without blanks at its ends."""
DESCRIPTION_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
"""Any lines; of control characters, only tabs and line ends."""


def require_offer_below_price(price: int, offer_price: int | None, field: str = "offer_price") -> None:
    """Raise Invalid, naming `field`, unless the offer takes something off the price. None is no offer."""
    if offer_price is None or 0 < offer_price < price:
        return
    fix = "Send an offer_price below the price, or null to end the offer"
    message = f"The offer price ({offer_price}) must be below the price ({price})"
    raise Invalid(f"{message}.", errors=[{"field": field, "message": message, "fix": fix}])
