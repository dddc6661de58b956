"""Requests to change the lines of a live hold; another one each time."""

from __future__ import annotations

import itertools

from domain.ids import LineId
from domain.messages import CheckoutRef, Line, LinesRequest
from tests.support.checkouts import Rows

_numbers = itertools.count(1)


def adding(ref: CheckoutRef, *lines: Line, fingerprint: str = "f" * 43) -> LinesRequest:
    """Add these lines."""
    return LinesRequest(ref, f"request-{next(_numbers)}", fingerprint, add=list(lines))


def removing(ref: CheckoutRef, line: LineId) -> LinesRequest:
    """Take this line out."""
    return LinesRequest(ref, f"request-{next(_numbers)}", "g" * 43, remove=line)


async def line_ids(rows: Rows, ref: CheckoutRef) -> list[LineId]:
    """Of the lines held now, in their order."""
    found = await rows.all(
        "SELECT id FROM checkout_lines WHERE tenant_id = %s AND checkout_id = %s AND status = 'held' ORDER BY position",
        ref.tenant,
        ref.checkout_id,
    )
    return [LineId(row["id"]) for row in found]
