"""kill -9 at every point of every step around a payment: before its transaction, before its commit, after it, and
before it could say so. What was paid ends in one order or in one refund all the same."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from api.tokens import Scope
from domain.ids import ProductId, TenantId
from tests.support import shop
from tests.support.buyers import Buyer, as_json, insist
from tests.support.fleet import Fleet, Supervised, running_fleet
from tests.support.system import DEMO, QUICK

pytestmark = pytest.mark.slow
PATIENCE = 400.0
"""Seconds. A killed program takes two or three to come back, many times on the way; a killed worker costs each open
task of its own four more, and a refund fifteen."""
MOST_SECONDS = 600.0

ACTIVITIES = {
    "reserve": 1,
    "settle": 2,
    "extend": 2,
    "change_lines": 2,
    "verify_payment": 0,
    "start_late_payment": 0,
    "close_payments": 2,
    "refund_payment": 2,
    "refund_order": 2,
}
"""Each activity around a payment, and how many round trips it makes at least."""
REQUESTS = {
    "POST /v1/webhooks/{tenant}/{gateway}": 2,
    "POST /v1/checkouts/{checkout_id}/payments": 2,
    "DELETE /v1/checkouts/{checkout_id}/payments/{gateway}/{payment_id}": 1,
    "POST /v1/checkouts/{checkout_id}/confirm": 1,
    "POST /v1/ops/orders/{order_id}/refunds": 1,
    "POST /v1/ops/orders/{order_id}/return": 1,
    "POST /v1/ops/checkouts/{checkout_id}/manual-payment": 1,
}


def points(steps: dict[str, int]) -> set[str]:
    """Each point of these steps."""
    return {
        f"{step} {point}"
        for step, trips in steps.items()
        for point in ("end", *(f"{trip}{side}" for trip in range(1, trips + 1) for side in "<>"))
    }


@asynccontextmanager
async def dying_fleet(
    database_url: str, temporal_address: str, folder: Path, namespace: str, **dying: str
) -> AsyncIterator[Fleet]:
    async with running_fleet(
        database_url, temporal_address, folder, namespace=namespace, dying=dying, delivery_timeout=8.0
    ) as fleet:
        yield fleet


async def test_a_worker_that_dies_at_every_point_of_every_activity_loses_and_doubles_nothing(
    database_url: str, temporal_address: str, temporal_namespace: str, tmp_path: Path
) -> None:
    async with dying_fleet(
        database_url, temporal_address, tmp_path, temporal_namespace, worker="|".join(ACTIVITIES)
    ) as fleet:
        await until_dead_everywhere(fleet, fleet.worker, points(ACTIVITIES))


async def test_an_api_that_dies_at_every_point_of_every_request_loses_and_doubles_nothing(
    database_url: str, temporal_address: str, temporal_namespace: str, tmp_path: Path
) -> None:
    async with dying_fleet(
        database_url, temporal_address, tmp_path, temporal_namespace, api="|".join(map(re.escape, REQUESTS))
    ) as fleet:
        await until_dead_everywhere(fleet, fleet.api, points(REQUESTS))


async def until_dead_everywhere(fleet: Fleet, part: Supervised, wanted: set[str]) -> None:
    """Buyers come again and again until the part has died at each of these points; then all must be well."""
    deadline = time.monotonic() + MOST_SECONDS
    rounds = 0
    while wanted - part.died_at:
        assert time.monotonic() < deadline, f"it did not die at {sorted(wanted - part.died_at)}"
        await asyncio.gather(*(walk(fleet) for walk in WALKS))
        rounds += 1
    print(f"died at {len(part.died_at)} points in {rounds} rounds, {part.starts} starts")
    assert part.starts > len(wanted)
    await fleet.end_well(PATIENCE + 30)


Walk = Callable[[Fleet], Awaitable[None]]


async def paid_after_changes_then_refunded_in_part_and_returned(fleet: Fleet) -> None:
    buyer, held = await hold(fleet, DEMO, units=3)
    more = await product(fleet, DEMO)
    await good(lambda key: buyer.post(f"{_of(held)}/lines", {"lines": [{"product_id": more, "quantity": 1}]}, key))
    await good(lambda key: buyer.extend(held["id"], key=key))
    payment = await good(lambda key: buyer.start_payment(held["id"], key=key))
    second = await fleet.gateway.create(DEMO, held["id"], payment["amount"], held["currency"])
    await asyncio.gather(fleet.gateway.pay(payment["payment_id"]), fleet.gateway.pay(second["id"]))
    sold = await seen(lambda: buyer.until(held["id"], "confirmed", seconds=PATIENCE))
    [other] = {payment["payment_id"], second["id"]} - {await paid_with(fleet, sold["order_id"])}
    await seen(lambda: buyer.until_refunded(held["id"], other, seconds=PATIENCE))
    operator, order = fleet.buyer(DEMO, None, Scope.OPERATOR), f"/v1/ops/orders/{sold['order_id']}"
    await good(lambda key: operator.post(f"{order}/refunds", {"amount": 500, "reason": "broken"}, key))
    await good(lambda key: operator.post(f"{order}/return", {}, key))


async def confirmed_by_the_storefront(fleet: Fleet) -> None:
    buyer, held = await hold(fleet, DEMO)
    payment = await good(lambda key: buyer.start_payment(held["id"], key=key))
    await fleet.gateway.pay(payment["payment_id"], drop=True)
    await good(lambda key: buyer.confirm(held["id"], payment["payment_id"], key=key))
    await seen(lambda: buyer.until(held["id"], "confirmed", seconds=PATIENCE))


async def given_up_and_paid_all_the_same(fleet: Fleet) -> None:
    buyer, held = await hold(fleet, DEMO)
    await good(lambda key: buyer.cancel(held["id"], key=key))
    await seen(lambda: buyer.until(held["id"], "cancelled", seconds=PATIENCE))
    late = await fleet.gateway.create(DEMO, held["id"], held["total"], held["currency"])
    await fleet.gateway.pay(late["id"])
    await seen(lambda: buyer.until(held["id"], "confirmed", seconds=PATIENCE))


async def a_payment_ended_by_its_buyer_and_one_made_by_hand(fleet: Fleet) -> None:
    buyer, held = await hold(fleet, DEMO)
    payment = await good(lambda key: buyer.start_payment(held["id"], key=key))
    await good(lambda _: buyer.end_payment(held["id"], payment["payment_id"]))
    operator = fleet.buyer(DEMO, None, Scope.OPERATOR)
    body = {"name": "bank transfer 77", "reason": "seen on the statement"}
    await good(lambda key: operator.post(f"/v1/ops/checkouts/{held['id']}/manual-payment", body, key))
    await seen(lambda: buyer.until(held["id"], "confirmed", seconds=PATIENCE))


async def left_with_a_payment_open_then_paid_too_late(fleet: Fleet) -> None:
    buyer, held = await hold(fleet, QUICK)
    await insist(lambda: buyer.start_payment(held["id"], key="pay"), PATIENCE)
    await seen(lambda: buyer.until(held["id"], "expired", seconds=PATIENCE))
    late = await fleet.gateway.create(QUICK, held["id"], held["total"], held["currency"])
    await fleet.gateway.pay(late["id"])
    await seen(lambda: buyer.until_refunded(held["id"], late["id"], seconds=PATIENCE))


WALKS: tuple[Walk, ...] = (
    paid_after_changes_then_refunded_in_part_and_returned,
    confirmed_by_the_storefront,
    given_up_and_paid_all_the_same,
    a_payment_ended_by_its_buyer_and_one_made_by_hand,
    left_with_a_payment_open_then_paid_too_late,
)


async def hold(fleet: Fleet, tenant: TenantId, units: int = 1) -> tuple[Buyer, dict[str, Any]]:
    """Somebody, and what he holds."""
    buyer, what = fleet.buyer(tenant), await product(fleet, tenant)
    return buyer, await good(lambda key: buyer.start((what, units), key=key))


async def product(fleet: Fleet, tenant: TenantId) -> ProductId:
    """A new one: made at once by several, products may be given the same number, and then one tries again."""
    async with shop.connect(fleet.admin_url) as admin:
        while True:
            with suppress(psycopg.errors.UniqueViolation):
                return await shop.make_product(admin, tenant, stock=5, price=1000)


async def seen(look: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """What is waited for, through an API that dies meanwhile."""
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            with suppress(httpx.TransportError):
                return await look()
            await asyncio.sleep(0.2)


async def good(send: Callable[[str], Awaitable[httpx.Response]]) -> dict[str, Any]:
    """The good answer to a request that is sent, with one key, until there is an answer that is no 503."""
    key = uuid.uuid4().hex
    answer = await insist(lambda: send(key), PATIENCE)
    assert answer.is_success, answer.text
    return as_json(answer)


async def paid_with(fleet: Fleet, order: str) -> str:
    """The payment that made the order."""
    async with shop.connect(fleet.admin_url) as admin:
        row = await (await admin.execute("SELECT payment_id FROM orders WHERE id = %s", (order,))).fetchone()
    assert row is not None
    return str(row[0])


def _of(checkout: dict[str, Any]) -> str:
    return f"/v1/checkouts/{checkout['id']}"
