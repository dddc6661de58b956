"""Taxes on real PostgreSQL: fixed when a line is locked, by the rule of domain/tax.py, and kept to the order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.carts import read_cart
from db.catalogue_admin import NewProduct, ProductChanges, change_product, create_product
from db.checkouts import read_checkout
from db.database import Database
from db.event_admin import NewEvent, create_event
from db.lines import change_lines
from db.orders import read_order
from db.reserve import reserve
from db.settle import settle
from db.start_look import look_before_start
from db.tax_sql import tax_on as tax_on_sql
from db.tenant_settings import change_settings
from db.zone_admin import NewZone, create_zone
from domain.cart import totals
from domain.catalogue import MAX_PRICE
from domain.checkout import MAX_QUANTITY, CheckoutStatus
from domain.errors import Invalid
from domain.ids import BuyerKey, ProductId, TenantId, order_id_for
from domain.messages import Line, LinesOutcome
from domain.tax import tax_on, taxed
from domain.tenant_settings import MAX_RATE, TaxClass
from tests.support import shop
from tests.support.catalogue import ADMIN
from tests.support.checkouts import Rows, a_capture, a_start, confirm, expire
from tests.support.lines import adding, line_ids, removing

IVA = {"name": "IVA", "rate_basis_points": 1900, "included": True, "valid_from": "2020-01-01"}
SALES = {"name": "sales", "rate_basis_points": 825, "included": False, "valid_from": "2020-01-01"}
LINES = "SELECT tax_class, tax_rate_basis_points AS rate, tax_included AS included, tax FROM {} WHERE tenant_id = %s"


async def rate(db: Database, tenant: TenantId, *classes: dict[str, Any]) -> None:
    await change_settings(db, tenant, ADMIN, {"tax_classes": list(classes)})


async def a_product(db: Database, tenant: TenantId, tax_class: str | None, price: int = 1999, **more: Any) -> ProductId:
    new = NewProduct("Coffee", price, stock_total=1000, tax_class=tax_class, **more)
    return (await create_product(db, tenant, ADMIN, new)).id


cases = st.lists(
    st.tuples(st.integers(0, MAX_PRICE * MAX_QUANTITY), st.integers(0, MAX_RATE), st.booleans()),
    min_size=1,
    max_size=50,
)


def test_sql_and_the_pure_function_agree_whatever_a_line_costs(database_url: str) -> None:
    expression = tax_on_sql("amount", "rate", "included")
    sql = f"SELECT {expression} FROM unnest(%s::bigint[], %s::integer[], %s::boolean[]) AS c (amount, rate, included)"
    with psycopg.connect(database_url, autocommit=True) as connection:

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(cases)
        def agree(given_cases: list[tuple[int, int, bool]]) -> None:
            found = connection.execute(sql, [list(column) for column in zip(*given_cases, strict=True)]).fetchall()
            assert [tax for (tax,) in found] == [
                tax_on(amount, rate, included=inc) for amount, rate, inc in given_cases
            ]

        agree()


async def test_a_hold_fixes_the_tax_of_each_line_and_adds_what_prices_do_not_include(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    await rate(db, tenant, IVA, SALES)
    with_it, on_top, without = [await a_product(db, tenant, each) for each in ("IVA", "sales", None)]
    start = a_start(tenant, {with_it: 3, on_top: 2, without: 1})
    started = await reserve(db, start)
    tax_in, tax_on_top = tax_on(5997, 1900, included=True), tax_on(3998, 825, included=False)
    assert (tax_in, tax_on_top) == (958, 330)
    assert started.total == 6 * 1999 + tax_on_top
    row = await rows.checkout(start.ref)
    assert (row["subtotal"], row["discount"], row["tax"], row["total"]) == (11994, 0, 330, 12324)
    lines = [tuple(line.values()) for line in await rows.all(LINES.format("checkout_lines") + " ORDER BY id", tenant)]
    assert lines == [("IVA", 1900, True, tax_in), ("sales", 825, False, tax_on_top), (None, 0, False, 0)]


async def test_the_tax_is_on_what_a_line_costs_after_offers(db: Database, rows: Rows, tenant: TenantId) -> None:
    await rate(db, tenant, SALES)
    product = await a_product(db, tenant, "sales", price=2000, offer_price=1500)
    start = a_start(tenant, {product: 2})
    await reserve(db, start)
    row = await rows.checkout(start.ref)
    assert (row["subtotal"], row["discount"], row["tax"], row["total"]) == (4000, 1000, 248, 3248)


async def test_what_is_expected_is_the_total_with_tax(db: Database, tenant: TenantId) -> None:
    await rate(db, tenant, SALES)
    product = await a_product(db, tenant, "sales", price=1000)
    assert (await reserve(db, a_start(tenant, {product: 1}, expected_total=1083))).status is CheckoutStatus.HELD
    refused = await reserve(db, a_start(tenant, {product: 1}, expected_total=1000))
    assert (refused.status, refused.total) == (CheckoutStatus.REFUSED, 1083)
    look = await look_before_start(db, tenant, a_start(tenant, {}).checkout_id, BuyerKey("user:u"), [Line(product, 1)])
    assert look is not None
    assert look.total == 1083


async def test_a_rate_that_changes_is_for_what_is_locked_after_it_and_a_late_payment_pays_the_old_one(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    await rate(db, tenant, SALES)
    product = await a_product(db, tenant, "sales", price=1000)
    before = a_start(tenant, {product: 1}, buyer=BuyerKey("user:before"))
    await reserve(db, before)
    await rate(db, tenant, {**SALES, "rate_basis_points": 2000})
    after = a_start(tenant, {product: 1}, buyer=BuyerKey("user:after"))
    assert (await reserve(db, after)).total == 1200
    await change_lines(db, adding(before.ref, Line(product, 1)))
    assert (await rows.checkout(before.ref))["total"] == 1083 + 1200
    await rows.end_now(before.ref)
    await settle(db, expire(before.ref))
    settled = await settle(db, confirm(before.ref, a_capture(before.checkout_id, 2283)))
    assert settled.status is CheckoutStatus.CONFIRMED
    order = await read_order(db, tenant, order_id_for(tenant, before.checkout_id), buyer=None)
    assert order is not None
    assert [(line["tax"], line["tax_rate_basis_points"]) for line in order.lines] == [(83, 825), (200, 2000)]
    assert (order.row["tax"], order.row["total"]) == (283, 2283)


async def test_lines_that_come_and_go_take_their_tax_with_them(db: Database, rows: Rows, tenant: TenantId) -> None:
    await rate(db, tenant, IVA, SALES)
    with_it, on_top = [await a_product(db, tenant, each, price=999) for each in ("IVA", "sales")]
    start = a_start(tenant, {with_it: 1})
    await reserve(db, start)
    changed = await change_lines(db, adding(start.ref, Line(on_top, 3), Line(with_it, 1)))
    assert changed.outcome is LinesOutcome.DONE
    assert (await rows.checkout(start.ref))["tax"] == tax_on(2997, 825, included=False)
    _, second, _ = await line_ids(rows, start.ref)
    await change_lines(db, removing(start.ref, second))
    row = await rows.checkout(start.ref)
    assert (row["subtotal"], row["tax"], row["total"]) == (1998, 0, 1998)


async def test_a_rate_counts_from_the_first_instant_of_its_day_where_the_tenant_is(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId
) -> None:
    await rate(db, tenant, SALES, {**SALES, "rate_basis_points": 1000, "valid_from": "2999-01-01"})
    product = await a_product(db, tenant, "sales", price=1000)
    assert (await reserve(db, a_start(tenant, {product: 1}))).total == 1083
    await change_settings(db, tenant, ADMIN, {"time_zone": "America/Bogota"})
    starts = await rows.all("SELECT starts_at FROM tax_rates ORDER BY starts_at")
    assert [row["starts_at"].hour for row in starts] == [5, 5], "they follow the time zone"
    await admin.execute("UPDATE tax_rates SET starts_at = clock_timestamp() WHERE rate_basis_points = 1000")
    assert (await reserve(db, a_start(tenant, {product: 1}))).total == 1100
    await rate(db, tenant, {**SALES, "valid_from": "2999-01-01"})
    assert (await reserve(db, a_start(tenant, {product: 1}))).total == 1000, "not valid yet: no tax"


async def test_tickets_have_the_tax_of_their_zone(db: Database, rows: Rows, tenant: TenantId) -> None:
    await rate(db, tenant, SALES)
    event = (await create_event(db, tenant, ADMIN, NewEvent("Concert"))).id
    zone = await create_zone(db, tenant, ADMIN, event, NewZone("Lawn", 1000, tax_class="sales", capacity=9))
    start = replace(a_start(tenant, {}), lines=[Line(None, 2, zone_id=zone.id)])
    assert (await reserve(db, start)).total == 2165
    with pytest.raises(Invalid, match="no such tax class"):
        await create_zone(db, tenant, ADMIN, event, NewZone("Hall", 1000, tax_class="IVA", capacity=9))


async def test_a_cart_shows_the_tax_that_its_checkout_will_have_and_then_the_one_it_has(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    await rate(db, tenant, IVA, SALES)
    with_it, on_top = [await a_product(db, tenant, each, price=999) for each in ("IVA", "sales")]
    buyer = BuyerKey("user:cart")
    await shop.make_cart(admin, tenant, buyer, {with_it: 2, on_top: 3})
    cart = await read_cart(db, tenant, buyer)
    wanted = (4995, 0, 247, 5242)
    shown = cart.totals
    assert (shown.subtotal, shown.discount, shown.tax, shown.total) == wanted
    start = replace(a_start(tenant, {}, buyer=buyer), from_cart=True)
    assert (await reserve(db, start)).total == 5242
    await rate(db, tenant, IVA, {**SALES, "rate_basis_points": 5000})
    held = await read_cart(db, tenant, buyer)
    assert (held.totals.tax, held.totals.total) == (247, 5242)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_cart_hold_and_pure_rule_have_one_total(data: st.DataObject) -> None:
    """The cart's total is the sum over lines by the rule that the reserve follows."""
    from domain.cart import ProductNow

    lines, products, expected = {}, {}, 0
    for number in range(1, data.draw(st.integers(1, 10)) + 1):
        price, quantity = data.draw(st.integers(1, MAX_PRICE)), data.draw(st.integers(1, MAX_QUANTITY))
        one = TaxClass("x", data.draw(st.integers(0, MAX_RATE)), data.draw(st.booleans()), date(2026, 1, 1))
        product = ProductId(number)
        lines[product] = quantity
        products[product] = ProductNow(
            product, "x", price, None, True, False, MAX_QUANTITY, one.rate_basis_points, one.included
        )
        line = taxed(price * quantity, one)
        expected += line.amount + (0 if line.included else line.tax)
    assert totals(lines, products).total == expected


async def test_products_have_only_classes_that_there_are_and_those_stay(db: Database, tenant: TenantId) -> None:
    with pytest.raises(Invalid, match="no such tax class"):
        await a_product(db, tenant, "IVA")
    await rate(db, tenant, IVA)
    product = await a_product(db, tenant, "IVA")
    with pytest.raises(Invalid, match="no such tax class"):
        await change_product(db, tenant, ADMIN, product, {"tax_class": "sales"})
    with pytest.raises(Invalid, match="left out"):
        await rate(db, tenant, SALES)
    none: ProductChanges = {"tax_class": None}
    assert (await change_product(db, tenant, ADMIN, product, none)).tax_class is None
    await rate(db, tenant, SALES)


async def test_the_views_show_each_lines_tax(db: Database, tenant: TenantId) -> None:
    await rate(db, tenant, IVA)
    product = await a_product(db, tenant, "IVA", price=1190)
    start = a_start(tenant, {product: 1})
    await reserve(db, start)
    view = await read_checkout(db, tenant, start.checkout_id, buyer=None)
    assert view is not None
    [line] = view.lines
    assert (line["tax_class"], line["tax_rate_basis_points"], line["tax_included"], line["tax"]) == (
        "IVA",
        1900,
        True,
        190,
    )
