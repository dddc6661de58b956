"""Taxes and the fiscal number on receipts and in e-mails."""

from __future__ import annotations

from activities.fulfilment.sums import MOST_TAXES, sums_of, total_of
from activities.fulfilment.wording import TEXTS
from domain.tax import TaxSum
from tests.support.fulfilment import a_line, an_order

TEXT = TEXTS["en"]
IVA = TaxSum("IVA 19 %", 1900, included=True, base=1000, tax=190)
SALES = TaxSum("Sales tax", 825, included=False, base=1000, tax=83)


def test_taxes_are_named_by_class_and_one_that_prices_include_says_so() -> None:
    order = an_order(a_line(list_price=2190, unit_price=2190), tax=83, total=2273, taxes=(IVA, SALES))
    assert sums_of(order, TEXT, str) == [("Subtotal", "2190"), ("IVA 19 % (included)", "190"), ("Sales tax", "83")]
    assert total_of(order, TEXT, str) == ("Total", "2273")


def test_many_taxes_are_summed_by_whether_prices_include_them() -> None:
    many = tuple(TaxSum(f"Tax {number}", 100, included=number % 2 == 0, base=100, tax=1) for number in range(7))
    assert len(many) > MOST_TAXES
    assert sums_of(an_order(tax=3, taxes=many), TEXT, str)[1:] == [("Tax", "3"), ("Tax (included)", "4")]


def test_a_hostile_class_is_plain_text() -> None:
    hostile = TaxSum("<b>\u202eIVA</b>\x07", 1900, included=False, base=1, tax=1)
    [_, (label, _)] = sums_of(an_order(tax=1, taxes=(hostile,)), TEXT, str)
    assert "\u202e" not in label
    assert "\x07" not in label
