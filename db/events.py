"""Events, their zones and seats: reading. Overdue holds show as free: the end of a hold needs nobody to notice it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from db.database import Database, Statement
from db.events_sql import EVENTS, FREE_IN, SEATS, ZONE_OF_SEATS, ZONES
from domain.errors import Invalid
from domain.ids import EventKey, SeatId, TenantId, ZoneId

NO_SEAT = SeatId(0)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that tickets are sold for. `on_sale`: whether any of them can be bought."""

    id: EventKey
    name: str
    description: str
    venue: str
    starts_at: datetime | None
    on_sale: bool
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone with its tickets now. Amounts in minor units of `currency`.

    `kind`: `numbered` or `general`. `total`: its seats, or its capacity. `available`: its free seats (none that are
    blocked), or its free places. `on_sale`: its own switch; `event_on_sale`: that of its event.
    """

    id: ZoneId
    event_id: EventKey
    name: str
    kind: str
    currency: str
    price: int
    offer_price: int | None
    tax_class: str | None
    on_sale: bool
    event_on_sale: bool
    total: int
    available: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SeatPage:
    """Seats in order of row and number: id, row_name, number, status (`free`, `held`, `sold`, `blocked`).

    `last`: where the next page goes on; None when this is the last one.
    """

    seats: list[DictRow]
    last: SeatId | None


async def list_events(db: Database, tenant: TenantId, after: EventKey, limit: int) -> list[Event]:
    """At most `limit` events with ids past `after`, in order of id."""
    sql = f"{EVENTS} AND id > %(after)s ORDER BY id LIMIT %(limit)s"
    [rows] = await db.run(tenant, (sql, {"tenant": tenant, "after": after, "limit": limit}))
    return [Event(**row) for row in rows]


async def find_event(db: Database, tenant: TenantId, event: EventKey) -> Event | None:
    """The event, or None."""
    [rows] = await db.run(tenant, event_statement(tenant, event))
    return Event(**rows[0]) if rows else None


def event_statement(tenant: TenantId, event: EventKey) -> Statement:
    """Reads the fields of an `Event`, also beside other statements of one transaction."""
    return f"{EVENTS} AND id = %(event)s", {"tenant": tenant, "event": event}


async def zones_of(db: Database, tenant: TenantId, event: EventKey) -> list[Zone] | None:
    """The event's zones in order of id; None when there is no such event. Counts every free seat."""
    values = {"tenant": tenant, "event": event}
    sql = f"{ZONES} AND z.event_id = %(event)s ORDER BY z.id"
    events, rows = await db.run(tenant, event_statement(tenant, event), (sql, values))
    return [Zone(**row) for row in rows] if events else None


def zone_statement(tenant: TenantId, zone: ZoneId) -> Statement:
    """Reads the fields of a `Zone`, also beside other statements of one transaction."""
    return f"{ZONES} AND z.id = %(zone)s", {"tenant": tenant, "zone": zone}


async def list_seats(
    db: Database, tenant: TenantId, zone: ZoneId, after: SeatId, limit: int, *, only_free: bool = False
) -> SeatPage | None:
    """The next `limit` seats of a zone past the seat `after` (NO_SEAT: from the first); None: there is no such zone.

    `only_free` leaves out the others of these seats, so that a page costs the same however few are free. A
    general-admission zone has none. Raises Invalid when `after` is not a seat of the zone.
    """
    values = {"tenant": tenant, "zone": zone, "after": after, "limit": limit, "only_free": only_free}
    head, seats = await db.run(tenant, (ZONE_OF_SEATS, values), (SEATS, values))
    if not head:
        return None
    if after != NO_SEAT and not head[0]["placed"]:
        message = "There is no such seat in this zone"
        raise Invalid(f"{message}.", errors=[{"field": "after", "message": message, "fix": "Send a `next_after`"}])
    full = bool(seats) and seats[-1]["seen"] == limit
    last = SeatId(seats[-1]["id"]) if full else None
    return SeatPage([seat for seat in seats if seat["wanted"]], last)


async def free_seats(db: Database, tenant: TenantId, zones: Sequence[ZoneId]) -> dict[ZoneId, int]:
    """How many seats of each numbered zone can be reserved now."""
    [rows] = await db.run(tenant, (FREE_IN, {"tenant": tenant, "zones": list(zones)}))
    return {ZoneId(row["zone_id"]): row["free"] for row in rows}
