"""The rules of a cart, without a database: reading, totals, deltas, merges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cart import (
    Judged,
    NoticeReason,
    ProductNow,
    Refusal,
    Totals,
    added,
    changed,
    fault_of,
    judge,
    merged,
    totals,
)
from domain.checkout import MAX_LINES, MAX_QUANTITY
from domain.errors import AlreadyInCart, CartRefused
from domain.ids import ProductId

COFFEE, TEA, MUG = ProductId(1), ProductId(2), ProductId(3)
FEW = settings(deadline=None, derandomize=True)

IDS = st.integers(1, 8).map(ProductId)
LINES = st.dictionaries(IDS, st.integers(1, 12), max_size=8)
DELTAS = st.dictionaries(IDS, st.integers(0, 12), min_size=1, max_size=4)
HELD = st.dictionaries(IDS, st.integers(1, 12), max_size=4)


@st.composite
def catalogues(draw: st.DrawFn) -> dict[ProductId, ProductNow]:
    """Products of every kind: some missing, off sale, without a price, sold out, on offer, once per cart."""
    return {
        product_id: ProductNow(
            id=product_id,
            name=f"product {product_id}",
            price=(price := draw(st.sampled_from([0, 1, 500, 10**12]))),
            offer_price=draw(st.sampled_from([None, price // 2])) or None,
            available=draw(st.sampled_from([True, True, False])),
            one_per_cart=draw(st.sampled_from([False, False, True])),
            free=draw(st.integers(0, 12)),
        )
        for product_id in draw(st.sets(IDS))
    }


def make_product(product_id: ProductId, **but: Any) -> ProductNow:
    plain = {"name": "Coffee", "price": 1000, "offer_price": None, "available": True, "one_per_cart": False, "free": 10}
    return ProductNow(id=product_id, **{**plain, **but})


def shop(*products: ProductNow) -> dict[ProductId, ProductNow]:
    return {product.id: product for product in products}


def refusal(lines: dict[ProductId, int], delta: dict[ProductId, int], products: dict[ProductId, ProductNow]) -> Any:
    with pytest.raises(CartRefused) as caught:
        changed(lines, delta, products)
    return caught.value


def test_the_specs_example_costs_6000_less_500() -> None:
    products = shop(
        make_product(COFFEE, price=1000),
        make_product(TEA, price=2000, offer_price=1500),
        make_product(MUG, price=3000),
    )
    assert totals({COFFEE: 1, TEA: 1, MUG: 1}, products) == Totals(subtotal=6000, discount=500, total=5500)


@FEW
@given(LINES, catalogues())
def test_totals_add_up_and_no_offer_makes_anything_dearer(
    lines: dict[ProductId, int], products: dict[ProductId, ProductNow]
) -> None:
    kept = judge(lines, products).lines
    sums = totals(kept, products)
    assert sums.total == sums.subtotal - sums.discount
    assert 0 <= sums.discount <= sums.subtotal
    assert sums.subtotal == sum(products[each].price * quantity for each, quantity in kept.items())
    assert sums.total > 0 or not kept


@pytest.mark.parametrize(
    ("product", "quantity", "reason", "after"),
    [
        (None, 1, NoticeReason.GONE, 0),
        (make_product(COFFEE, available=False), 1, NoticeReason.UNAVAILABLE, 0),
        (make_product(COFFEE, price=0), 1, NoticeReason.NO_PRICE, 0),
        (make_product(COFFEE, free=0), 1, NoticeReason.SOLD_OUT, 0),
        (make_product(COFFEE, free=2), 5, NoticeReason.REDUCED, 2),
        (make_product(COFFEE, one_per_cart=True), 5, NoticeReason.REDUCED, 1),
    ],
)
def test_a_read_removes_or_lowers_what_cannot_be_bought_and_says_why(
    product: ProductNow | None, quantity: int, reason: NoticeReason, after: int
) -> None:
    judged = judge({COFFEE: quantity, TEA: 1}, shop(make_product(TEA), *([product] if product else [])))
    assert judged.lines == {**({COFFEE: after} if after else {}), TEA: 1}
    [notice] = judged.notices
    assert (notice.product_id, notice.reason, notice.before, notice.after) == (COFFEE, reason, quantity, after)
    assert notice.name == ("Coffee" if product else None)


@FEW
@given(LINES, catalogues())
def test_what_a_read_keeps_can_be_bought_and_every_loss_has_its_notice(
    lines: dict[ProductId, int], products: dict[ProductId, ProductNow]
) -> None:
    judged = judge(lines, products)
    for product_id, quantity in judged.lines.items():
        product = products[product_id]
        assert not fault_of(product)
        assert 1 <= quantity <= product.free
        assert quantity == 1 or not product.one_per_cart
    assert judge(judged.lines, products) == Judged(judged.lines, [])
    assert_every_loss_is_told(lines, judged)


@FEW
@given(LINES, DELTAS, catalogues())
def test_a_delta_changes_all_it_names_and_nothing_else_or_says_which_product_failed(
    lines: dict[ProductId, int], delta: dict[ProductId, int], products: dict[ProductId, ProductNow]
) -> None:
    raised = {each for each, quantity in delta.items() if quantity > lines.get(each, 0)}
    bad = {each for each in raised if judge({each: delta[each]}, products).notices}
    if bad:
        error = refusal(lines, delta, products)
        assert {each["product_id"] for each in error.extra["products"]} == bad
    else:
        expected = {each: quantity for each, quantity in {**lines, **delta}.items() if quantity}
        assert changed(lines, delta, products) == expected


@pytest.mark.parametrize(
    ("product", "quantity", "reason", "available"),
    [
        (None, 1, Refusal.GONE, 0),
        (make_product(COFFEE, available=False), 1, Refusal.UNAVAILABLE, 0),
        (make_product(COFFEE, price=0), 1, Refusal.NO_PRICE, 0),
        (make_product(COFFEE, free=0), 1, Refusal.SOLD_OUT, 0),
        (make_product(COFFEE, free=4), 5, Refusal.INSUFFICIENT_STOCK, 4),
        (make_product(COFFEE, one_per_cart=True), 2, Refusal.ONE_PER_CART, 1),
        (make_product(COFFEE, free=20_000), MAX_QUANTITY + 1, Refusal.TOO_MANY, MAX_QUANTITY),
    ],
)
def test_a_line_that_cannot_be_raised_is_refused_with_its_reason(
    product: ProductNow | None, quantity: int, reason: Refusal, available: int
) -> None:
    error = refusal({}, {COFFEE: quantity, TEA: 1}, shop(make_product(TEA), *([product] if product else [])))
    assert error.code == "cart_refused"
    assert error.extra["products"] == [
        {"product_id": COFFEE, "reason": reason, "requested": quantity, "available": available}
    ]


def test_lowering_and_removing_are_allowed_whatever_became_of_the_product() -> None:
    off_sale = make_product(TEA, available=False, price=0, free=0)
    assert changed({COFFEE: 3, TEA: 3, MUG: 3}, {COFFEE: 0, TEA: 2}, shop(off_sale)) == {TEA: 2, MUG: 3}


def test_adding_goes_on_top_of_what_is_there() -> None:
    products = shop(make_product(COFFEE, free=5))
    assert changed({COFFEE: 3}, added({COFFEE: 3}, COFFEE, 2), products) == {COFFEE: 5}
    assert refusal({COFFEE: 3}, added({COFFEE: 3}, COFFEE, 3), products).extra["products"][0]["requested"] == 6


def test_a_product_sold_once_per_cart_is_not_added_again() -> None:
    products = shop(make_product(COFFEE, one_per_cart=True))
    assert changed({}, added({}, COFFEE, 1), products) == {COFFEE: 1}
    error = refusal({COFFEE: 1}, added({COFFEE: 1}, COFFEE, 1), products)
    assert isinstance(error, AlreadyInCart)
    assert error.extra["products"][0]["reason"] == Refusal.ALREADY_IN_CART


def test_a_cart_takes_100_lines_and_names_those_past_them() -> None:
    products = shop(*(make_product(ProductId(number)) for number in range(1, 104)))
    full = {ProductId(number): 1 for number in range(1, MAX_LINES)}
    assert len(changed(full, {ProductId(100): 1}, products)) == MAX_LINES
    error = refusal(full, {ProductId(100): 1, ProductId(101): 2, ProductId(5): 3}, products)
    assert [(each["product_id"], each["reason"]) for each in error.extra["products"]] == [(101, Refusal.TOO_MANY_LINES)]


def test_lines_that_the_read_removes_anyway_leave_room_for_new_ones() -> None:
    products = shop(*(make_product(ProductId(number)) for number in range(2, 102)))
    full = {ProductId(number): 1 for number in range(1, MAX_LINES + 1)}
    after = judge(changed(full, {ProductId(101): 1}, products), products)
    assert len(after.lines) == MAX_LINES
    assert [notice.product_id for notice in after.notices] == [1]


@FEW
@given(LINES, LINES, catalogues(), HELD)
def test_a_merge_gives_the_same_quantities_whoever_comes_first(
    own: dict[ProductId, int],
    other: dict[ProductId, int],
    products: dict[ProductId, ProductNow],
    held: dict[ProductId, int],
) -> None:
    assert merged(own, other, products, held) == merged(other, own, products, held)


@FEW
@given(LINES, LINES, catalogues(), HELD)
def test_a_merge_never_passes_a_cap_and_never_loses_a_unit_without_a_notice(
    own: dict[ProductId, int],
    other: dict[ProductId, int],
    products: dict[ProductId, ProductNow],
    held: dict[ProductId, int],
) -> None:
    both = merged(own, other, products, held)
    for product_id, quantity in both.lines.items():
        product, asked = products.get(product_id), own.get(product_id, 0) + other.get(product_id, 0)
        free = 0 if product is None or fault_of(product) else product.free
        assert 1 <= quantity <= min(asked, free + held.get(product_id, 0), MAX_QUANTITY)
        assert quantity == 1 or product is None or not product.one_per_cart
        assert quantity == min(asked, free + held.get(product_id, 0)) or (product and product.one_per_cart)
    summed = {each: own.get(each, 0) + other.get(each, 0) for each in {*own, *other}}
    assert_every_loss_is_told(summed, both)


def test_a_merge_keeps_100_lines_held_ones_first_and_10000_units() -> None:
    products = shop(*(make_product(ProductId(number), free=50_000) for number in range(1, 151)))
    own = {ProductId(number): 9_000 for number in range(1, 101)}
    other = {ProductId(number): 9_000 for number in range(51, 151)}
    both = merged(own, other, products, {ProductId(150): 1})
    assert set(both.lines) == {*range(1, 100), 150}
    assert both.lines[ProductId(60)] == MAX_QUANTITY
    dropped = [notice for notice in both.notices if not notice.after]
    assert {(notice.product_id, notice.reason) for notice in dropped} == {
        (number, NoticeReason.REDUCED) for number in range(100, 150)
    }


def test_units_that_the_carts_own_hold_holds_survive_a_merge_of_a_sold_out_product() -> None:
    both = merged({COFFEE: 2}, {COFFEE: 1}, shop(make_product(COFFEE, free=0)), {COFFEE: 2})
    assert both.lines == {COFFEE: 2}
    assert [(notice.reason, notice.before, notice.after) for notice in both.notices] == [(NoticeReason.REDUCED, 3, 2)]


def assert_every_loss_is_told(before: dict[ProductId, int], after: Judged) -> None:
    """Notices name exactly the lines that are less than they were, each once, with both quantities."""
    lost = {each: (units, after.lines.get(each, 0)) for each, units in before.items() if after.lines.get(each) != units}
    assert {notice.product_id: (notice.before, notice.after) for notice in after.notices} == lost
    assert len(after.notices) == len(lost)
    assert all(notice.after < notice.before for notice in after.notices)
    assert set(after.lines) <= set(before)
