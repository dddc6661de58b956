"""Fiscal numbers: series, the ranges of numbers that an authority allows, and when somebody should see to it. No I/O.

Numbers of a series ascend without gaps within each of its ranges, in the order in which orders were confirmed. An order
that finds no number waits for one, and all later ones wait behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from domain.catalogue import NAME_PATTERN
from domain.errors import Invalid
from domain.tenant_settings import SERIES_PATTERN

PREFIX_PATTERN = r"^([A-Za-z0-9/-]{0,19}[A-Za-z/-])?$"
"""Not ending in a digit: where the number begins is then clear."""
MAX_PADDING = 18
MAX_NUMBER = 10**18 - 1
MAX_DAYS = 3650
MAX_AUTHORISATION = 100
MAX_SERIES = 100
MAX_RANGES = 10_000


class FiscalStatus(StrEnum):
    """Of an order. `none`: its shop had no series when it was made; `pending`: it waits for a number."""

    NONE = "none"
    PENDING = "pending"
    ISSUED = "issued"


class Alert(StrEnum):
    """What somebody should see to: `numbers` or `days` run out, or orders are `waiting` for a number."""

    NUMBERS = "numbers"
    DAYS = "days"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class NewSeries:
    """A series to be. A number is the prefix and the digits, with zeros before them up to `padding` digits.

    It is alerted when fewer numbers are left than `alert_percent` of the present range, or days than `alert_days`.
    """

    name: str
    prefix: str
    padding: int = 0
    alert_percent: int = 10
    alert_days: int = 30


@dataclass(frozen=True, slots=True)
class NewRange:
    """Authorised numbers: from `first` to `last`, on the days from `valid_from` to `valid_until`, both included."""

    first: int
    last: int
    valid_from: date
    valid_until: date
    authorisation: str


@dataclass(frozen=True, slots=True)
class Stand:
    """How a series stands: what is left of its ranges that are not over, and how many orders wait.

    `size`: how many numbers the present range has in all, 0 when none was opened. `ends_at`: when the last of the
    ranges ends; None when none is left.
    """

    alert_percent: int
    alert_days: int
    size: int
    remaining: int
    ends_at: datetime | None
    waiting: int


def alerts_of(stand: Stand, now: datetime) -> list[Alert]:
    """What somebody should see to now, in a fixed order."""
    found = []
    if stand.remaining == 0 or stand.remaining * 100 < stand.size * stand.alert_percent:
        found.append(Alert.NUMBERS)
    if stand.ends_at is None or stand.ends_at - now < timedelta(days=stand.alert_days):
        found.append(Alert.DAYS)
    return [*found, *([Alert.WAITING] if stand.waiting else [])]


def formatted(prefix: str, padding: int, number: int) -> str:
    """A number as it stands on receipts."""
    return f"{prefix}{number:0{max(padding, 1)}d}"


def check_series(new: NewSeries) -> None:
    """Raise Invalid, naming every field at fault."""
    _require(_faults_of_series(new))


def check_range(new: NewRange, *, after: int) -> None:
    """Raise Invalid, naming every field at fault. `after`: the last number of the series' ranges so far, or 0."""
    _require(_faults_of_range(new, after))


def _faults_of_series(new: NewSeries) -> Iterator[tuple[str, str, str]]:
    if not re.fullmatch(SERIES_PATTERN, new.name):
        yield "name", "It is no name of a series", "Send 1 to 40 of a-z, 0-9 and -, not beginning with -"
    if not re.fullmatch(PREFIX_PATTERN, new.prefix):
        yield "prefix", "It is no prefix", "Send up to 20 letters, digits, - and /, not ending in a digit"
    for name, value, most in (
        ("padding", new.padding, MAX_PADDING),
        ("alert_percent", new.alert_percent, 100),
        ("alert_days", new.alert_days, MAX_DAYS),
    ):
        if not 0 <= value <= most:
            yield name, f"It is not between 0 and {most}", f"Send a whole number from 0 to {most}"


def _faults_of_range(new: NewRange, after: int) -> Iterator[tuple[str, str, str]]:
    if new.first <= after:
        yield "first", f"The numbers of a series ascend, and its ranges reach {after}", f"Send {after + 1} or more"
    if not 1 <= new.first <= new.last <= MAX_NUMBER:
        yield "last", "These are no numbers in ascending order", "Send first and last, from 1 to 10**18 - 1"
    if new.valid_until < new.valid_from:
        yield "valid_until", "It is before valid_from", "Send the last day on which numbers may be issued"
    if new.valid_until.year > 9000 or new.valid_from.year < 1970:  # any day that is meant
        yield "valid_from", "There are no such days", "Send days as 2026-01-31"
    if len(new.authorisation) > MAX_AUTHORISATION or not re.fullmatch(NAME_PATTERN, new.authorisation):
        yield "authorisation", "It is no reference", f"Send one line of 1 to {MAX_AUTHORISATION} characters"


def _require(faults: Iterator[tuple[str, str, str]]) -> None:
    errors: Sequence[dict[str, str]] = [
        {"field": field, "message": message, "fix": fix} for field, message, fix in faults
    ]
    if errors:
        raise Invalid("; ".join(f"{one['field']}: {one['message']}" for one in errors) + ".", errors=errors)
