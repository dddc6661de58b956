"""What a tenant decides for itself: the settings, their defaults and their rules. No I/O.

A change is for what begins after it: a hold keeps the hold time, the step and the maximum that it began with.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.catalogue import NAME_PATTERN
from domain.checkout import MAX_LINES
from domain.errors import CurrencyInUse, Invalid
from domain.money import EXPONENTS

ID_PATTERN = r"^[a-z0-9][a-z0-9-]{0,39}$"
MAX_NAME = 200
DAY = 86_400
LONGEST_HOLD = 7 * DAY
"""How far a hold may be extended, from its start, in seconds."""
MAX_COUNT = 10_000
"""The largest limit that can be set."""
MAX_TAX_CLASSES = 50
SERIES_PATTERN = ID_PATTERN
"""Of a series of fiscal numbers."""
MAX_TAX_NAME = 60
MAX_RATE = 10_000
"""In basis points: 100 %."""
LANGUAGES = ("es", "en")
"""In which buyers can be written to."""
COLOR_PATTERN = r"^#[0-9a-f]{6}$"
MAX_LOGO = 40
MAX_TIME_ZONE = 64
WHATSAPP_PATTERN = r"^\+[1-9][0-9]{6,14}$"
"""E.164, with its plus."""
RANGES: Mapping[str, tuple[int, int]] = {
    "hold_seconds": (1, DAY),
    "extension_seconds": (1, DAY),
    "maximum_seconds": (1, LONGEST_HOLD),
    "warning_seconds": (0, DAY),
    "max_lines": (1, MAX_LINES),
    "max_held_lines": (1, MAX_COUNT),
    "max_checkouts_per_owner": (1, MAX_COUNT),
    "max_checkouts_per_address": (1, MAX_COUNT),
    "cooldown_seconds": (0, DAY),
    "payment_grace_seconds": (0, DAY),
}
"""The least and the most of every whole number."""


class LatePayments(StrEnum):
    """What becomes of a payment after its hold's end.

    `reserve`: the same things again if they are free, else a refund. `equivalent`: where the very seats are gone, as
    many others of the same zone and price will do. `refund`: always a refund.
    """

    RESERVE = "reserve"
    EQUIVALENT = "equivalent"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class TaxClass:
    """A tax rate from a day on: the newest of a name that is valid on the day counts. 1900 basis points are 19 %."""

    name: str
    rate_basis_points: int
    included: bool
    """Whether prices include it."""
    valid_from: date


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """One tenant's settings. Seconds are seconds; None in a limit: there is none."""

    name: str
    currency: str
    hold_seconds: int = 900
    extension_seconds: int = 900
    """The step by which a hold is extended, and its most."""
    maximum_seconds: int = 3600
    """How far a hold may be extended, from its start."""
    warning_seconds: int = 120
    """How long before its end the buyer is warned."""
    auto_extend: bool = True
    """Whether a hold is extended by itself: by the client at the warning, and once when a payment starts."""
    max_lines: int = MAX_LINES
    max_held_lines: int = 50
    max_checkouts_per_owner: int | None = None
    max_checkouts_per_address: int | None = None
    cooldown_seconds: int = 0
    """How long after an expiry the buyer may not start again."""
    late_payments: LatePayments = LatePayments.RESERVE
    payment_grace_seconds: int = 120
    """How long after its end a hold waits at most for a payment that is in flight."""
    tax_classes: tuple[TaxClass, ...] = ()
    fiscal_series: str | None = None
    """Which series orders have their fiscal numbers of; None: they have none."""
    whatsapp_number: str | None = None
    language: str = "es"
    """In which buyers are written to who have not chosen another."""
    time_zone: str = "UTC"
    """Of the times on tickets and in e-mails (IANA)."""
    brand_color: str = "#1f3a5f"
    logo_text: str | None = None
    """What stands at the head of e-mails and tickets; None: the name."""
    disabled: bool = False
    """Nobody gets in; what is held goes on to its end. Set by the installation's operators only."""


FIELDS = tuple(field.name for field in fields(TenantSettings))
TENANT_MAY_CHANGE = tuple(name for name in FIELDS if name != "disabled")


def stored(settings: TenantSettings) -> dict[str, Any]:
    """As rows, answers and the audit log have them: plain JSON."""
    taxes = [{**asdict(one), "valid_from": one.valid_from.isoformat()} for one in settings.tax_classes]
    return {**asdict(settings), "late_payments": settings.late_payments.value, "tax_classes": taxes}


def from_stored(row: Mapping[str, Any]) -> TenantSettings:
    """The settings that a row (or JSON, as `stored` gives it) holds; what else is in it does not matter."""
    given = {name: row[name] for name in FIELDS}
    taxes = tuple(_tax_class(one) for one in row["tax_classes"])
    return TenantSettings(**{**given, "late_payments": LatePayments(row["late_payments"]), "tax_classes": taxes})


def changed(before: TenantSettings, changes: Mapping[str, Any], *, has_checkouts: bool) -> TenantSettings:
    """The settings with these changes, in the form of `stored`; values are of the right types.

    Raises Invalid, naming every field at fault and how to put it right, and CurrencyInUse for another currency when
    `has_checkouts`: amounts would then mean something else.
    """
    _require(_faults_of_taxes(changes.get("tax_classes", ())))
    after = from_stored({**stored(before), **changes})
    _require(_faults(after))
    if has_checkouts and after.currency != before.currency:
        raise CurrencyInUse("There are checkouts in the present currency; another currency needs another tenant.")
    return after


def checked(settings: TenantSettings) -> TenantSettings:
    """The same. Raises Invalid, naming every field at fault."""
    _require(_faults(settings))
    return settings


def difference(before: TenantSettings, after: TenantSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs, as it was and as it is; both empty when nothing does."""
    was, became = stored(before), stored(after)
    names = [name for name in FIELDS if was[name] != became[name]]
    return {name: was[name] for name in names}, {name: became[name] for name in names}


def require_tenant_id(tenant: str) -> None:
    """Raise Invalid unless a tenant may be called so: its id stands in host names, addresses and workflow ids."""
    if not re.fullmatch(ID_PATTERN, tenant):
        _require(iter([("id", "It is no id of a tenant", "Send 1 to 40 of a-z, 0-9 and -, not beginning with -")]))


Fault = tuple[str, str, str]
"""(field, what is wrong, how to put it right)"""


def _require(faults: Iterator[Fault]) -> None:
    errors = [{"field": field, "message": message, "fix": fix} for field, message, fix in faults]
    if errors:
        detail = "; ".join(f"{one['field']}: {one['message']}" for one in errors)
        raise Invalid(f"{detail}.", errors=errors)


def _faults(settings: TenantSettings) -> Iterator[Fault]:
    if len(settings.name) > MAX_NAME or not re.fullmatch(NAME_PATTERN, settings.name):
        yield "name", "It is no name", f"Send one line of 1 to {MAX_NAME} characters, without blanks at its ends"
    if settings.currency not in EXPONENTS:
        yield "currency", "This currency is not known", f"Send one of {', '.join(sorted(EXPONENTS))}"
    for name, (least, most) in RANGES.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            yield name, f"It is not between {least} and {most}", f"Send a whole number from {least} to {most}"
    if settings.maximum_seconds < settings.hold_seconds:
        yield (
            "maximum_seconds",
            f"The maximum ({settings.maximum_seconds}) is below the hold time ({settings.hold_seconds})",
            "Send a maximum_seconds of at least hold_seconds, or a shorter hold_seconds",
        )
    if settings.fiscal_series is not None and not re.fullmatch(SERIES_PATTERN, settings.fiscal_series):
        yield "fiscal_series", "It is no series", "Send the name of a series of fiscal numbers, or null"
    if settings.whatsapp_number is not None and not re.fullmatch(WHATSAPP_PATTERN, settings.whatsapp_number):
        yield "whatsapp_number", "It is no number in the form of E.164", "Send it as +573001234567, or null"
    yield from _faults_of_looks(settings)


def _faults_of_looks(settings: TenantSettings) -> Iterator[Fault]:
    if settings.language not in LANGUAGES:
        yield "language", "There is no such language", f"Send one of {', '.join(LANGUAGES)}"
    if not _is_a_time_zone(settings.time_zone):
        yield "time_zone", "There is no such time zone", "Send a name such as America/Bogota, or UTC"
    if not re.fullmatch(COLOR_PATTERN, settings.brand_color):
        yield "brand_color", "It is no colour", "Send it as #1f3a5f, in lower case"
    logo = settings.logo_text
    if logo is not None and (len(logo) > MAX_LOGO or not re.fullmatch(NAME_PATTERN, logo)):
        yield "logo_text", "It is no line", f"Send one line of 1 to {MAX_LOGO} characters, or null"


def _faults_of_taxes(given: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    if len(given) > MAX_TAX_CLASSES:
        yield "tax_classes", f"There are more than {MAX_TAX_CLASSES}", "Send fewer"
    seen = set()
    for number, one in enumerate(given):
        field, key = f"tax_classes.{number}", (one["name"], one["valid_from"])
        if len(one["name"]) > MAX_TAX_NAME or not re.fullmatch(NAME_PATTERN, one["name"]):
            yield f"{field}.name", "It is no name", f"Send one line of 1 to {MAX_TAX_NAME} characters"
        if not 0 <= one["rate_basis_points"] <= MAX_RATE:
            yield f"{field}.rate_basis_points", f"It is not between 0 and {MAX_RATE}", "Send 1900 for 19 %"
        if not _is_a_day(one["valid_from"]):
            yield f"{field}.valid_from", "There is no such day", "Send a day as 2026-01-31"
        if key in seen:
            yield field, "The same name is there from the same day", "Send another day, or remove one of them"
        seen.add(key)


def require_class(settings: TenantSettings, tax_class: str | None) -> None:
    """Raise Invalid unless the tenant has a tax class of this name, or it is None."""
    if tax_class is not None and tax_class not in class_names(settings):
        _require(iter([("tax_class", "There is no such tax class", "Send one of the tenant's `tax_classes`, or null")]))


def class_names(settings: TenantSettings) -> set[str]:
    """The tax classes there are, of whatever day."""
    return {one.name for one in settings.tax_classes}


def require_known(after: TenantSettings, *, used: Collection[str], series: Collection[str]) -> None:
    """Raise Invalid when the settings leave out a tax class that products or zones have (`used`), or name a series of
    fiscal numbers that there is not (`series`)."""
    _require(_faults_of_names(after, set(used), set(series)))


def _faults_of_names(after: TenantSettings, used: set[str], series: set[str]) -> Iterator[Fault]:
    if missing := used - class_names(after):
        message = f"{len(missing)} of the classes that products or zones have are left out"
        yield "tax_classes", message, "Give those another class first, or send the class with a rate of 0"
    if after.fiscal_series is not None and after.fiscal_series not in series:
        yield "fiscal_series", "There is no such series", "Add the series first, or send null"


def _tax_class(given: Mapping[str, Any]) -> TaxClass:
    return TaxClass(
        given["name"], given["rate_basis_points"], given["included"], date.fromisoformat(given["valid_from"])
    )


def _is_a_time_zone(name: str) -> bool:
    try:
        return len(name) <= MAX_TIME_ZONE and ZoneInfo(name).key == name
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


FIRST_YEAR, LAST_YEAR = 1970, 9000
"""Of days that are meant, and that begin somewhere in every time zone."""


def _is_a_day(text: str) -> bool:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return False
    return day.isoformat() == text and FIRST_YEAR <= day.year <= LAST_YEAR
