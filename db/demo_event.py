"""The demo shop's event: a concert with 200 numbered seats, and a lawn for 500. Prices in minor units."""

from __future__ import annotations

from typing import Any

import psycopg

from db.event_admin_sql import INSERT_EVENT, INSERT_GENERAL, INSERT_NUMBERED, INSERT_SEATS, LAST_SEAT
from domain.ids import TenantId
from domain.venue import SeatRow, planned_seats

EVENT = {
    "event": 1,
    "name": "Coffee harvest concert",
    "description": "An evening of cumbia and bambuco, to end the harvest.",
    "venue": "Teatro al aire libre, Salento",
    "starts_at": "2027-12-04T20:00:00-05:00",
    "on_sale": True,
}
STALLS, LAWN = 1, 2
_ZONES: dict[int, dict[str, Any]] = {
    STALLS: {"name": "Stalls", "price": 12_000_000, "offer_price": None, "tax_class": None, "on_sale": True},
    LAWN: {
        "name": "Lawn",
        "price": 5_000_000,
        "offer_price": 4_000_000,
        "tax_class": None,
        "on_sale": True,
        "capacity": 500,
    },
}
_ROWS = [SeatRow(name, 1, 20) for name in "ABCDEFGHIJ"]
_KNOWN = "SELECT id FROM {table} WHERE tenant_id = %(tenant)s"
_NOW = "SELECT clock_timestamp()"


async def add_demo_event(connection: psycopg.AsyncConnection[tuple[Any, ...]], tenant: TenantId) -> tuple[int, int]:
    """(events, zones) that were missing and are there now."""
    at = (await (await connection.execute(_NOW)).fetchall())[0][0]
    values = {**EVENT, "tenant": tenant, "at": at}
    events, zones = [await _known(connection, table, values) for table in ("events", "zones")]
    if EVENT["event"] not in events:
        await connection.execute(INSERT_EVENT, values)
    missing = [zone for zone in _ZONES if zone not in zones]
    for zone in missing:
        given = {**values, **_ZONES[zone], "zone": zone}
        await connection.execute(INSERT_NUMBERED if zone == STALLS else INSERT_GENERAL, given)
        if zone == STALLS:
            await _add_seats(connection, given)
    return int(EVENT["event"] not in events), len(missing)


async def _add_seats(connection: psycopg.AsyncConnection[tuple[Any, ...]], values: dict[str, Any]) -> None:
    [(last,)] = await (await connection.execute(LAST_SEAT, values)).fetchall()
    seats = planned_seats(_ROWS)
    columns = {
        "rows": [seat.row for seat in seats],
        "ranks": [seat.rank for seat in seats],
        "numbers": [seat.number for seat in seats],
    }
    await connection.execute(INSERT_SEATS, {**values, **columns, "after": last})


async def _known(connection: psycopg.AsyncConnection[tuple[Any, ...]], table: str, values: dict[str, Any]) -> set[int]:
    rows = await (await connection.execute(_KNOWN.format(table=table), values)).fetchall()
    return {row[0] for row in rows}
