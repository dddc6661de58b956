"""One transaction that changes the lines of a live hold. Lock and read; decide; write and commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from db.asked import Asked, asked_values, by_ids
from db.database import Statement, Transaction
from db.extend import MOVE_LINES, held_until
from db.lines_seen import Seen
from db.lines_sql import (
    ADD_LINES,
    CHANGE_CHECKOUT,
    COUNT,
    FREE_AT,
    LINE,
    LOCK,
    LOCK_ASKED,
    LOCK_COUNTERS,
    LOOK,
    NOTE,
    TAKE_OUT,
    TAKE_UNITS,
)
from db.payment_starts import GIVE_UP
from db.settle import settle_within
from db.telling import tell
from db.together import NotTogether, Picked, pick_together
from domain.checkout_events import CheckoutEventKind
from domain.errors import InsufficientStock, NotFound, PaymentInFlight
from domain.ids import SeatId, ZoneId
from domain.messages import Changed, LinesOutcome, LinesRequest, Settled, SettleRequest, Wanted


@dataclass
class Attempt:
    """`decided` is false when it found a refusal that may pass: nothing was written then. `final`: that stands."""

    request: LinesRequest
    final: bool = False
    decided: bool = True
    lacking: dict[ZoneId, NotTogether] = field(default_factory=dict)
    """Zones in which there were not so many seats together."""

    async def work(self, transaction: Transaction) -> Changed:
        """What became of the request, whatever number of times it is run."""
        self.decided, self.lacking = True, {}
        seen = await self._look(transaction)
        if seen is None:
            return Changed(LinesOutcome.OVER, Settled(status=None))
        if (stands := seen.stands) is not None:
            await transaction.commit()
            return stands
        if seen.look["payments"] and not self._takes_out_all(seen):
            return await self._refuse(
                transaction, seen, {"code": PaymentInFlight.code, "payments": seen.look["payments"]}
            )
        return await (self._add(transaction, seen) if self.request.add else self._remove(transaction, seen))

    def _takes_out_all(self, seen: Seen) -> bool:
        """That is a cancel, which waits for no payment."""
        return not self.request.add and bool(seen.found) and seen.look["lines"] == 1

    async def _look(self, transaction: Transaction) -> Seen | None:
        asked = [Asked(line, place) for place, line in enumerate(self.request.add, 1)]
        locked, _, found, looked = await transaction.read(
            (LOCK, self._keys), (LOCK_COUNTERS, self._keys), *self._reads(asked)
        )
        if not locked:
            return None
        if zones := {row["zone_id"] for row in found if self.request.add and row["fault"] == "numbered"}:
            asked = await self._pick(transaction, asked, zones)
            found, looked = await transaction.read(*self._reads(asked))
        return Seen(locked[0], looked[0], asked, found)

    def _reads(self, asked: list[Asked]) -> list[Statement]:
        values = {**self._keys, **asked_values([each.line for each in asked]), "added": len(asked)}
        return [(LOCK_ASKED if asked else LINE, values), (LOOK, values)]

    async def _pick(self, transaction: Transaction, asked: list[Asked], zones: set[ZoneId]) -> list[Asked]:
        """The lines, by the ids of seats where so many together were to be had. Waits for none of them."""
        wanted: Counter[ZoneId] = Counter()
        for each in asked:
            if each.line.zone_id in zones and each.line.zone_id is not None:
                wanted[each.line.zone_id] += each.line.quantity
        taken = [each.line.seat_id for each in asked if each.line.seat_id is not None]
        seats: dict[ZoneId | None, Iterator[SeatId]] = {}
        for zone, quantity in sorted(wanted.items()):
            picked = await pick_together(transaction, self.request.ref.tenant, zone, quantity, besides=taken)
            if isinstance(picked, Picked):
                seats[zone] = iter(picked.seats)
            else:
                self.lacking[zone] = picked
        return [by_id for each in asked for by_id in by_ids(each, seats)]

    async def _add(self, transaction: Transaction, seen: Seen) -> Changed:
        short = seen.short
        if (short or seen.look["limit"]) and not self.final:
            self.decided = False
            await transaction.commit()
            return Changed(LinesOutcome.REFUSED, seen.now_held)
        if short or seen.look["limit"]:
            return await self._refuse(
                transaction, seen, seen.look["limit"] or await self._shortages(transaction, seen.short)
            )
        end = seen.new_end
        added = {
            **self._keys,
            **self._units(seen),
            "now": seen.look["now"],
            "new_end": end,
            "last_position": seen.look["last_position"],
            "lines": len(seen.found),
        }
        writes = [(sql, added) for sql in (COUNT, TAKE_UNITS, MOVE_LINES, ADD_LINES, CHANGE_CHECKOUT, GIVE_UP)]
        await transaction.commit(*writes, self._note(seen), self._tell(seen, end, added=len(seen.found)))
        return Changed(LinesOutcome.DONE, held_until(end, seen.look["now"]))

    def _units(self, seen: Seen) -> dict[str, Any]:
        """The asked lines as arrays, and what they cost."""
        rows = seen.found
        return {
            **asked_values([each.line for each in seen.asked]),
            "zones": [row["zone_id"] for row in rows],
            "items": [row["stock_item_id"] for row in rows],
            "units": [row["quantity"] for row in rows],
            "list_prices": [row["list_price"] for row in rows],
            "unit_prices": [row["unit_price"] for row in rows],
            "tax_classes": [row["tax_class"] for row in rows],
            "tax_rates": [row["tax_rate_basis_points"] for row in rows],
            "taxes_included": [row["tax_included"] for row in rows],
            "taxes": [row["tax"] for row in rows],
            "origins": [each.origin for each in seen.asked],
            **_costs(rows),
        }

    async def _remove(self, transaction: Transaction, seen: Seen) -> Changed:
        if not seen.found:
            return await self._refuse(transaction, seen, {"code": NotFound.code})
        if seen.look["lines"] == 1:
            cancel = SettleRequest(self.request.ref, Wanted.CANCEL)
            return Changed(LinesOutcome.DONE, await settle_within(transaction, cancel, self._note(seen)))
        [line] = seen.found
        costs = {name: -amount for name, amount in _costs([line]).items()}
        removed = {
            **self._keys,
            "now": seen.look["now"],
            "new_end": seen.row["expires_at"],
            "lines": -1,
            "items": [line["stock_item_id"]],
            "units": [-line["quantity"]],
            **costs,
        }
        writes = [(sql, removed) for sql in (COUNT, TAKE_UNITS, TAKE_OUT, CHANGE_CHECKOUT, GIVE_UP)]
        await transaction.commit(*writes, self._note(seen), self._tell(seen, seen.row["expires_at"], removed=1))
        return Changed(LinesOutcome.DONE, seen.now_held)

    async def _refuse(self, transaction: Transaction, seen: Seen, refusal: Mapping[str, Any]) -> Changed:
        await transaction.commit(self._note(seen, refusal))
        return Changed(LinesOutcome.REFUSED, seen.now_held)

    async def _shortages(self, transaction: Transaction, short: list[dict[str, Any]]) -> dict[str, Any]:
        items = [row["stock_item_id"] for row in short if row["stock_item_id"] is not None]
        [rows] = await transaction.read((FREE_AT, {**self._keys, "items": items}))
        free_at = {row["id"]: row["free_at"].isoformat() for row in rows if row["free_at"]}
        shortages = [
            {
                **{name: row[name] for name in ("product_id", "zone_id", "seat_id") if row[name] is not None},
                "requested": row["wanted"],
                "available": row["free"],
                "reason": row["fault"] or "sold_out",
                "free_at": free_at.get(row["stock_item_id"]),
                **(self.lacking[row["zone_id"]].shortage if row["zone_id"] in self.lacking and row["fault"] else {}),
            }
            for row in short
        ]
        return {"code": InsufficientStock.code, "shortages": shortages}

    def _note(self, seen: Seen, refusal: Mapping[str, Any] | None = None) -> Statement:
        return NOTE, {**self._keys, "refusal": Jsonb(refusal) if refusal else None, "now": seen.look["now"]}

    def _tell(self, seen: Seen, end: datetime, **lines: int) -> Statement:
        ref = self.request.ref
        at: datetime = seen.look["now"]
        return tell(ref.tenant, ref.checkout_id, CheckoutEventKind.LINES_CHANGED, at, expires_at=end, **lines)

    @property
    def _keys(self) -> dict[str, Any]:
        request = self.request
        return {
            "tenant": request.ref.tenant,
            "checkout": request.ref.checkout_id,
            "request": request.request_id,
            "fingerprint": request.fingerprint,
            "remove": request.remove,
        }


def _costs(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What lines cost: `subtotal` at list prices, `total` at those of now, `tax` on top of it."""
    return {
        "subtotal": sum(row["list_price"] * row["quantity"] for row in rows),
        "total": sum(row["unit_price"] * row["quantity"] for row in rows),
        "tax": sum(row["tax"] for row in rows if not row["tax_included"]),
    }
