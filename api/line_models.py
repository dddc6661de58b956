"""The lines of a checkout at HTTP."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from api.models import Answer, Minor, RowId, StrictModel
from domain.checkout import MAX_LINES, MAX_QUANTITY
from domain.ids import ProductId, SeatId, ZoneId
from domain.messages import Line

MAX_METADATA_BYTES = 2048


def compact(metadata: dict[str, JsonValue]) -> str:
    """The metadata as it is stored: JSON without spaces, its keys in the order they came in."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def _small(metadata: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    if metadata is not None and len(compact(metadata).encode()) > MAX_METADATA_BYTES:
        raise ValueError(f"metadata takes at most {MAX_METADATA_BYTES} bytes of JSON")
    return metadata


Metadata = Annotated[
    dict[str, JsonValue] | None,
    AfterValidator(_small),
    Field(
        default=None,
        description="Yours, kept with the line and its order: an object of at most 2 KiB as JSON without spaces.",
        examples=[{"holder": "guest-7"}],
    ),
]


class LineIn(StrictModel):
    """Units of a product, places in a zone, or a seat. Lines of one thing and the same metadata are summed."""

    product_id: RowId | None = Field(default=None, examples=[38])
    zone_id: RowId | None = Field(
        default=None, description="Places in it; of a zone with numbers, seats next to each other.", examples=[None]
    )
    seat_id: RowId | None = Field(default=None, description="One seat; its quantity is 1.", examples=[None])
    quantity: int = Field(default=1, ge=1, le=MAX_QUANTITY)
    metadata: Metadata

    @model_validator(mode="after")
    def _names_one_thing(self) -> LineIn:
        if [self.product_id, self.zone_id, self.seat_id].count(None) != 2:
            raise ValueError("name one of product_id, zone_id and seat_id")
        if self.seat_id is not None and self.quantity != 1:
            raise ValueError("a seat has the quantity 1")
        return self

    def as_message(self) -> Line:
        """What workflows and activities call it, without the metadata, which does not go there."""
        return Line(
            ProductId(self.product_id) if self.product_id else None,
            self.quantity,
            ZoneId(self.zone_id) if self.zone_id else None,
            SeatId(self.seat_id) if self.seat_id else None,
        )


def _countable(lines: list[LineIn]) -> list[LineIn]:
    units: Counter[Line] = Counter()
    for line in lines:
        units[replace(line.as_message(), quantity=0)] += line.quantity
    if max(units.values(), default=0) > MAX_QUANTITY:
        raise ValueError(f"lines that name the same thing ask for at most {MAX_QUANTITY} units together")
    return lines


Lines = Annotated[list[LineIn], Field(min_length=1, max_length=MAX_LINES), AfterValidator(_countable)]


class AddLinesIn(StrictModel):
    """What to hold beside what is held: all of it, or nothing."""

    lines: Lines


class RemovedLine(StrictModel):
    """What a removal, which has no body, asks for: its fingerprint is of this."""

    line_id: int


class LineOut(Answer):
    """A line, with the price that was fixed when it was locked."""

    id: int
    product_id: int | None
    zone_id: int | None
    seat_id: int | None
    quantity: int
    list_price: Minor
    unit_price: Minor
    tax_class: str | None = Field(description="Null: no tax on it.")
    tax_rate_basis_points: int
    tax_included: bool = Field(description="Whether `unit_price` includes the tax.")
    tax: Minor = Field(description="On the whole line, by the rate of its lock.")
    locked_at: datetime
    status: Literal["held", "sold", "released"]
    metadata: dict[str, Any] | None


def summed(given: Sequence[LineIn]) -> tuple[list[Line], str | None]:
    """One line for each thing with the same metadata, in the order they were first named; and the metadata.

    That is a JSON object, from a line's place (1, 2, …) to what came with it; None when nothing came with any.
    """
    units: Counter[tuple[Line, str | None]] = Counter()
    for line in given:
        metadata = compact(line.metadata) if line.metadata is not None else None
        units[replace(line.as_message(), quantity=0), metadata] += line.quantity
    lines = [replace(line, quantity=quantity) for (line, _), quantity in units.items()]
    said = [f'"{place}":{metadata}' for place, (_, metadata) in enumerate(units, 1) if metadata is not None]
    return lines, "{" + ",".join(said) + "}" if said else None
