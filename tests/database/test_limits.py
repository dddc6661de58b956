"""A tenant's limits: counter rows, changed under their lock in the transactions that hold and settle."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from db.adoption import adopt_session
from db.database import Database
from db.reserve import reserve
from db.settle import settle
from db.start_look import look_before_start
from domain.checkout import CheckoutStatus
from domain.ids import BuyerKey, ProductId, SessionId, TenantId, session_key
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, cancel, confirm, expire, opened
from tests.support.races import deadlocks

ANA, LUIS = BuyerKey("user:ana"), BuyerKey("user:luis")


@pytest.fixture
async def coffee(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=1000)


async def limit(admin: shop.Connection, tenant: TenantId, **settings: int) -> None:
    for name, value in settings.items():
        await admin.execute(f"UPDATE tenants SET {name} = %s WHERE id = %s", (value, tenant))


def by(buyer: BuyerKey, tenant: TenantId, *products: ProductId, address: str | None = None) -> StartCheckout:
    return replace(a_start(tenant, dict.fromkeys(products, 1), buyer=buyer, patience=60), address=address)


async def refusal(db: Database, rows: Rows, start: StartCheckout) -> dict[str, Any]:
    """What a start that must be refused is refused with; the look before the start says the same."""
    look = await look_before_start(db, start.tenant, start.checkout_id, start.buyer, start.lines, start.address)
    assert (await reserve(db, start)).status is CheckoutStatus.REFUSED
    stored: dict[str, Any] = (await rows.checkout(start.ref))["refusal"]
    assert look is not None
    assert look.limit == stored
    return stored


async def test_live_checkouts_of_one_owner_are_limited_until_one_ends(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    await limit(admin, tenant, max_checkouts_per_owner=2)
    first, second = by(ANA, tenant, coffee), by(ANA, tenant, coffee)
    await reserve(db, first)
    await reserve(db, second)
    stored = await refusal(db, rows, by(ANA, tenant, coffee))
    ends = (await rows.checkout(first.ref))["expires_at"]
    assert (stored["code"], stored["limit"], stored["most"]) == ("limit_reached", "checkouts_per_owner", 2)
    assert datetime.fromisoformat(stored["frees_at"]) == ends
    assert (await reserve(db, by(LUIS, tenant, coffee))).status is CheckoutStatus.HELD
    await settle(db, cancel(first.ref))
    assert (await reserve(db, by(ANA, tenant, coffee))).status is CheckoutStatus.HELD


async def test_held_lines_of_one_owner_are_limited_over_all_his_checkouts(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    products = [await shop.make_product(admin, tenant) for _ in range(5)]
    await limit(admin, tenant, max_held_lines=5)
    first = by(ANA, tenant, *products[:3])
    await reserve(db, first)
    stored = await refusal(db, rows, by(ANA, tenant, *products[:3]))
    assert (stored["limit"], stored["most"]) == ("held_lines", 5)
    await reserve(db, by(ANA, tenant, *products[:2]))
    await settle(db, confirm(first.ref, a_capture(first.checkout_id, 3000)))
    assert (await reserve(db, by(ANA, tenant, *products[:3]))).status is CheckoutStatus.HELD


async def test_lines_of_one_checkout_are_limited_and_no_time_frees_that(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    products = [await shop.make_product(admin, tenant) for _ in range(3)]
    await limit(admin, tenant, max_lines=2)
    stored = await refusal(db, rows, by(ANA, tenant, *products))
    assert stored == {"code": "limit_reached", "limit": "lines", "most": 2, "frees_at": None}


async def test_an_address_is_limited_over_all_its_buyers(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    await limit(admin, tenant, max_checkouts_per_address=2)
    await reserve(db, by(ANA, tenant, coffee, address="a1"))
    await reserve(db, by(LUIS, tenant, coffee, address="a1"))
    stored = await refusal(db, rows, by(BuyerKey("user:eva"), tenant, coffee, address="a1"))
    assert (stored["limit"], stored["most"]) == ("checkouts_per_address", 2)
    assert stored["frees_at"] is not None
    assert (await reserve(db, by(ANA, tenant, coffee, address="a2"))).status is CheckoutStatus.HELD


@pytest.mark.parametrize(("wish", "waits"), [(expire, True), (cancel, False)])
async def test_a_cooldown_follows_an_expiry_and_never_a_cancel(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId, wish: Any, waits: bool
) -> None:
    await limit(admin, tenant, cooldown_seconds=60)
    start = by(ANA, tenant, coffee)
    await reserve(db, start)
    if wish is expire:
        await rows.end_now(start.ref)
    await settle(db, wish(start.ref))
    again = by(ANA, tenant, coffee)
    if not waits:
        assert (await reserve(db, again)).status is CheckoutStatus.HELD
        return
    stored = await refusal(db, rows, again)
    ended = (await rows.checkout(start.ref))["ended_at"]
    assert stored["limit"] == "cooldown"
    assert datetime.fromisoformat(stored["frees_at"]) == ended + timedelta(seconds=60)
    await admin.execute("UPDATE limit_counters SET cooldown_until = clock_timestamp()")
    assert (await reserve(db, by(ANA, tenant, coffee))).status is CheckoutStatus.HELD


async def test_a_hold_past_its_end_counts_against_nobody(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    await limit(admin, tenant, max_checkouts_per_owner=1)
    late = by(ANA, tenant, coffee)
    await reserve(db, late)
    await rows.end_now(late.ref)
    start = by(ANA, tenant, coffee)
    look = await look_before_start(db, tenant, start.checkout_id, ANA, start.lines)
    assert look is not None
    assert look.limit is None
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    assert (await rows.checkout(late.ref))["status"] == "expired"


async def test_a_service_sells_for_all_and_is_not_limited(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    await limit(admin, tenant, max_checkouts_per_owner=1, max_held_lines=1)
    for _ in range(3):
        assert (await reserve(db, by(BuyerKey("service:shop"), tenant, coffee))).status is CheckoutStatus.HELD
    assert await rows.value("SELECT count(*) FROM limit_counters") == 0


LIMITS: dict[str, tuple[dict[str, int], Callable[[int], tuple[BuyerKey, str | None]]]] = {
    "checkouts_per_owner": ({"max_checkouts_per_owner": 7}, lambda _: (ANA, None)),
    "held_lines": ({"max_held_lines": 7}, lambda _: (ANA, None)),
    "checkouts_per_address": ({"max_checkouts_per_address": 7}, lambda n: (BuyerKey(f"user:{n}"), "a1")),
}


@pytest.mark.parametrize("name", LIMITS)
async def test_fifty_at_once_pass_no_limit_and_reach_it(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId, name: str
) -> None:
    settings, who = LIMITS[name]
    await limit(admin, tenant, **settings)
    starts = [by(buyer, tenant, coffee, address=address) for buyer, address in map(who, range(50))]
    async with opened(database_url, size=24) as db:
        results = await asyncio.gather(*(reserve(db, start) for start in starts))
        assert Counter(result.status for result in results) == {CheckoutStatus.HELD: 7, CheckoutStatus.REFUSED: 43}
        held = [start for start, result in zip(starts, results, strict=True) if result.status is CheckoutStatus.HELD]
        await asyncio.gather(*(settle(db, cancel(start.ref)) for start in held))
        buyer, address = who(99)
        assert (await reserve(db, by(buyer, tenant, coffee, address=address))).status is CheckoutStatus.HELD
    assert await deadlocks(rows) == 0


async def test_an_owner_and_an_address_at_once_never_deadlock(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    await limit(admin, tenant, max_checkouts_per_owner=100, max_checkouts_per_address=100)

    async def come_and_go(db: Database, number: int) -> None:
        start = by(BuyerKey(f"user:{number % 3}"), tenant, coffee, address=f"a{number % 2}")
        assert (await reserve(db, start)).status is CheckoutStatus.HELD
        await settle(db, cancel(start.ref))

    async with opened(database_url, size=24) as db:
        await asyncio.gather(*(come_and_go(db, number) for number in range(60)))
    assert await deadlocks(rows) == 0
    assert await rows.value("SELECT sum(live_checkouts) + sum(held_lines) FROM limit_counters") == 0


async def test_what_a_session_holds_counts_for_the_user_after_the_login(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId
) -> None:
    await limit(admin, tenant, max_checkouts_per_owner=2)
    session = SessionId("s1")
    await admin.execute("INSERT INTO sessions (tenant_id, id, expires_at) VALUES (%s, 's1', 'infinity')", (tenant,))
    await reserve(db, by(ANA, tenant, coffee))
    held = by(session_key(session), tenant, coffee)
    await reserve(db, held)
    await adopt_session(db, tenant, session, ANA)
    assert (await refusal(db, rows, by(ANA, tenant, coffee)))["limit"] == "checkouts_per_owner"
    await settle(db, cancel(held.ref))
    assert (await reserve(db, by(ANA, tenant, coffee))).status is CheckoutStatus.HELD
