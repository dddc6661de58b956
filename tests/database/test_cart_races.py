"""Many at once on one cart: what comes out is what some order of the same requests, one after another, gives."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from db.cart_view import CartView
from db.carts import add_units, clear_cart, read_cart, set_quantities
from db.database import Database
from db.reserve import reserve
from db.settle import settle
from domain.cart import CartStatus, NoticeReason
from domain.checkout import CheckoutStatus
from domain.errors import CartProcessing, CartRefused
from domain.ids import ProductId, TenantId
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import BUYER, Rows, a_capture, a_start, cancel, confirm
from tests.support.races import deadlocks

SEED = 20261122
STOCK = 12


@dataclass
class Tried:
    """One request: what it asked, and what it was told."""

    delta: Mapping[ProductId, int]
    view: CartView | None = None
    refused: list[dict[str, Any]] | None = None


@pytest.fixture
async def products(admin: shop.Connection, tenant: TenantId) -> list[ProductId]:
    return [await shop.make_product(admin, tenant, stock=STOCK) for _ in range(4)]


def from_cart(tenant: TenantId) -> StartCheckout:
    return replace(a_start(tenant, {}), from_cart=True)


async def attempt(db: Database, tenant: TenantId, tried: Tried) -> None:
    try:
        tried.view = await set_quantities(db, tenant, BUYER, tried.delta)
    except CartRefused as error:
        tried.refused = error.extra["products"]


async def in_commit_order(rows: Rows, before: dict[int, int]) -> list[dict[int, int]]:
    """The states that the audit log tells of, one after the other; each entry must begin where the last one ended."""
    state, states = dict(before), [dict(before)]
    for row in await rows.all("SELECT before, after FROM audit_log WHERE action = 'cart.changed' ORDER BY id"):
        for product, quantity in row["before"]["lines"].items():
            assert state.get(int(product), 0) == quantity, "an entry does not follow from the one before it"
        state |= {int(product): quantity for product, quantity in row["after"]["lines"].items()}
        state = {product: quantity for product, quantity in state.items() if quantity}
        states.append(dict(state))
    return states


def makes_step(tried: Tried, earlier: Mapping[Any, int], later: Mapping[Any, int]) -> bool:
    """Whether the request, coming upon the one state, makes the other one of it, and was answered with that."""
    after = {product: units for product, units in {**earlier, **tried.delta}.items() if units}
    return after == later and tried.view is not None and tried.view.lines == later


def matched(makes: list[list[int]]) -> dict[int, int]:
    """A request of its own for each step (step by request), as many as can be: augmenting paths (Kuhn 1955)."""
    step_of: dict[int, int] = {}

    def find(step: int, seen: set[int]) -> bool:
        for request in makes[step]:
            if request not in seen:
                seen.add(request)
                if request not in step_of or find(step_of[request], seen):
                    step_of[request] = step
                    return True
        return False

    for step in range(len(makes)):
        find(step, set())
    return step_of


@pytest.mark.parametrize("round_", range(3))
async def test_50_parallel_deltas_end_in_the_state_of_a_serial_order(
    db: Database, rows: Rows, tenant: TenantId, products: list[ProductId], round_: int
) -> None:
    """The audit log, written under the cart's lock, is that order: replaying it by the rules of a delta must give every
    answer that was given and the state that is stored; what was refused is refused in any state (stock is 12)."""
    print(f"seed {SEED + round_}")
    dice = random.Random(SEED + round_)
    tries = [
        Tried({each: dice.randint(0, STOCK + 2) for each in dice.sample(products, dice.randint(1, 3))})
        for _ in range(50)
    ]
    await asyncio.gather(*(attempt(db, tenant, tried) for tried in tries))

    for tried in tries:
        too_many = {each for each, quantity in tried.delta.items() if quantity > STOCK}
        assert (tried.refused is not None) == bool(too_many)
        assert {one["product_id"] for one in tried.refused or []} == too_many
    states = await in_commit_order(rows, {})
    assert states[-1] == (await read_cart(db, tenant, BUYER)).lines
    done = [tried for tried in tries if tried.view]
    makes = [
        [number for number, tried in enumerate(done) if makes_step(tried, earlier, later)]
        for earlier, later in itertools.pairwise(states)
    ]
    doers = matched(makes)
    assert len(doers) == len(makes), "a step that no request of its own was answered with"
    for number, tried in enumerate(done):
        if number not in doers:  # It changed nothing where it came: the state it was answered with was there.
            assert tried.view is not None
            assert tried.view.lines in states
            assert makes_step(tried, tried.view.lines, tried.view.lines)
    await db.close()
    assert await deadlocks(rows) == 0


@pytest.mark.parametrize("round_", range(3))
async def test_no_unit_of_parallel_additions_is_lost(
    db: Database,
    rows: Rows,
    admin: shop.Connection,
    tenant: TenantId,
    products: list[ProductId],
    round_: int,
) -> None:
    await admin.execute("UPDATE stock_items SET total = 1000")
    await asyncio.gather(*(add_units(db, tenant, BUYER, products[number % 2], 1 + number % 3) for number in range(50)))
    expected = {products[place]: sum(1 + number % 3 for number in range(50) if number % 2 == place) for place in (0, 1)}
    assert (await read_cart(db, tenant, BUYER)).lines == expected


async def test_a_start_and_changes_at_once_are_wholly_before_or_refused(
    db: Database, rows: Rows, tenant: TenantId, products: list[ProductId]
) -> None:
    for number in range(8):
        await set_quantities(db, tenant, BUYER, dict.fromkeys(products, 1))
        start = from_cart(tenant)

        async def change() -> bool:
            try:
                await set_quantities(db, tenant, BUYER, dict.fromkeys(products, 2))
            except CartProcessing:
                return False
            return True

        works = [reserve(db, start), change()] if number % 2 else [change(), reserve(db, start)]
        first, second = await asyncio.gather(*works)
        changed = second if number % 2 else first
        held = await rows.all(
            "SELECT product_id, quantity FROM checkout_lines WHERE checkout_id = %s", start.checkout_id
        )
        assert {row["quantity"] for row in held} == {2 if changed else 1}
        assert len(held) == len(products)
        await settle(db, cancel(start.ref))
    await db.close()
    assert await deadlocks(rows) == 0


async def test_a_held_cart_is_shown_at_the_prices_held_and_loses_nothing_by_reading(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, products: list[ProductId]
) -> None:
    coffee, mug, *_ = products
    await set_quantities(db, tenant, BUYER, {coffee: 2, mug: 1})
    start = from_cart(tenant)
    await reserve(db, start)
    await admin.execute("UPDATE products SET price = 9000")
    await admin.execute("UPDATE products SET available = false WHERE id = %s", (mug,))
    view = await read_cart(db, tenant, BUYER)
    assert (view.status, view.checkout_id, view.notices) == (CartStatus.PROCESSING, start.checkout_id, [])
    assert (view.lines, view.totals.total) == ({coffee: 2, mug: 1}, 3000)
    with pytest.raises(CartProcessing) as caught:
        await clear_cart(db, tenant, BUYER)
    assert caught.value.extra["checkout_id"] == start.checkout_id

    await settle(db, cancel(start.ref))
    view = await read_cart(db, tenant, BUYER)
    assert (view.lines, view.totals.total) == ({coffee: 2}, 18_000)
    assert [(each.product_id, each.reason) for each in view.notices] == [(mug, NoticeReason.UNAVAILABLE)]


@pytest.mark.parametrize("use", ["a read", "a change"])
async def test_a_hold_past_its_end_is_settled_by_whoever_uses_the_cart_next(
    db: Database, rows: Rows, tenant: TenantId, products: list[ProductId], use: str
) -> None:
    coffee = products[0]
    await set_quantities(db, tenant, BUYER, {coffee: STOCK})
    start = from_cart(tenant)
    await reserve(db, start)
    await rows.end_now(start.ref)
    if use == "a read":
        view = await read_cart(db, tenant, BUYER)
        assert (view.lines, view.notices) == ({coffee: STOCK}, [])
    else:
        view = await set_quantities(db, tenant, BUYER, {coffee: STOCK - 1})
        assert view.lines == {coffee: STOCK - 1}
    assert (view.status, view.checkout_id) == (CartStatus.AVAILABLE, None)
    assert (await rows.checkout(start.ref))["status"] == CheckoutStatus.EXPIRED
    assert await rows.stock(tenant, coffee) == (STOCK, 0, 0)


async def test_a_sold_cart_is_empty_and_takes_new_lines(
    db: Database, rows: Rows, tenant: TenantId, products: list[ProductId]
) -> None:
    coffee, mug, *_ = products
    await set_quantities(db, tenant, BUYER, {coffee: 2})
    start = from_cart(tenant)
    started = await reserve(db, start)
    await settle(db, confirm(start.ref, a_capture(start.checkout_id, started.total)))
    assert (await read_cart(db, tenant, BUYER)).lines == {}
    assert (await set_quantities(db, tenant, BUYER, {mug: 1})).lines == {mug: 1}
