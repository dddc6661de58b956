"""Taxes: which rate a line has, how its tax is rounded, and how lines add up. No I/O.

The rule: the tax of a line is on what the line costs after offers (`unit_price * quantity`), rounded half up to the
currency's minor unit; a total is the sum of its lines' amounts and of those of their taxes that prices do not include,
and is not rounded again. Of a price that includes its tax, tax and rest add up to the price.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar
from zoneinfo import ZoneInfo

WHOLE = 10_000
"""100 % in basis points."""


class Rate(Protocol):
    """A tax class from a day on; `domain.tenant_settings.TaxClass` is one."""

    @property
    def name(self) -> str: ...
    @property
    def rate_basis_points(self) -> int: ...
    @property
    def included(self) -> bool: ...
    @property
    def valid_from(self) -> date: ...


R = TypeVar("R", bound=Rate)


class TaxedLine(NamedTuple):
    """What a line costs (`amount`, minor units, after offers) and its tax, whether `amount` includes it or not.

    `tax_class` None: there is no tax on it.
    """

    amount: int
    tax_class: str | None
    rate_basis_points: int
    included: bool
    tax: int


@dataclass(frozen=True, slots=True)
class TaxSum:
    """The taxes of one class and rate: `base` is what it is on, without it. Minor units."""

    tax_class: str
    rate_basis_points: int
    included: bool
    base: int
    tax: int


def tax_on(amount: int, rate_basis_points: int, *, included: bool) -> int:
    """The tax on a line that costs `amount` (minor units, not negative), or the part of `amount` that is tax."""
    whole = WHOLE + rate_basis_points if included else WHOLE
    return (2 * amount * rate_basis_points + whole) // (2 * whole)


def taxed(amount: int, rate: Rate | None) -> TaxedLine:
    """A line of this amount at this rate."""
    if rate is None:
        return TaxedLine(amount, None, 0, included=False, tax=0)
    tax = tax_on(amount, rate.rate_basis_points, included=rate.included)
    return TaxedLine(amount, rate.name, rate.rate_basis_points, rate.included, tax)


def rate_on(rates: Iterable[R], name: str | None, day: date) -> R | None:
    """The newest rate of this class that is valid on the day; None before the first, and without a class."""
    valid = [rate for rate in rates if rate.name == name and rate.valid_from <= day]
    return max(valid, key=lambda rate: rate.valid_from, default=None)


def added_tax(lines: Iterable[TaxedLine]) -> int:
    """The taxes that come on top of the lines' amounts."""
    return sum(line.tax for line in lines if not line.included)


def breakdown(lines: Sequence[TaxedLine]) -> list[TaxSum]:
    """The taxes by class and rate, in their order; lines without a tax are in none."""
    sums: dict[tuple[str, int, bool], tuple[int, int]] = {}
    for line in lines:
        if line.tax_class is not None:
            key = line.tax_class, line.rate_basis_points, line.included
            base, tax = sums.get(key, (0, 0))
            sums[key] = base + line.amount - (line.tax if line.included else 0), tax + line.tax
    return [TaxSum(*key, *sums[key]) for key in sorted(sums)]


def day_begins(day: date, time_zone: str) -> datetime:
    """The instant at which a day begins in an IANA time zone, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).astimezone(ZoneInfo("UTC"))


def day_ends(day: date, time_zone: str) -> datetime:
    """The instant at which the next day begins."""
    return day_begins(day + timedelta(days=1), time_zone)
