"""What a stream of events is made of, at HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.models import Answer, Minor
from api.streams import End
from db.checkout_events import CheckoutEvent
from domain.checkout_events import CheckoutEventKind


class CheckoutEventOut(Answer):
    """The `data` of one event. Which of the later members are there depends on `kind`."""

    checkout_id: str
    kind: CheckoutEventKind
    at: datetime
    expires_at: datetime | None = Field(default=None, description="held, extended, lines_changed: the hold's end.")
    remaining_seconds: int | None = Field(default=None, description="With `expires_at`: when this was sent.")
    by: Literal["buyer", "payment"] | None = Field(default=None, description="extended: on whose account.")
    added: int | None = Field(default=None, description="lines_changed: how many lines came.")
    removed: int | None = Field(default=None, description="lines_changed: how many went.")
    total: Minor | None = None
    amount: Minor | None = None
    currency: str | None = None
    gateway: str | None = None
    payment_id: str | None = None
    order_id: str | None = None
    refund_id: str | None = None
    reason: str | None = None

    @classmethod
    def of(cls, event: CheckoutEvent) -> CheckoutEventOut:
        """From what is stored; members that are not for buyers are left out."""
        known = {name: value for name, value in event.data.items() if name in cls.model_fields}
        return cls(
            checkout_id=event.checkout_id,
            kind=event.kind,
            at=event.at,
            remaining_seconds=event.remaining_seconds,
            **known,
        )


class StreamEndOut(Answer):
    """The `data` of the last event, `end`."""

    reason: End


class StreamTokenOut(Answer):
    """A token for the `token` parameter of the stream."""

    token: str
    expires_in: int = Field(description="Seconds.")
