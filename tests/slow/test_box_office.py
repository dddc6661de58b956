"""An on-sale of numbered seats through the whole system over HTTP: many buyers, one front row."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from domain.ids import SeatId
from tests.support import shop
from tests.support.box_office import seats, start
from tests.support.buyers import Json, insist
from tests.support.checkouts import Rows
from tests.support.fleet import Fleet
from tests.support.system import DEMO
from tests.support.venues import make_seats

pytestmark = pytest.mark.slow
SEED = 20261122
BUYERS, ROWS, PER_ROW = 300, 8, 16
AT_ONCE = 60


async def test_300_buyers_want_the_front_row_and_each_seat_is_sold_once(fleet: Fleet) -> None:
    """Every third wants two together; the others a seat of the front, as they see it, and again when it is gone."""
    print(f"seed {SEED}")
    async with shop.connect(fleet.admin_url) as admin:
        rows, places = Rows(admin), asyncio.Semaphore(AT_ONCE)
        zone, every = await make_seats(admin, DEMO, ROWS, PER_ROW)
        front: list[SeatId] = list(every)

        async def one(number: int) -> list[SeatId]:
            async with places:
                return await (two_together(fleet, zone, front) if number % 3 == 0 else one_seat(fleet, number, front))

        bought = await asyncio.gather(*map(one, range(BUYERS)))
        sold = [seat for seats_of_one in bought for seat in seats_of_one]
        print(f"{Counter(map(len, bought))}")
        assert len(sold) == len(set(sold)) == len(every), "each is sold once, and all are"
        state = await rows.all(
            "SELECT reserved, sold, count(*) AS n FROM stock_items WHERE kind = 'seat' GROUP BY 1, 2"
        )
        assert state == [{"reserved": 0, "sold": 1, "n": len(every)}]
        shown = await seats(fleet.buyer(DEMO), zone)
        assert Counter(seat["status"] for seat in shown) == {"sold": len(every)}
        await fleet.end_well(60)
        assert await deadlocks_of(rows) == 0


async def two_together(fleet: Fleet, zone: int, front: list[SeatId]) -> list[SeatId]:
    """Buy two together; nothing when there are none."""
    return await buy(fleet, {"zone_id": zone, "quantity": 2}, front)


async def one_seat(fleet: Fleet, number: int, front: list[SeatId]) -> list[SeatId]:
    """Buy one seat as near to the front as is left; nothing when all are gone."""
    dice = random.Random(SEED + number)
    while front:
        seat = dice.choice(front[:PER_ROW])
        if bought := await buy(fleet, {"seat_id": seat}, front):
            return bought
        if seat in front:
            front.remove(seat)
    return []


async def buy(fleet: Fleet, line: Json, front: list[SeatId]) -> list[SeatId]:
    """Hold, pay, and see the order; the seats that were bought, which are taken from what is left."""
    buyer = fleet.buyer(DEMO)
    answer = await insist(lambda: start(buyer, line, key="only"), seconds=120)
    if answer.status_code == 409:
        assert answer.json()["code"] == "insufficient_stock", answer.text
        return []
    held: dict[str, Any] = answer.json()
    assert answer.status_code == 201, answer.text
    taken = [SeatId(each["seat_id"]) for each in held["lines"]]
    for seat in set(taken) & set(front):
        front.remove(seat)
    made = await fleet.gateway.create(DEMO, held["id"], held["total"], held["currency"])
    await fleet.gateway.pay(made["id"])
    view = await buyer.until(held["id"], "confirmed", seconds=60)
    assert view["order_id"]
    return taken


async def deadlocks_of(rows: Rows) -> int:
    """As the server has counted them so far."""
    counted: int = await rows.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return counted
