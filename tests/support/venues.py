"""Events for tests: a numbered zone with rows of seats, and a general-admission zone, by the admin role."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from domain.ids import BuyerKey, SeatId, TenantId, ZoneId
from domain.messages import Line, StartCheckout
from tests.support import shop
from tests.support.checkouts import a_start

_EVENT = "INSERT INTO events (tenant_id, id, name) VALUES (%(tenant)s, %(event)s, 'Concert') ON CONFLICT DO NOTHING"
_GENERAL = """
    WITH item AS (
        INSERT INTO stock_items (tenant_id, kind, total) VALUES (%(tenant)s, 'zone', %(capacity)s) RETURNING id
    )
    INSERT INTO zones (tenant_id, id, event_id, name, kind, price, stock_item_id)
    SELECT %(tenant)s, (SELECT coalesce(max(id), 0) + 1 FROM zones WHERE tenant_id = %(tenant)s), %(event)s, 'Standing',
           'general', %(price)s, item.id
    FROM item RETURNING id
"""
_NUMBERED = """
    INSERT INTO zones (tenant_id, id, event_id, name, kind, price)
    SELECT %(tenant)s, (SELECT coalesce(max(id), 0) + 1 FROM zones WHERE tenant_id = %(tenant)s), %(event)s, 'Stalls',
           'numbered', %(price)s
    RETURNING id
"""
_SEATS = """
    WITH wanted AS (
        SELECT rank, number, row_number() OVER (ORDER BY rank, number)
                   + (SELECT coalesce(max(id), 0) FROM seats WHERE tenant_id = %(tenant)s) AS id,
               row_number() OVER (ORDER BY rank, number)
                   + (SELECT coalesce(max(id), 0) FROM stock_items) AS item
        FROM generate_series(1, %(rows)s) rank CROSS JOIN generate_series(1, %(per_row)s) number
    ), items AS (
        INSERT INTO stock_items (tenant_id, id, kind, total, zone_id)
        SELECT %(tenant)s, item, 'seat', 1, %(zone)s FROM wanted
    )
    INSERT INTO seats (tenant_id, id, zone_id, row_name, rank, number, stock_item_id)
    SELECT %(tenant)s, id, %(zone)s, 'Row ' || rank, rank, number, item FROM wanted ORDER BY id RETURNING id
"""
_NEXT = "SELECT setval(pg_get_serial_sequence('stock_items', 'id'), (SELECT max(id) FROM stock_items))"


def a_seat(seat: SeatId) -> Line:
    """The line of one seat."""
    return Line(None, 1, seat_id=seat)


def places(zone: ZoneId, quantity: int) -> Line:
    """The line of so many places in a zone; of seats together, when it is a numbered one."""
    return Line(None, quantity, zone_id=zone)


def start_of(tenant: TenantId, *lines: Line, patience: float = 60.0) -> StartCheckout:
    """A start of these lines by somebody else each time, who waits `patience` seconds."""
    buyer = BuyerKey(f"user:{uuid.uuid4()}")
    return replace(a_start(tenant, {}, buyer=buyer, patience=patience), lines=list(lines))


async def make_zone(
    connection: shop.Connection, tenant: TenantId, capacity: int, *, price: int = 3000, event: int = 1
) -> ZoneId:
    """A general-admission zone of an event, which is made when it is not there."""
    values = {"tenant": tenant, "event": event, "capacity": capacity, "price": price}
    await connection.execute(_EVENT, values)
    return ZoneId(await _one(connection, _GENERAL, values))


async def make_seats(
    connection: shop.Connection, tenant: TenantId, rows: int, per_row: int, *, price: int = 5000, event: int = 1
) -> tuple[ZoneId, list[SeatId]]:
    """A numbered zone and its seats, row after row."""
    values: dict[str, Any] = {"tenant": tenant, "event": event, "rows": rows, "per_row": per_row, "price": price}
    await connection.execute(_EVENT, values)
    zone = ZoneId(await _one(connection, _NUMBERED, values))
    cursor = await connection.execute(_SEATS, {**values, "zone": zone})
    seats = [SeatId(row[0]) for row in await cursor.fetchall()]
    await connection.execute(_NEXT)
    return zone, seats


async def _one(connection: shop.Connection, sql: str, values: dict[str, Any]) -> int:
    row = await (await connection.execute(sql, values)).fetchone()
    assert row is not None
    return int(row[0])
