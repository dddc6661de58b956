"""The rule of taxes, as a pure function: lines add up, to the last unit, whatever they cost."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalogue import MAX_PRICE
from domain.checkout import MAX_QUANTITY
from domain.money import EXPONENTS, Money
from domain.tax import TaxedLine, added_tax, breakdown, day_begins, day_ends, rate_on, tax_on, taxed
from domain.tenant_settings import MAX_RATE, TaxClass

amounts = st.integers(0, MAX_PRICE * MAX_QUANTITY)
rates = st.integers(0, MAX_RATE)
classes = st.builds(
    TaxClass, st.sampled_from(["IVA", "INC", "exempt"]), rates, st.booleans(), st.just(date(2026, 1, 1))
)
lines = st.lists(st.builds(taxed, amounts, st.none() | classes), max_size=20)


@pytest.mark.parametrize(
    ("amount", "rate", "included", "tax"),
    [
        (10_000, 1900, False, 1900),
        (11_900, 1900, True, 1900),
        (1, 5000, False, 1),  # Half a unit, up.
        (1, 4999, False, 0),
        (3, 5000, True, 1),
        (2, 10_000, True, 1),
        (1, 10_000, True, 1),
        (999, 0, True, 0),
        (0, 1900, False, 0),
    ],
)
def test_a_tax_is_rounded_half_up_by_line(amount: int, rate: int, included: bool, tax: int) -> None:
    assert tax_on(amount, rate, included=included) == tax


@given(amounts, rates)
def test_a_tax_on_top_is_the_exact_one_rounded_half_up(amount: int, rate: int) -> None:
    exact = Decimal(amount) * rate / 10_000
    assert tax_on(amount, rate, included=False) == exact.quantize(Decimal(1), ROUND_HALF_UP)


@given(amounts, rates)
def test_an_included_tax_and_the_rest_are_the_price_and_the_rest_taxed_comes_within_a_unit_of_it(
    amount: int, rate: int
) -> None:
    tax = tax_on(amount, rate, included=True)
    net = amount - tax
    assert 0 <= tax <= amount
    assert net >= 0
    assert abs(net + tax_on(net, rate, included=False) - amount) <= 1


@given(lines)
def test_lines_add_up_to_the_total_to_the_last_unit(each: list[TaxedLine]) -> None:
    total = sum(line.amount for line in each) + added_tax(each)
    sums = breakdown(each)
    untaxed = sum(line.amount for line in each if line.tax_class is None)
    assert sum(one.base + one.tax for one in sums) + untaxed == total
    assert sum(one.tax for one in sums) == sum(line.tax for line in each)
    assert all(one.base >= 0 and one.tax >= 0 for one in sums)


@given(lines, st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter(each: list[TaxedLine], dice: object) -> None:
    shuffled = list(each)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert breakdown(shuffled) == breakdown(each)
    assert added_tax(shuffled) == added_tax(each)


@given(st.sampled_from(sorted(EXPONENTS)), amounts, rates, st.booleans())
def test_amounts_are_whole_minor_units_of_any_currency(currency: str, amount: int, rate: int, included: bool) -> None:
    """One rounds to its own minor unit: a yen, a cent, a thousandth of a dinar."""
    tax = tax_on(amount, rate, included=included)
    shown = str(Money(tax, currency)).split(" ", maxsplit=1)[0].replace(",", "")
    assert Decimal(shown).scaleb(EXPONENTS[currency]) == tax


@given(amounts, rates, rates)
def test_a_higher_rate_never_takes_less(amount: int, one: int, other: int) -> None:
    low, high = sorted((one, other))
    for included in (True, False):
        assert tax_on(amount, low, included=included) <= tax_on(amount, high, included=included)


def test_of_a_class_the_newest_rate_that_is_valid_counts() -> None:
    old = TaxClass("IVA", 1600, included=True, valid_from=date(2016, 1, 1))
    new = TaxClass("IVA", 1900, included=True, valid_from=date(2017, 1, 1))
    other = TaxClass("INC", 800, included=False, valid_from=date(2018, 1, 1))
    for order in ([old, new, other], [other, new, old]):
        assert rate_on(order, "IVA", date(2016, 12, 31)) == old
        assert rate_on(order, "IVA", date(2017, 1, 1)) == new
        assert rate_on(order, "IVA", date(2015, 12, 31)) is None
        assert rate_on(order, None, date(2026, 1, 1)) is None


def test_a_day_begins_where_the_tenant_is() -> None:
    assert day_begins(date(2026, 1, 1), "America/Bogota").isoformat() == "2026-01-01T05:00:00+00:00"
    assert day_ends(date(2025, 12, 31), "America/Bogota") == day_begins(date(2026, 1, 1), "America/Bogota")
    assert (day_ends(date(2026, 3, 29), "Europe/Madrid") - day_begins(date(2026, 3, 29), "Europe/Madrid")).seconds == (
        23 * 3600
    )
