"""The states of a checkout, and the rule by which a hold is extended."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

MAX_LINES = 100
MAX_QUANTITY = 10_000


class CheckoutStatus(StrEnum):
    """`new` holds nothing yet; `held` is the only state from which another can be reached."""

    NEW = "new"
    HELD = "held"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUSED = "refused"


def is_over(now: datetime, expires_at: datetime) -> bool:
    """A hold lives while now < expires_at; at equality it is over."""
    return now >= expires_at


def extended_end(now: datetime, old_end: datetime, held_at: datetime, step: timedelta, maximum: timedelta) -> datetime:
    """The end after one extension: max(old end, min(now + step, start + maximum)). Never earlier than the old end."""
    return max(old_end, min(now + step, held_at + maximum))
