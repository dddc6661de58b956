"""Looking before lines are changed: what was asked before, and what is sold out, costs no workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import DictRow

from db.asked import asked_values
from db.checkouts import CheckoutView, view_of, view_statements
from db.database import Database
from db.lines_sql import STORED
from db.start_look import look_statement, shortages_in
from domain.ids import BuyerKey
from domain.messages import CheckoutRef, Line


@dataclass(frozen=True, slots=True)
class LinesLook:
    """The checkout as it is now, and what became of the request (None: it was not made yet), if it was made before.

    `stored`: its fingerprint, and the refusal, if it was refused. `shortages`: of a request that was not made yet.
    """

    view: CheckoutView
    stored: DictRow | None
    shortages: list[dict[str, Any]]


async def look_before_change(
    db: Database, ref: CheckoutRef, request_id: str, lines: Sequence[Line], *, buyer: BuyerKey
) -> LinesLook | None:
    """One round trip (two when something is short). None: there is no such checkout, or it is somebody else's.

    The request is looked for last: what it has taken itself is not short.
    """
    values = {**asked_values(lines), "tenant": ref.tenant, "checkout": ref.checkout_id, "request": request_id}
    look = [(look_statement(lines), values)] if lines else []
    *found, stored = await db.run(ref.tenant, *look, *view_statements(ref.tenant, ref.checkout_id), (STORED, values))
    view = view_of(found[-3:])
    if view is None or view.row["buyer_key"] != buyer:
        return None
    asked = found[0] if lines and not stored else []
    return LinesLook(view, stored[0] if stored else None, await shortages_in(db, ref.tenant, asked))
