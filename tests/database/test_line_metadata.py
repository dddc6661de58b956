"""Metadata of lines: it waits in the database for the statement that holds them, and ends with the order's lines."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from db.checkouts import read_checkout
from db.database import Database
from db.line_metadata import remember_metadata
from db.lines import change_lines
from db.orders import read_order
from db.purge import purge
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import ProductId, TenantId, order_id_for
from domain.messages import CheckoutRef, Line, LinesOutcome, StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, confirm
from tests.support.lines import adding
from tests.support.venues import make_seats, places, start_of

GUEST = {"holder": "guest-7", "big": 1e300, "nested": {"list": [1, None, "ñ"]}}


async def remember(db: Database, start: StartCheckout, metadata: dict[str, Any], fingerprint: str = "") -> None:
    text = json.dumps(metadata, ensure_ascii=False)
    await remember_metadata(db, start.tenant, start.checkout_id, fingerprint or start.fingerprint, text)


async def metadata_of(db: Database, ref: CheckoutRef) -> list[Any]:
    view = await read_checkout(db, ref.tenant, ref.checkout_id, buyer=None)
    assert view is not None
    return [line["metadata"] for line in view.lines]


@pytest.fixture
async def products(admin: shop.Connection, tenant: TenantId) -> list[ProductId]:
    return [await shop.make_product(admin, tenant) for _ in range(3)]


async def test_what_came_with_a_line_of_a_start_is_kept_with_it_and_with_its_order(
    db: Database, tenant: TenantId, products: list[ProductId]
) -> None:
    start = a_start(tenant, dict.fromkeys(products, 1))
    await remember(db, start, {"1": GUEST, "3": {}})
    await reserve(db, start)
    assert await metadata_of(db, start.ref) == [GUEST, None, {}]
    await settle(db, confirm(start.ref, a_capture(start.checkout_id, 3000)))
    order = await read_order(db, tenant, order_id_for(tenant, start.checkout_id), buyer=None)
    assert order is not None
    assert [line["metadata"] for line in order.lines] == [GUEST, None, {}]


async def test_what_came_with_an_added_line_is_kept_with_it(
    db: Database, tenant: TenantId, products: list[ProductId]
) -> None:
    start = a_start(tenant, {products[0]: 1})
    await reserve(db, start)
    await remember(db, start, {"2": GUEST}, fingerprint="another")
    request = adding(start.ref, Line(products[1], 1), Line(products[1], 2), fingerprint="another")
    assert (await change_lines(db, request)).outcome is LinesOutcome.DONE
    assert await metadata_of(db, start.ref) == [None, None, GUEST]


async def test_another_body_with_the_same_key_cannot_put_its_metadata_in(
    db: Database, tenant: TenantId, products: list[ProductId]
) -> None:
    start = a_start(tenant, {products[0]: 1})
    await remember(db, start, {"1": {"theirs": True}}, fingerprint="theirs")
    await remember(db, start, {"1": {"ours": True}})
    await remember(db, start, {"1": {"ours": "too late"}})
    await reserve(db, start)
    assert await metadata_of(db, start.ref) == [{"ours": True}]


@pytest.mark.parametrize("stock", [10, 4])
async def test_lines_of_one_thing_with_different_metadata_stay_apart_and_are_checked_together(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, stock: int
) -> None:
    product = await shop.make_product(admin, tenant, stock=stock)
    start = replace(a_start(tenant, {}), lines=[Line(product, 2), Line(product, 3)])
    await remember(db, start, {"1": {"for": "a"}, "2": {"for": "b"}})
    started = await reserve(db, start)
    if stock < 5:
        assert started.status is CheckoutStatus.REFUSED
        [short] = (await rows.checkout(start.ref))["refusal"]["shortages"]
        assert (short["requested"], short["available"]) == (5, 4)
    else:
        assert await metadata_of(db, start.ref) == [{"for": "a"}, {"for": "b"}]
        assert await rows.stock(tenant, product) == (stock - 5, 5, 0)


@pytest.mark.parametrize("added", [False, True])
async def test_each_of_the_seats_that_were_picked_for_a_line_has_the_lines_metadata(
    db: Database, admin: shop.Connection, tenant: TenantId, products: list[ProductId], added: bool
) -> None:
    zone, _ = await make_seats(admin, tenant, rows=1, per_row=8)
    lines = (places(zone, 2), Line(products[0], 1), places(zone, 3))
    said = {"1": {"for": "a"}, "2": {"for": "b"}, "3": {"for": "c"}}
    start = a_start(tenant, {products[1]: 1}) if added else start_of(tenant, *lines)
    await remember(db, start, said, "" if not added else "added")
    assert (await reserve(db, start)).status is CheckoutStatus.HELD or added
    if added:
        await change_lines(db, adding(start.ref, *lines, fingerprint="added"))
    found = [metadata["for"] for metadata in await metadata_of(db, start.ref) if metadata]
    assert found == ["a", "a", "b", "c", "c", "c"]


async def test_what_nobody_will_ask_for_any_more_is_purged_after_a_day(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId, products: list[ProductId], database_url: str
) -> None:
    never, held = a_start(tenant, {products[0]: 1}), a_start(tenant, {products[0]: 1})
    await reserve(db, held)
    for start in (never, held):
        await remember(db, start, {"1": GUEST})
    assert (await purge(database_url)).line_metadata == 0
    await admin.execute("UPDATE line_metadata SET stored_at = stored_at - interval '25 hours'")
    await remember(db, never, {"1": GUEST}, fingerprint="of today")
    assert (await purge(database_url)).line_metadata == 1
    left = await rows.all("SELECT checkout_id::text AS id, fingerprint FROM line_metadata ORDER BY fingerprint")
    assert [(row["id"], row["fingerprint"]) for row in left] == [
        (held.checkout_id, held.fingerprint),
        (never.checkout_id, "of today"),
    ]
