"""Series of fiscal numbers as administrators and operators see them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from api.models import Answer, StrictModel
from db import fiscal, fiscal_report
from domain.catalogue import NAME_PATTERN
from domain.fiscal import (
    MAX_AUTHORISATION,
    MAX_DAYS,
    MAX_NUMBER,
    MAX_PADDING,
    PREFIX_PATTERN,
    Alert,
    NewRange,
    NewSeries,
)
from domain.tenant_settings import SERIES_PATTERN


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("send a day as text, such as 2026-01-31")
    return value


SeriesName = Annotated[str, Field(pattern=SERIES_PATTERN, examples=["invoices"])]
Prefix = Annotated[
    str,
    Field(pattern=PREFIX_PATTERN, description="What numbers begin with; not ending in a digit.", examples=["SETT-"]),
]
Padding = Annotated[int, Field(ge=0, le=MAX_PADDING, description="Digits at least, with zeros before.", examples=[6])]
AlertPercent = Annotated[
    int, Field(ge=0, le=100, description="Alert when fewer numbers are left than this share of the present range.")
]
AlertDays = Annotated[int, Field(ge=0, le=MAX_DAYS, description="Alert when fewer days are left than this.")]
Number = Annotated[int, Field(ge=1, le=MAX_NUMBER, examples=[1])]
Day = Annotated[date, BeforeValidator(_text), Field(strict=False, examples=["2026-01-01"])]
Authorisation = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_AUTHORISATION,
        pattern=NAME_PATTERN,
        description="What allows these numbers.",
        examples=["Resolution 18764000000001"],
    ),
]


class SeriesIn(StrictModel):
    """A new series. Its name, prefix and digits stay as they are."""

    name: SeriesName
    prefix: Prefix
    padding: Padding = 0
    alert_percent: AlertPercent = 10
    alert_days: AlertDays = 30

    def as_new(self) -> NewSeries:
        """What the database is given."""
        return NewSeries(**self.model_dump())


class RangeIn(StrictModel):
    """Authorised numbers, prepared ahead: past those of the series' other ranges."""

    first: Number
    last: Number = Field(examples=[10000])
    valid_from: Day
    valid_until: Day = Field(description="The last day, where the shop is.", examples=["2027-12-31"])
    authorisation: Authorisation

    def as_new(self) -> NewRange:
        """What the database is given."""
        return NewRange(**self.model_dump())


class SeriesOut(Answer):
    """A series as it stands."""

    name: SeriesName
    prefix: Prefix
    padding: Padding
    alert_percent: AlertPercent
    alert_days: AlertDays
    in_use: bool = Field(description="Whether new orders have their numbers of it.")
    next_number: int | None = Field(description="Of the range that numbers are of now; null before the first.")
    remaining: int = Field(description="Numbers that can be given, with those of prepared ranges.")
    valid_until: date | None = Field(description="The last day on which there are any; null: there are none.")
    waiting: int = Field(description="Orders that wait for a number.")
    alerts: list[Alert] = Field(description="What somebody should see to.")
    created_at: datetime

    @classmethod
    def of(cls, row: fiscal.Series) -> SeriesOut:
        """From its row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class SeriesList(Answer):
    """A tenant's series."""

    items: list[SeriesOut]


class RangeOut(Answer):
    """Authorised numbers."""

    id: int
    series: SeriesName
    first: int
    last: int
    valid_from: date
    valid_until: date
    authorisation: str
    status: Literal["prepared", "open", "used", "over", "passed_over"] = Field(
        description="`open`: numbers are of it now. `passed_over`: it was not valid when its turn came."
    )
    opened_at: datetime | None = Field(description="When its first number was given.")
    created_at: datetime

    @classmethod
    def of(cls, row: fiscal.Range) -> RangeOut:
        """From its row."""
        return cls(**asdict(row))


class RangeList(Answer):
    """A series' ranges, in order of their numbers."""

    items: list[RangeOut]


class ReportOut(Answer):
    """Whether a series' numbers are what they must be."""

    series: SeriesOut
    good: bool = Field(description="No gap, no duplicate, none outside its range, later ones later.")
    issued: int
    first: int | None
    last: int | None
    missing: int = Field(description="Numbers that a range left out: must be 0.")
    first_missing: int | None
    duplicates: int = Field(description="Must be 0.")
    wrong: int = Field(description="Outside their range, or not written as they are: must be 0.")
    disordered: int = Field(description="Not later than the number before: must be 0.")
    pending: int = Field(description="Orders that wait for a number.")
    pending_since: datetime | None

    @classmethod
    def of(cls, found: fiscal_report.Report) -> ReportOut:
        """From what was found."""
        names = set(cls.model_fields) - {"series"}
        return cls(series=SeriesOut.of(found.series), **{name: getattr(found, name) for name in names})


class ReportsOut(Answer):
    """A report for each series."""

    items: list[ReportOut]
