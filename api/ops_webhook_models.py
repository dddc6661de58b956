"""What operators send and see of stored payment events."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from activities.replay import MOST_AT_ONCE, Replayed
from api.models import Answer, Minor, StrictModel
from db.inbox import EventState
from db.inbox_reading import EventEntry, Place
from domain.errors import Invalid
from domain.gateway import PaymentStatus
from domain.ids import EventId, GatewayName

NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
"""What a gateway, or one of its events, can be called."""
_TEXT = r"^[^\x00-\x1f\x7f]+$"
_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
Went = Literal["nothing_to_do", "to_checkout", "to_late_payment", "unmatched"]


class EventsQuery(BaseModel):
    """Which events, and which part of the list. All that is given must hold."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    state: EventState | None = Field(
        default=None, description="`received`: not handed over. `delivered`: not decided yet. `settled`: done."
    )
    gateway: str | None = Field(default=None, pattern=r"^[a-z0-9_-]{1,40}$", examples=["sandbox"])
    checkout: str | None = Field(default=None, pattern=_UUID, description="The checkout that the event names.")
    payment: str | None = Field(default=None, max_length=200, pattern=_TEXT, description="The gateway's payment id.")
    before: str | None = Field(default=None, max_length=600, description="`next_before` of the page before.")
    limit: int = Field(default=50, ge=1, le=100)


class WebhookEventOut(Answer):
    """A verified event, where it went, and what became of its payment."""

    gateway: str
    event_id: str
    kind: PaymentStatus
    payment_id: str
    checkout_id: str | None = Field(description="Null: it names none.")
    amount: Minor
    currency: str
    occurred_at: datetime
    received_at: datetime
    state: EventState
    handed: str | None = Field(
        description="Where it went: `to_checkout`, `to_late_payment`, `nothing_to_do`; `unmatched`: its checkout is not"
        " known; null: not handed over yet."
    )
    delivered_at: datetime | None
    settled_at: datetime | None
    alerted_at: datetime | None = Field(description="Since when it is told of as unmatched.")
    foreign_tenant: bool = Field(description="It names another tenant than the one whose account it came from.")
    outcome: str | None = Field(description="`order` or `refund`; null while nothing is decided.")
    reason: str | None = Field(description="Why it is refunded.")
    refund_status: str | None = Field(description="`intended`, `refunded`.")


class WebhookEventDetail(WebhookEventOut):
    """With the body as the gateway sent it."""

    body: str = Field(description="UTF-8. May name people: it is the gateway's own text.")


class WebhookEventPage(Answer):
    """Events, newest first."""

    items: list[WebhookEventOut]
    next_before: str | None = Field(description="`before` of the next page; null on the last.")


class ReplayIn(StrictModel):
    """Which events are handed over again: the longest untried first."""

    state: Literal["received", "delivered"]
    older_than_seconds: Annotated[int, Field(ge=0, le=10**8)] = 120
    limit: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = MOST_AT_ONCE


class ReplayedOut(Answer):
    """Where one event went."""

    status: Went


class BatchReplayedOut(Answer):
    """Where the events of this batch went, and what is left."""

    replayed: int
    handed: Mapping[Went, int]
    left: int = Field(description="So many more can be handed over: send the same again.")
    waiting: int = Field(description="So many wait for a checkout that is not known: sending again is no use.")


def event_out(entry: EventEntry) -> WebhookEventOut:
    """The event for an operator."""
    return WebhookEventOut(**_fields(entry))


def event_detail(entry: EventEntry, body: bytes) -> WebhookEventDetail:
    """The event with its body, as text whatever its bytes."""
    return WebhookEventDetail(**_fields(entry), body=body.decode(errors="replace"))


def event_page(entries: list[EventEntry], limit: int) -> WebhookEventPage:
    """The page, and where the next one begins."""
    more = _cursor(entries[-1].place) if len(entries) == limit else None
    return WebhookEventPage(items=[event_out(entry) for entry in entries], next_before=more)


def batch_out(done: Replayed) -> BatchReplayedOut:
    """What a batch did."""
    handed: dict[Went, int] = {went.value: count for went, count in done.handed.items()}
    return BatchReplayedOut(replayed=done.handed.total(), handed=handed, left=done.left, waiting=done.waiting)


def place_in_events(cursor: str) -> Place:
    """The place that a cursor of ours names. Raises Invalid for any other text."""
    try:
        at, gateway, event = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not NAME.fullmatch(gateway) or not NAME.fullmatch(event):
            raise ValueError
        return moment, GatewayName(gateway), EventId(event)
    except (ValueError, TypeError, RecursionError, binascii.Error):
        field = {"field": "before", "message": "Not a place in this list", "fix": "Send `next_before` as it was"}
        raise Invalid("`before` is not valid.", errors=[field]) from None


def _cursor(place: Place) -> str:
    at, gateway, event = place
    return base64.urlsafe_b64encode(json.dumps([at.isoformat(), gateway, event]).encode()).decode()


def _fields(entry: EventEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in WebhookEventOut.model_fields}
