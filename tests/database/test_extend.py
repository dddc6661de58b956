"""Extend: only a live hold, once per request, never past the maximum, never backwards."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from db.database import Database
from db.extend import extend
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import CheckoutId, ProductId, TenantId
from domain.messages import CheckoutRef, ExtendRequest, Settled, StartCheckout
from domain.naming import PAYMENT_STARTED
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, cancel, confirm, expire


@pytest.fixture
async def held(db: Database, admin: shop.Connection) -> StartCheckout:
    """A hold of 10 s, extended by at most 20 s at a time to at most 25 s after its start."""
    tenant = await shop.make_tenant(admin, hold_seconds=10, extension_seconds=20, maximum_seconds=25)
    start = a_start(tenant, {await shop.make_product(admin, tenant): 1})
    await reserve(db, start)
    return start


async def held_for(rows: Rows, start: StartCheckout) -> timedelta:
    row = await rows.checkout(start.ref)
    held: timedelta = row["expires_at"] - row["held_at"]
    return held


async def test_an_extension_moves_the_end_of_the_checkout_and_its_lines(
    db: Database, rows: Rows, held: StartCheckout
) -> None:
    before = await rows.checkout(held.ref)
    extended = await extend(db, ExtendRequest(held.ref, "k"))
    assert extended.status is CheckoutStatus.HELD
    assert 19_000 < extended.remaining_ms <= 20_000
    after = await rows.checkout(held.ref)
    assert after["expires_at"] > before["expires_at"]
    assert await rows.value("SELECT expires_at FROM checkout_lines") == after["expires_at"]
    [note] = await rows.all("SELECT request_id, previous_end, new_end FROM checkout_extensions")
    assert note == {"request_id": "k", "previous_end": before["expires_at"], "new_end": after["expires_at"]}


@pytest.mark.parametrize(("seconds", "at_most"), [(12, 12), (20, 20), (3600, 20), (1, 10), (None, 20)])
async def test_a_caller_may_ask_for_less_than_the_step_never_for_more(
    db: Database, held: StartCheckout, seconds: int | None, at_most: int
) -> None:
    extended = await extend(db, ExtendRequest(held.ref, "k", seconds))
    assert (at_most - 1) * 1000 < extended.remaining_ms <= at_most * 1000


async def test_many_extensions_end_at_the_maximum(db: Database, rows: Rows, held: StartCheckout) -> None:
    for number in range(4):
        extended = await extend(db, ExtendRequest(held.ref, f"k{number}"))
        assert extended.status is CheckoutStatus.HELD
        await rows.pass_time(held.ref, timedelta(seconds=6))
    assert await held_for(rows, held) == timedelta(seconds=25)


async def test_the_same_request_extends_once_even_eight_at_once(db: Database, rows: Rows, held: StartCheckout) -> None:
    answers = await asyncio.gather(*(extend(db, ExtendRequest(held.ref, "k")) for _ in range(8)))
    assert {answer.status for answer in answers} == {CheckoutStatus.HELD}
    assert await rows.value("SELECT count(*) FROM checkout_extensions") == 1
    assert max(answer.remaining_ms for answer in answers) - min(answer.remaining_ms for answer in answers) < 2000


async def test_at_its_very_end_a_hold_does_not_extend_though_nobody_has_settled_it(
    db: Database, rows: Rows, held: StartCheckout
) -> None:
    end = await rows.end_now(held.ref)
    assert await extend(db, ExtendRequest(held.ref, "k")) == Settled(CheckoutStatus.HELD, remaining_ms=0)
    assert (await rows.checkout(held.ref))["expires_at"] == end
    assert (await settle(db, expire(held.ref))).status is CheckoutStatus.EXPIRED


async def test_what_is_ended_or_not_there_does_not_extend(db: Database, rows: Rows, held: StartCheckout) -> None:
    missing = CheckoutRef(held.tenant, CheckoutId("00000000-0000-4000-8000-000000000000"))
    assert await extend(db, ExtendRequest(missing, "k")) == Settled(status=None)
    await settle(db, cancel(held.ref))
    assert await extend(db, ExtendRequest(held.ref, "k")) == Settled(CheckoutStatus.CANCELLED)
    assert await rows.value("SELECT count(*) FROM checkout_extensions") == 0


async def test_a_confirmed_checkout_does_not_extend(db: Database, held: StartCheckout) -> None:
    await settle(db, confirm(held.ref, a_capture(held.checkout_id, 1000)))
    assert (await extend(db, ExtendRequest(held.ref, "k"))).status is CheckoutStatus.CONFIRMED


async def test_another_tenants_hold_does_not_extend(db: Database, admin: shop.Connection, held: StartCheckout) -> None:
    other: TenantId = await shop.make_tenant(admin)
    assert await extend(db, ExtendRequest(CheckoutRef(other, held.checkout_id), "k")) == Settled(status=None)


async def test_a_payment_that_starts_extends_once_if_the_shop_wanted_that_when_the_hold_began(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout
) -> None:
    await admin.execute("UPDATE tenants SET auto_extend = false")
    other = a_start(held.tenant, {held.lines[0].product_id or ProductId(0): 1})
    await reserve(db, other)
    assert 9_000 < (await extend(db, ExtendRequest(other.ref, PAYMENT_STARTED))).remaining_ms <= 10_000
    for _ in range(2):
        assert 19_000 < (await extend(db, ExtendRequest(held.ref, PAYMENT_STARTED))).remaining_ms <= 20_000
    assert await rows.value("SELECT count(*) FROM checkout_extensions") == 1
    assert (await extend(db, ExtendRequest(other.ref, "asked for"))).remaining_ms > 19_000


async def test_the_row_decides_between_an_extension_and_the_end(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout
) -> None:
    """Both at once, at fifty moments from 35 ms before the end to 14 ms after it."""
    await admin.execute("UPDATE stock_items SET total = 100")
    product = held.lines[0].product_id or ProductId(0)
    starts = [a_start(held.tenant, {product: 1}) for _ in range(50)]
    outcomes = set()
    for number, start in enumerate(starts):
        await reserve(db, start)
        await rows.end_now(start.ref, ago=(number - 35) / 1000)
        extended, settled = await asyncio.gather(
            extend(db, ExtendRequest(start.ref, PAYMENT_STARTED)), settle(db, expire(start.ref))
        )
        moved = await rows.value("SELECT count(*) FROM checkout_extensions WHERE checkout_id = %s", start.checkout_id)
        assert moved == (extended.remaining_ms > 0)
        if moved:
            assert settled.status is CheckoutStatus.HELD
            assert (await settle(db, expire(start.ref))).status is CheckoutStatus.HELD
        else:
            assert (await settle(db, expire(start.ref))).status is CheckoutStatus.EXPIRED
        outcomes.add(moved)
    assert outcomes == {0, 1}
