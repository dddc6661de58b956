"""The rules of fiscal numbers: what a series and a range may be, and when somebody is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from domain.errors import Invalid
from domain.fiscal import Alert, NewRange, NewSeries, Stand, alerts_of, check_range, check_series, formatted

NOW = datetime(2026, 11, 22, tzinfo=UTC)
GOOD = NewSeries("invoices", "SETT-", 8)
RANGE = NewRange(1, 100, date(2026, 1, 1), date(2027, 12, 31), "Resolution 18764000000001")
PLENTY = Stand(10, 30, size=1000, remaining=100, ends_at=NOW + timedelta(days=30), waiting=0)


@pytest.mark.parametrize(
    ("stand", "alerts"),
    [
        (PLENTY, []),
        (replace(PLENTY, remaining=99), [Alert.NUMBERS]),
        (replace(PLENTY, remaining=0, alert_percent=0), [Alert.NUMBERS]),
        (replace(PLENTY, ends_at=NOW + timedelta(days=29)), [Alert.DAYS]),
        (replace(PLENTY, remaining=0, ends_at=None), [Alert.NUMBERS, Alert.DAYS]),
        (replace(PLENTY, waiting=1), [Alert.WAITING]),
        (replace(PLENTY, size=0, remaining=1), []),
    ],
)
def test_somebody_is_told_below_the_thresholds(stand: Stand, alerts: list[Alert]) -> None:
    assert alerts_of(stand, NOW) == alerts


def test_a_number_is_prefix_and_digits_with_zeros_before_them() -> None:
    assert formatted("SETT-", 8, 42) == "SETT-00000042"
    assert formatted("", 0, 42) == "42"
    assert formatted("A", 2, 12345) == "A12345"


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (replace(GOOD, name="In voices"), "name"),
        (replace(GOOD, prefix="A1"), "prefix"),
        (replace(GOOD, prefix="Ñ-"), "prefix"),
        (replace(GOOD, padding=19), "padding"),
        (replace(GOOD, alert_percent=101), "alert_percent"),
        (replace(GOOD, alert_days=-1), "alert_days"),
    ],
)
def test_a_series_that_is_none_is_refused_by_its_field(bad: NewSeries, field: str) -> None:
    check_series(GOOD)
    with pytest.raises(Invalid, match=field):
        check_series(bad)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (replace(RANGE, first=50), "first"),
        (replace(RANGE, first=200, last=199), "last"),
        (replace(RANGE, last=10**18), "last"),
        (replace(RANGE, valid_until=date(2025, 1, 1)), "valid_until"),
        (replace(RANGE, authorisation=""), "authorisation"),
        (replace(RANGE, authorisation="two\nlines"), "authorisation"),
    ],
)
def test_a_range_that_is_none_is_refused_by_its_field(bad: NewRange, field: str) -> None:
    check_range(replace(RANGE, first=61), after=60)
    with pytest.raises(Invalid, match=field):
        check_range(replace(bad), after=60 if field == "first" else 0)
