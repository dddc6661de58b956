"""A tenant's settings: defaults, and each rule with its field and fix."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from domain.checkout import MAX_LINES
from domain.errors import CurrencyInUse, Invalid
from domain.tenant_settings import (
    FIELDS,
    MAX_RATE,
    MAX_TAX_CLASSES,
    RANGES,
    LatePayments,
    TaxClass,
    TenantSettings,
    changed,
    checked,
    difference,
    from_stored,
    require_tenant_id,
    stored,
)

SHOP = TenantSettings("Shop", "COP")
IVA = {"name": "IVA 19 %", "rate_basis_points": 1900, "included": True, "valid_from": "2026-01-01"}


def faults(changes: dict[str, Any], before: TenantSettings = SHOP) -> list[str]:
    """The fields that a change is refused for; each must say how to put it right."""
    with pytest.raises(Invalid) as refused:
        changed(before, changes, has_checkouts=False)
    errors = refused.value.extra["errors"]
    assert all(one["message"] and one["fix"] for one in errors)
    return [one["field"] for one in errors]


def test_the_defaults_are_those_of_the_specification() -> None:
    assert checked(SHOP) == SHOP
    assert (SHOP.hold_seconds, SHOP.extension_seconds, SHOP.maximum_seconds) == (900, 900, 3600)
    assert (SHOP.warning_seconds, SHOP.auto_extend) == (120, True)
    assert (SHOP.max_lines, SHOP.max_held_lines, SHOP.cooldown_seconds) == (MAX_LINES, 50, 0)
    assert (SHOP.max_checkouts_per_owner, SHOP.max_checkouts_per_address) == (None, None)
    assert (SHOP.late_payments, SHOP.tax_classes, SHOP.whatsapp_number, SHOP.disabled) == ("reserve", (), None, False)


def test_what_is_stored_is_read_back_the_same() -> None:
    tax = TaxClass("IVA", 1900, False, date(2026, 2, 28))
    full = TenantSettings(
        "Shop",
        "USD",
        1,
        2,
        3,
        4,
        False,
        5,
        6,
        7,
        8,
        9,
        LatePayments.REFUND,
        10,
        (tax,),
        "A",
        "+573001234567",
        "en",
        "America/Bogota",
        "#000000",
        "L",
        True,
    )
    assert from_stored(stored(full)) == full
    assert set(stored(full)) == set(FIELDS)
    assert stored(full)["tax_classes"] == [
        {"name": "IVA", "rate_basis_points": 1900, "included": False, "valid_from": "2026-02-28"}
    ]


@pytest.mark.parametrize("name", sorted(RANGES))
def test_a_number_is_good_at_its_limits_and_not_beyond(name: str) -> None:
    least, most = RANGES[name]
    room = {"maximum_seconds": RANGES["maximum_seconds"][1]} if name == "hold_seconds" else {"hold_seconds": 1}
    for good in (least, most):
        assert getattr(changed(SHOP, {**room, name: good}, has_checkouts=True), name) == good
    for bad in (least - 1, most + 1):
        assert name in faults({**room, name: bad})


def test_every_number_among_the_settings_has_a_range() -> None:
    numbers = {name for name, value in stored(SHOP).items() if isinstance(value, int) and not isinstance(value, bool)}
    assert numbers <= set(RANGES) <= set(FIELDS)


@pytest.mark.parametrize("changes", [{"maximum_seconds": 899}, {"hold_seconds": 3601}])
def test_a_maximum_below_the_hold_time_is_refused(changes: dict[str, int]) -> None:
    assert faults(changes) == ["maximum_seconds"]
    assert changed(SHOP, {"hold_seconds": 3600}, has_checkouts=True).hold_seconds == 3600


@pytest.mark.parametrize("name", ["", " ", "a\nb", "Shop\n", " Shop", "Shop ", "a" * 201])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    assert faults({"name": name}) == ["name"]


@pytest.mark.parametrize("number", ["573001234567", "+0573001234567", "+57 300", "+12345678901234567", "+573001\n", ""])
def test_a_number_that_is_not_of_e164_is_refused(number: str) -> None:
    assert faults({"whatsapp_number": number}) == ["whatsapp_number"]
    with_one = changed(SHOP, {"whatsapp_number": "+573001234567"}, has_checkouts=True)
    assert changed(with_one, {"whatsapp_number": None}, has_checkouts=True) == SHOP


@pytest.mark.parametrize("currency", ["", "XXX", "cop", "COPP"])
def test_a_currency_that_is_not_known_is_refused(currency: str) -> None:
    assert faults({"currency": currency}) == ["currency"]


def test_the_currency_changes_only_before_there_is_a_checkout() -> None:
    assert changed(SHOP, {"currency": "USD"}, has_checkouts=False).currency == "USD"
    assert changed(SHOP, {"currency": "COP", "max_lines": 7}, has_checkouts=True).max_lines == 7
    with pytest.raises(CurrencyInUse):
        changed(SHOP, {"currency": "USD"}, has_checkouts=True)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "tax_classes.1.name"),
        ({"name": "a" * 61}, "tax_classes.1.name"),
        ({"rate_basis_points": -1}, "tax_classes.1.rate_basis_points"),
        ({"rate_basis_points": MAX_RATE + 1}, "tax_classes.1.rate_basis_points"),
        ({"valid_from": "2026-02-30"}, "tax_classes.1.valid_from"),
        ({"valid_from": "20260101"}, "tax_classes.1.valid_from"),
        ({"valid_from": "0001-01-01"}, "tax_classes.1.valid_from"),
        ({"valid_from": "9999-12-31"}, "tax_classes.1.valid_from"),
        ({"valid_from": "2026-W01-1"}, "tax_classes.1.valid_from"),
        ({"valid_from": "2026-01-01"}, "tax_classes.1"),
    ],
)
def test_a_bad_tax_class_is_named_by_its_place(wrong: dict[str, Any], field: str) -> None:
    assert faults({"tax_classes": [IVA, {**IVA, "valid_from": "2027-01-01", **wrong}]}) == [field]


def test_tax_classes_are_kept_in_order_and_not_without_end() -> None:
    later = {**IVA, "rate_basis_points": 0, "valid_from": "2027-01-01"}
    after = changed(SHOP, {"tax_classes": [later, IVA]}, has_checkouts=True)
    assert [one.valid_from.year for one in after.tax_classes] == [2027, 2026]
    many = [{**IVA, "name": f"T{number}"} for number in range(MAX_TAX_CLASSES + 1)]
    assert faults({"tax_classes": many}) == ["tax_classes"]


def test_every_fault_is_named_at_once() -> None:
    assert faults({"max_lines": 0, "cooldown_seconds": -1, "currency": "x"}) == [
        "currency", "max_lines", "cooldown_seconds",
    ]  # fmt: skip


def test_the_difference_is_what_differs() -> None:
    after = changed(SHOP, {"max_lines": 7, "auto_extend": True, "late_payments": "refund"}, has_checkouts=True)
    was, became = difference(SHOP, after)
    assert was == {"max_lines": 100, "late_payments": "reserve"}
    assert became == {"max_lines": 7, "late_payments": "refund"}
    assert difference(SHOP, SHOP) == ({}, {})


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a.b", "a" * 41, "shop\n", "é"])
def test_an_id_that_could_not_stand_in_an_address_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        require_tenant_id(name)
    assert refused.value.extra["errors"][0]["field"] == "id"
    require_tenant_id("a" * 40)
