"""Creating and changing zones: each change in one transaction with its audit row. Reading is db/events.py.

Lock order: the stock item of a general-admission zone, then the zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypedDict

from psycopg.rows import DictRow

from db.audit import note
from db.database import Database, Statement, Transaction
from db.event_admin_sql import (
    COMMITTED_SEATS,
    INSERT_GENERAL,
    INSERT_NUMBERED,
    INSERT_SEATS,
    LAST_SEAT,
    LOCK_CAPACITY,
    LOCK_ZONE,
    NUMBER_ZONE,
    SET_CAPACITY,
    TAKE_TIME,
    UPDATE_ZONE,
    ZONES_OF_EVENT,
)
from db.events import Zone, zone_statement
from db.numbering import Numbered
from db.older_transactions import until_older_ones_end
from db.past_overdue import past_overdue_holds
from db.tenant_settings import check_class
from domain.catalogue import require_offer_below_price
from domain.errors import Conflict, Invalid, NotFound, TotalBelowCommitted, ZoneCommitted, ZoneExists
from domain.ids import Actor, EventKey, TenantId, ZoneId
from domain.messages import Line
from domain.venue import MAX_ZONES, PlannedSeat, SeatRow, planned_seats

SEATS_AT_ONCE = 5_000
"""Seats that one statement makes, in a fraction of its two seconds."""


@dataclass(frozen=True, slots=True)
class NewZone:
    """A zone to be: with rows of seats it is numbered, without it is general, with a capacity. `id`: None for the next
    one. Amounts in minor units of the tenant's currency."""

    name: str
    price: int
    offer_price: int | None = None
    tax_class: str | None = None
    on_sale: bool = True
    capacity: int = 0
    rows: Sequence[SeatRow] = ()
    id: ZoneId | None = None


class ZoneChanges(TypedDict, total=False):
    """What to change of a zone; what is not in it stays. Only a general-admission zone has a `capacity`."""

    name: str
    price: int
    offer_price: int | None
    tax_class: str | None
    on_sale: bool
    capacity: int


FIELDS = tuple(ZoneChanges.__annotations__)


async def create_zone(db: Database, tenant: TenantId, actor: Actor, event: EventKey, new: NewZone) -> Zone:
    """Add a zone with its seats or its capacity: all of it or nothing.

    Raises NotFound when there is no such event, ZoneExists for a chosen id that is taken, Conflict when the event has
    MAX_ZONES, Invalid for rows that make no sense, an offer that is not below the price, a tax class that there is not.
    """
    require_offer_below_price(new.price, new.offer_price)
    creation = Numbered(tenant, new.id, NUMBER_ZONE, ZoneExists("There is a zone with this id already."))
    seats = planned_seats(new.rows)

    async def work(transaction: Transaction) -> Zone:
        async def write(zone: int, at: datetime) -> None:
            values = {**asdict(new), "tenant": tenant, "event": event, "zone": zone, "at": at}
            await _require_room(transaction, values)
            await check_class(transaction, tenant, new.tax_class)
            insert = INSERT_NUMBERED if seats else INSERT_GENERAL
            [last], *_ = await transaction.read(
                (LAST_SEAT, values), (TAKE_TIME, {}), (insert, values), _note_created(tenant, actor, zone, values)
            )
            for start in range(0, len(seats), SEATS_AT_ONCE):
                await transaction.read(_seats(values, last["id"] + start, seats[start : start + SEATS_AT_ONCE]))

        zone = ZoneId(await creation.make(transaction, write))
        [rows] = await transaction.commit(zone_statement(tenant, zone))
        return Zone(**rows[0])

    return await db.transact(tenant, work)


async def change_zone(db: Database, tenant: TenantId, actor: Actor, zone: ZoneId, changes: ZoneChanges) -> Zone:
    """Change a zone; the whole of it, as it is then. What is held keeps its price.

    Raises NotFound; Invalid for an offer that would not be below the price, a tax class that there is not, and for a
    numbered zone's capacity;
    TotalBelowCommitted for a capacity below what is reserved and sold; ZoneCommitted when it is to be withdrawn from
    sale and tickets of it are held or sold.
    """
    change = _Change(tenant, actor, zone, changes)
    lines = [Line(None, 1, zone_id=zone)]
    refusals = TotalBelowCommitted, ZoneCommitted
    changed = await past_overdue_holds(db, tenant, lines, change.work, refusals)
    if change.withdraws:
        # A reserve that began before may hold tickets of it yet: then the zone goes back on sale.
        await until_older_ones_end(db, tenant)
        try:
            await past_overdue_holds(db, tenant, lines, change.require_uncommitted, refusals)
        except ZoneCommitted:
            await db.transact(tenant, _Change(tenant, actor, zone, {"on_sale": True}).work)
            raise
    return changed


@dataclass
class _Change:
    """One change, whatever number of attempts it takes."""

    tenant: TenantId
    actor: Actor
    zone: ZoneId
    changes: ZoneChanges
    withdraws: bool = False

    @property
    def _values(self) -> dict[str, Any]:
        return {"tenant": self.tenant, "zone": self.zone}

    async def work(self, transaction: Transaction) -> Zone:
        item, before = await self._lock(transaction)
        after = {**before, **self.changes}
        require_offer_below_price(after["price"], after["offer_price"], _offending(self.changes))
        _require_capacity(item, self.changes)
        if after["tax_class"] != before["tax_class"]:
            await check_class(transaction, self.tenant, after["tax_class"])
        if before["on_sale"] and not after["on_sale"]:
            self.withdraws = True
            await self._require_uncommitted(transaction, item)
        values = {**after, **self._values, "item": item["id"] if item else None}
        noted = _note_change(self.tenant, self.actor, self.zone, before, after)
        writes = [*([(SET_CAPACITY, values)] if item else []), (UPDATE_ZONE, values), noted] if noted else []
        *_, rows = await transaction.commit(*writes, zone_statement(self.tenant, self.zone))
        return Zone(**rows[0])

    async def require_uncommitted(self, transaction: Transaction) -> None:
        """Raise ZoneCommitted when tickets are held or sold."""
        item, _ = await self._lock(transaction)
        await self._require_uncommitted(transaction, item)
        await transaction.commit()

    async def _lock(self, transaction: Transaction) -> tuple[DictRow | None, dict[str, Any]]:
        items, zones = await transaction.read((LOCK_CAPACITY, self._values), (LOCK_ZONE, self._values))
        if not zones:
            raise NotFound
        item = items[0] if items else None
        return item, {**zones[0], "capacity": item["capacity"] if item else None}

    async def _require_uncommitted(self, transaction: Transaction, item: DictRow | None) -> None:
        row = item or (await transaction.read((COMMITTED_SEATS, self._values)))[0][0]
        if row["reserved"] or row["sold"]:
            raise ZoneCommitted(
                f"{row['reserved']} of its tickets are held and {row['sold']} sold: it stays on sale.",
                reserved=row["reserved"],
                sold=row["sold"],
            )


async def _require_room(transaction: Transaction, values: dict[str, Any]) -> None:
    [events] = await transaction.read((ZONES_OF_EVENT, values))
    if not events:
        raise NotFound
    if events[0]["zones"] >= MAX_ZONES:
        raise Conflict(f"An event has at most {MAX_ZONES} zones.")


def _require_capacity(item: DictRow | None, changes: ZoneChanges) -> None:
    if "capacity" not in changes:
        return
    if item is None:
        message = "A numbered zone has seats, and no capacity"
        raise Invalid(f"{message}.", errors=[{"field": "capacity", "message": message, "fix": "Block seats instead"}])
    reserved, sold = item["reserved"], item["sold"]
    if changes["capacity"] < reserved + sold:
        detail = f"{reserved} places are reserved and {sold} sold: capacity must be at least {reserved + sold}."
        raise TotalBelowCommitted(detail, reserved=reserved, sold=sold)


def _seats(values: dict[str, Any], after: int, seats: Sequence[PlannedSeat]) -> Statement:
    columns = {
        "rows": [seat.row for seat in seats],
        "ranks": [seat.rank for seat in seats],
        "numbers": [seat.number for seat in seats],
    }
    return INSERT_SEATS, {"tenant": values["tenant"], "zone": values["zone"], "after": after, **columns}


def _offending(changes: ZoneChanges) -> str:
    """The field that a bad offer is blamed on: one that was sent."""
    return "price" if "price" in changes and "offer_price" not in changes else "offer_price"


def _note_created(tenant: TenantId, actor: Actor, zone: int, values: dict[str, Any]) -> Statement:
    shown = {name: values[name] for name in ("name", "price", "offer_price", "tax_class", "on_sale", "capacity")}
    rows = [f"{row['name']} {row['first']}-{row['last']}" for row in values["rows"]]
    return note(tenant, actor, "zone.created", f"zone:{zone}", None, {**shown, "event": values["event"], "rows": rows})


def _note_change(
    tenant: TenantId, actor: Actor, zone: ZoneId, before: dict[str, Any], after: dict[str, Any]
) -> Statement | None:
    """The audit row of what differs; None when nothing does."""
    differing = [name for name in FIELDS if before[name] != after[name]]
    if not differing:
        return None
    was, became = ({name: state[name] for name in differing} for state in (before, after))
    return note(tenant, actor, "zone.changed", f"zone:{zone}", was, became)
