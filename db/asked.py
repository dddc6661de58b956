"""Lines as the parameters of `asked_sql`'s statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from domain.ids import SeatId, ZoneId
from domain.messages import Line


@dataclass(frozen=True, slots=True)
class Asked:
    """A line to add, and its place in the request (1, 2, …): several seats can come of one line."""

    line: Line
    origin: int


def summed(lines: Iterable[Line]) -> list[Line]:
    """One line for each thing, in the order they were first named: without their metadata, which is not here."""
    quantities: Counter[Line] = Counter()
    for line in lines:
        quantities[replace(line, quantity=0)] += line.quantity
    return [replace(line, quantity=quantity) for line, quantity in quantities.items()]


def asked_values(lines: Sequence[Line]) -> dict[str, Any]:
    """`products`, `zones`, `seats` and `quantities`: an array each, one element a line."""
    return {
        "products": [line.product_id for line in lines],
        "zones": [line.zone_id for line in lines],
        "seats": [line.seat_id for line in lines],
        "quantities": [line.quantity for line in lines],
    }


def by_ids(asked: Asked, seats: Mapping[ZoneId | None, Iterator[SeatId]]) -> list[Asked]:
    """One line for each of the seats that were picked for this one; else the line as it is."""
    picked = seats.get(asked.line.zone_id)
    if picked is None or asked.line.seat_id is not None:
        return [asked]
    return [Asked(Line(None, 1, seat_id=seat), asked.origin) for seat in islice(picked, asked.line.quantity)]


def by_thing(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first row of `asked_sql` of each thing, with `wanted`: how many units all its rows ask for."""
    things: dict[tuple[int | None, ...], dict[str, Any]] = {}
    for row in rows:
        thing = things.setdefault((row["product_id"], row["zone_id"], row["seat_id"]), {**row, "wanted": 0})
        thing["wanted"] += row["quantity"]
    return list(things.values())
