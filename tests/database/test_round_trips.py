"""How often the hot paths wait for the database, read off the wire; and that it does not grow with the lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from db.database import Database
from db.extend import extend
from db.fiscal import add_range
from db.inbox import record_event
from db.lines import change_lines
from db.lines_look import look_before_change
from db.reserve import reserve
from db.settle import settle
from db.start_look import look_before_start
from db.started import read_started
from domain.checkout import CheckoutStatus
from domain.ids import BuyerKey, ProductId, TenantId
from domain.messages import ExtendRequest, Line
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, an_event, cancel, confirm, expire, opened
from tests.support.fiscal import BOSS, SERIES, a_range, use_series
from tests.support.lines import adding, line_ids, removing
from tests.support.proxy import Wire, wire_to


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    async with wire_to(database_url) as wire:
        yield wire


@pytest.fixture
async def db(wire: Wire) -> AsyncIterator[Database]:
    """A pool of one connection through the proxy."""
    async with opened(wire.url, size=1) as db:
        yield db


@pytest.fixture
async def products(admin: shop.Connection, tenant: TenantId) -> list[ProductId]:
    return [await shop.make_product(admin, tenant, stock=1000) for _ in range(50)]


async def counts(db: Database, wire: Wire, tenant: TenantId, products: list[ProductId]) -> dict[str, tuple[int, int]]:
    """(round trips, statements) of each step of a checkout with a line for each product; the connection is warm."""
    found = {}

    def counted(step: str) -> None:
        found[step] = (wire.round_trips, wire.statements)
        wire.forget()

    for _ in range(3):  # The first times prepare the statements.
        wire.forget()
        paid, given_up = (a_start(tenant, dict.fromkeys(products, 1)) for _ in range(2))
        started = await reserve(db, paid)
        assert started.status is CheckoutStatus.HELD
        counted("reserve")
        await reserve(db, paid)
        counted("reserve again")
        await extend(db, ExtendRequest(paid.ref, "once"))
        counted("extend")
        await settle(db, expire(paid.ref))
        counted("not yet over")
        await settle(db, confirm(paid.ref, a_capture(paid.checkout_id, started.total)))
        counted("confirm")
        await settle(db, confirm(paid.ref, a_capture(paid.checkout_id, started.total)))
        counted("second payment")
        await reserve(db, given_up)
        wire.forget()
        await settle(db, cancel(given_up.ref))
        counted("cancel")
        refused = a_start(tenant, dict.fromkeys(products, 1001))
        assert (await reserve(db, refused)).status is not CheckoutStatus.HELD
        wire.forget()
    return found


async def test_a_reserve_is_one_round_trip_and_settle_and_extend_two_however_many_lines(
    db: Database, wire: Wire, tenant: TenantId, products: list[ProductId]
) -> None:
    one = await counts(db, wire, tenant, products[:1])
    assert {step: trips for step, (trips, _) in one.items()} == {
        "reserve": 1,
        "reserve again": 1,
        "extend": 2,
        "not yet over": 2,
        "confirm": 2,
        "second payment": 2,
        "cancel": 2,
    }
    assert one["reserve"] == (1, 5)
    assert one["confirm"][1] <= 10
    assert await counts(db, wire, tenant, products[:10]) == one
    assert await counts(db, wire, tenant, products) == one


async def test_a_fiscal_number_costs_a_confirm_no_round_trip_and_no_statement_also_when_it_waits(
    db: Database, wire: Wire, tenant: TenantId, products: list[ProductId]
) -> None:
    without = await counts(db, wire, tenant, products[:1])
    await use_series(db, tenant, a_range(1, 2))
    assert await counts(db, wire, tenant, products[:1]) == without, "from a range, and then from none"
    await add_range(db, tenant, BOSS, SERIES, a_range(3, 999))
    assert await counts(db, wire, tenant, products) == without


async def counts_of_changes(
    db: Database, wire: Wire, rows: Rows, tenant: TenantId, products: list[ProductId]
) -> dict[str, tuple[int, int]]:
    """(round trips, statements) of changes by a line for each product; the connection is warm."""
    found = {}
    for _ in range(3):
        start = a_start(tenant, dict.fromkeys(products, 1))
        await reserve(db, start)
        added = adding(start.ref, *(Line(product, 1) for product in products))
        [line, *_] = await line_ids(rows, start.ref)
        short = adding(start.ref, *(Line(product, 1001) for product in products))
        for step, request in (
            ("add", added),
            ("add again", added),
            ("take out", removing(start.ref, line)),
            ("refuse", short),
        ):
            wire.forget()
            await change_lines(db, request)
            found[step] = (wire.round_trips, wire.statements)
        wire.forget()
        await look_before_change(db, start.ref, "another", added.add, buyer=start.buyer)
        found["look"] = (wire.round_trips, wire.statements)
        await settle(db, cancel(start.ref))
    return found


async def test_a_change_of_lines_is_two_round_trips_however_many_lines(
    db: Database, wire: Wire, rows: Rows, tenant: TenantId, products: list[ProductId]
) -> None:
    one = await counts_of_changes(db, wire, rows, tenant, products[:1])
    trips = {step: trips for step, (trips, _) in one.items()}
    assert trips == {"add": 2, "add again": 2, "take out": 2, "look": 1, "refuse": 7}
    assert await counts_of_changes(db, wire, rows, tenant, products[:30]) == one


async def test_a_start_is_answered_in_one_round_trip_with_the_events_that_came_before_it(
    db: Database, wire: Wire, tenant: TenantId, products: list[ProductId]
) -> None:
    start = a_start(tenant, {products[0]: 1})
    for _ in range(3):
        await record_event(db, tenant, an_event(a_capture(start.checkout_id, 1000)), b"")
    await reserve(db, start)
    for _ in range(3):  # The first times prepare the statements.
        wire.forget()
        view, early = await read_started(db, tenant, start.checkout_id, buyer=start.buyer)
        assert view is not None
        assert len(early) == 3
    assert wire.round_trips == 1


async def counts_from_cart(
    db: Database, admin: shop.Connection, wire: Wire, tenant: TenantId, products: list[ProductId]
) -> dict[str, tuple[int, int]]:
    """(round trips, statements) of a checkout from a cart with a line for each product; the connection is warm."""
    found = {}
    for number in range(3):
        buyer = BuyerKey(f"user:{len(products)}-{number}")
        await shop.make_cart(admin, tenant, buyer, dict.fromkeys(products, 1))
        start = replace(a_start(tenant, {}, buyer=buyer), from_cart=True)
        wire.forget()
        look = await look_before_start(db, tenant, start.checkout_id, buyer, None)
        assert look is not None
        assert len(look.lines) == len(products)
        found["look"] = (wire.round_trips, wire.statements)
        wire.forget()
        started = await reserve(db, start)
        assert started.status is CheckoutStatus.HELD
        found["reserve"] = (wire.round_trips, wire.statements)
        wire.forget()
        await settle(db, confirm(start.ref, a_capture(start.checkout_id, started.total)))
        found["confirm"] = (wire.round_trips, wire.statements)
    return found


async def test_a_checkout_from_the_cart_waits_for_the_database_no_more_often_however_many_lines(
    db: Database, admin: shop.Connection, wire: Wire, tenant: TenantId, products: list[ProductId]
) -> None:
    one = await counts_from_cart(db, admin, wire, tenant, products[:1])
    assert {step: trips for step, (trips, _) in one.items()} == {"look": 1, "reserve": 1, "confirm": 2}
    assert await counts_from_cart(db, admin, wire, tenant, products) == one


async def test_hot_statements_are_prepared_once(
    db: Database, wire: Wire, tenant: TenantId, products: list[ProductId]
) -> None:
    await counts(db, wire, tenant, products[:3])
    wire.forget()
    start = a_start(tenant, {products[0]: 1})
    await reserve(db, start)
    await settle(db, cancel(start.ref))
    assert wire.statements > 5
    assert wire.prepared == 0
