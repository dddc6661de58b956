"""Lines as the parameters of `asked_sql`'s statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from domain.messages import Line


def summed(lines: Iterable[Line]) -> list[Line]:
    """One line for each thing, in the order they were first named: what is named twice would be counted once."""
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
