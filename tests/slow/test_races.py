"""Many buyers at once, through the whole system over HTTP."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import httpx
import pytest

from domain.ids import ProductId
from tests.slow.trials import one_trial
from tests.support import shop
from tests.support.buyers import insist
from tests.support.checkouts import Rows
from tests.support.fleet import Fleet, running_fleet
from tests.support.races import deadlocks, make_race_products
from tests.support.system import DEMO

pytestmark = pytest.mark.slow
SEED = 20261121


def race_lines(products: list[ProductId], seed: int) -> list[list[tuple[ProductId, int]]]:
    """300 baskets: overlapping pairs and triples in opposite orders, and single units to take every remainder."""
    dice = random.Random(seed)
    baskets: list[list[tuple[ProductId, int]]] = []
    for size in (2, 3):
        for _ in range(50):
            basket = [(product, dice.randint(1, 2)) for product in dice.sample(products, size)]
            baskets += [basket, basket[::-1]]
    baskets += [[(products[number % len(products)], 1)] for number in range(100)]
    dice.shuffle(baskets)
    return baskets


async def test_300_buyers_race_for_50_units_and_every_one_of_them_gets_201_or_409(
    database_url: str, temporal_address: str, temporal_namespace: str, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    async with shop.connect(database_url) as admin:
        rows = Rows(admin)
        before = await deadlocks(rows)
        async with running_fleet(database_url, temporal_address, tmp_path, namespace=temporal_namespace) as fleet:
            products = await make_race_products(admin, DEMO)
            baskets = race_lines(products, SEED)
            answers = await asyncio.gather(*(take(fleet, basket) for basket in baskets))
            statuses = Counter(answer.status_code for answer in answers)
            print(f"{dict(statuses)}")
            assert set(statuses) == {201, 409}
            assert sum(statuses.values()) == 300
            held = [answer.json() for answer in answers if answer.status_code == 201]
            assert sum(line["quantity"] for checkout in held for line in checkout["lines"]) == 50
            assert [await rows.stock(DEMO, product) for product in products] == [(0, 10, 0)] * 5
            refused = [answer.json() for answer in answers if answer.status_code == 409]
            assert {problem["code"] for problem in refused} == {"insufficient_stock"}
            await fleet.end_well(30)
        assert await deadlocks(rows) == before


async def take(fleet: Fleet, basket: list[tuple[ProductId, int]]) -> httpx.Response:
    """One buyer, who repeats a 503 with the same key."""
    buyer, key = fleet.buyer(DEMO), "only"
    return await insist(lambda: buyer.start(*basket, key=key), seconds=120)


TRIALS = 200
AT_ONCE = 20
AROUND = (-0.8, 0.3)
"""Seconds from the end at which money is taken. The news of it takes a while, more on a busy machine."""


async def test_200_payments_around_the_end_each_end_in_an_order_or_in_a_refund(fleet: Fleet) -> None:
    print(f"seed {SEED}")
    dice, places = random.Random(SEED), asyncio.Semaphore(AT_ONCE)
    offsets = [dice.uniform(*AROUND) for _ in range(TRIALS)]
    async with shop.connect(fleet.admin_url) as admin:
        outcomes = await asyncio.gather(
            *(one_trial(fleet, admin, places, offset, number) for number, offset in enumerate(offsets))
        )
    counted = Counter(outcomes)
    print(f"{dict(counted)}")
    await fleet.end_well(60)
    assert sum(counted.values()) == TRIALS
    assert counted["confirmed"] >= 10
    assert counted["refunded"] >= 10
