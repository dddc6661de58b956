"""The shapes of events, zones and seats at HTTP, for those who buy."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.models import MAX_ID, Answer, Minor, RowId
from db import events

MAX_SEATS_A_PAGE = 5_000


class Event(Answer):
    """Something that tickets are sold for."""

    id: RowId = Field(examples=[1])
    name: str = Field(examples=["Open-air concert"])
    description: str
    venue: str = Field(examples=["Parque Simón Bolívar"])
    starts_at: datetime | None
    on_sale: bool = Field(description="Whether its tickets can be bought.")


class EventPage(Answer):
    """Events in order of id."""

    items: list[Event]
    next_after: RowId | None = Field(description="`after` of the next page; null on the last.", examples=[None])


class Zone(Answer):
    """A zone with its tickets now. A hold that is past its end counts as available."""

    id: RowId = Field(examples=[1])
    name: str = Field(examples=["Stalls"])
    kind: Literal["numbered", "general"] = Field(description="Seats with numbers, or places without.")
    currency: str = Field(description="ISO 4217.", examples=["COP"])
    price: Minor = Field(examples=[12000000])
    offer_price: Minor | None = Field(description="What it costs now, when it is on offer.", examples=[None])
    on_sale: bool = Field(description="Whether its tickets can be bought: its event must be on sale, too.")
    total: int = Field(description="Its seats, or its capacity.", examples=[200])
    available: int = Field(description="Its free seats, or its free places.", examples=[198])


class ZonesOut(Answer):
    """An event's zones in order of id."""

    event_id: RowId
    zones: list[Zone]


class Seat(Answer):
    """A seat now. One whose hold is past its end is free."""

    id: RowId = Field(examples=[1])
    row: str = Field(examples=["A"])
    number: int = Field(examples=[12])
    status: Literal["free", "held", "sold", "blocked"]


class SeatsOut(Answer):
    """Seats of a zone, row after row, the best row first."""

    zone_id: RowId
    seats: list[Seat]
    next_after: RowId | None = Field(description="`after` of the next page; null on the last.", examples=[None])


class SeatQuery(BaseModel):
    """Which part of the zone."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    after: int = Field(default=0, ge=0, le=MAX_ID, description="Seats past this one, of the same zone, in its order.")
    limit: int = Field(default=1_000, ge=1, le=MAX_SEATS_A_PAGE, description="How many seats to look at.")
    status: Literal["free"] | None = Field(
        default=None,
        description="Leave out the others: a page then has fewer than `limit`. Go on until `next_after` is null.",
    )


def event_out(row: events.Event) -> Event:
    """What a buyer sees of it."""
    return Event(
        id=row.id,
        name=row.name,
        description=row.description,
        venue=row.venue,
        starts_at=row.starts_at,
        on_sale=row.on_sale,
    )


def zone_out(row: events.Zone) -> Zone:
    """What a buyer sees of it."""
    return Zone(
        id=row.id,
        name=row.name,
        kind="numbered" if row.kind == "numbered" else "general",
        currency=row.currency,
        price=row.price,
        offer_price=row.offer_price,
        on_sale=row.on_sale and row.event_on_sale,
        total=row.total,
        available=row.available,
    )
