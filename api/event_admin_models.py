"""Events and zones as an administrator sends and sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from api.event_models import Event, Zone, event_out, zone_out
from api.models import Answer, RowId, StrictModel
from api.product_models import ChosenId, Description, Name, OfferPrice, Price, StockTotal, TaxClassName
from db import events
from db.event_admin import EventChanges, NewEvent
from db.zone_admin import NewZone, ZoneChanges
from domain.catalogue import MAX_NAME, NAME_PATTERN
from domain.ids import EventKey, ZoneId
from domain.venue import MAX_BLOCKED_AT_ONCE, MAX_ROW_NAME, MAX_ROWS, MAX_SEAT_NUMBER, SeatRow


def _text(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise ValueError("send a time as text, such as 2027-03-01T20:00:00-05:00")
    return value


Venue = Annotated[str, Field(max_length=MAX_NAME, pattern=f"^$|{NAME_PATTERN}", examples=["Parque Simón Bolívar"])]
StartsAt = Annotated[
    AwareDatetime,
    BeforeValidator(_text),
    Field(strict=False, description="RFC 3339, with its offset from UTC.", examples=["2027-03-01T20:00:00-05:00"]),
]
OnSale = Annotated[bool, Field(description="Whether its tickets can be bought.")]
SeatNumber = Annotated[int, Field(ge=1, le=MAX_SEAT_NUMBER, examples=[1])]


class EventIn(StrictModel):
    """A new event."""

    id: ChosenId | None = Field(default=None, description="The next free number when not given.")
    name: Name
    description: Description = ""
    venue: Venue = ""
    starts_at: StartsAt | None = None
    on_sale: OnSale = True

    def as_new(self) -> NewEvent:
        """What the database is given."""
        given = {name: getattr(self, name) for name in EventIn.model_fields if name != "id"}
        return NewEvent(**given, id=None if self.id is None else EventKey(self.id))


class EventPatch(StrictModel):
    """What to change; fields that are not sent stay. Only `starts_at` may be null."""

    # Factories, not defaults: a field may be left out, but null is not one of its values.
    name: Name = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    venue: Venue = Field(default_factory=str)
    starts_at: StartsAt | None = None
    on_sale: OnSale = Field(default_factory=bool)

    def as_changes(self) -> EventChanges:
        """The fields that were sent."""
        return cast("EventChanges", {name: getattr(self, name) for name in self.model_fields_set})


class RowIn(StrictModel):
    """Seats side by side in one row. A row may come in parts, with gaps between them."""

    row: str = Field(min_length=1, max_length=MAX_ROW_NAME, pattern=NAME_PATTERN, examples=["A"])
    first: SeatNumber = Field(alias="from")
    last: SeatNumber = Field(alias="to", examples=[40])


class ZoneIn(StrictModel):
    """A new zone: numbered, with rows of seats, or general, with a capacity."""

    id: ChosenId | None = Field(default=None, description="The next free number when not given.")
    name: Name
    kind: Literal["numbered", "general"]
    price: Price
    offer_price: OfferPrice | None = Field(default=None, description="What it costs now; below the price.")
    tax_class: TaxClassName = None
    on_sale: OnSale = True
    capacity: StockTotal | None = Field(default=None, description="Of a general zone: its places.")
    rows: list[RowIn] | None = Field(
        default=None, min_length=1, max_length=MAX_ROWS, description="Of a numbered zone: its rows, the best first."
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> ZoneIn:
        if (self.kind == "numbered") != (self.rows is not None) or (self.kind == "general") != (
            self.capacity is not None
        ):
            raise ValueError("send rows for a numbered zone, capacity for a general one, and not the other")
        return self

    def as_new(self) -> NewZone:
        """What the database is given."""
        return NewZone(
            name=self.name,
            price=self.price,
            offer_price=self.offer_price,
            tax_class=self.tax_class,
            on_sale=self.on_sale,
            capacity=self.capacity or 0,
            rows=[SeatRow(row.row, row.first, row.last) for row in self.rows or []],
            id=None if self.id is None else ZoneId(self.id),
        )


class ZonePatch(StrictModel):
    """What to change; fields that are not sent stay. Only `offer_price` and `tax_class` may be null."""

    name: Name = Field(default_factory=str)
    price: Price = Field(default_factory=int)
    offer_price: OfferPrice | None = Field(default=None, description="Below the price; null ends the offer.")
    tax_class: TaxClassName = None
    on_sale: OnSale = Field(default_factory=bool)
    capacity: StockTotal = Field(default_factory=int, description="Of a general zone; not below reserved and sold.")

    def as_changes(self) -> ZoneChanges:
        """The fields that were sent."""
        return cast("ZoneChanges", self.model_dump(exclude_unset=True))


class SeatsIn(StrictModel):
    """Seats of one zone, by their ids."""

    seat_ids: list[RowId] = Field(min_length=1, max_length=MAX_BLOCKED_AT_ONCE, examples=[[1, 2]])


class SeatsChanged(Answer):
    """What came of it."""

    zone_id: RowId
    changed: list[RowId] = Field(description="Those of the seats that were not so before.")


class AdminEvent(Event):
    """An event as an administrator sees it."""

    updated_at: datetime = Field(description="When a field of it last changed.")

    @classmethod
    def of(cls, row: events.Event) -> AdminEvent:
        """From its row."""
        return cls(**event_out(row).model_dump(), updated_at=row.updated_at)


class AdminZone(Zone):
    """A zone as an administrator sees it. `on_sale` is its own switch, whatever its event's is."""

    event_id: RowId
    tax_class: TaxClassName
    updated_at: datetime = Field(description="When a field of it last changed.")

    @classmethod
    def of(cls, row: events.Zone) -> AdminZone:
        """From its row."""
        public = zone_out(row).model_dump() | {"on_sale": row.on_sale}
        return cls(**public, event_id=row.event_id, tax_class=row.tax_class, updated_at=row.updated_at)


class AdminEventPage(Answer):
    """Events in order of id."""

    items: list[AdminEvent]
    next_after: RowId | None = Field(description="`after` of the next page; null on the last.", examples=[None])
