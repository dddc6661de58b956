"""Reading JSON from a gateway, strictly: whatever is not exactly what we expect raises Invalid, and nothing else."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from domain.errors import Invalid
from domain.ids import CheckoutId

MAX_AMOUNT = 10**15
"""More minor units than any payment has; what lies above is a mistake or an attack."""
_ID = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_EPOCH, _END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def parse_object(body: bytes) -> Mapping[str, Any]:
    """A JSON object in UTF-8 (RFC 8259), with neither repeated names nor NaN. Raises Invalid."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Invalid("the gateway's message is not JSON") from None
    if not isinstance(value, dict):
        raise Invalid("the gateway's message is not a JSON object")
    return value


def child(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under `name`. Raises Invalid."""
    value = data.get(name)
    if not isinstance(value, dict):
        raise _not(name, "an object")
    return value


def identifier(data: Mapping[str, Any], name: str) -> str:
    """An id of the gateway's: 1 to 200 characters without controls or surrogates. Raises Invalid."""
    value = data.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _not(name, "a text of 1 to 200 characters")
    return value


def optional_identifier(data: Mapping[str, Any], name: str) -> str | None:
    """As `identifier`, or None when it is missing or null. Raises Invalid."""
    return None if data.get(name) is None else identifier(data, name)


def amount(data: Mapping[str, Any], name: str) -> int:
    """A whole number of minor units from 0 to 10^15. Raises Invalid, also for true and 1.0."""
    value = data.get(name)
    if type(value) is not int or not 0 <= value <= MAX_AMOUNT:
        raise _not(name, "a whole number of minor units")
    return value


def currency(data: Mapping[str, Any], name: str) -> str:
    """An ISO 4217 code in capitals. Raises Invalid."""
    value = data.get(name)
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise _not(name, "an ISO 4217 code")
    return value


def checkout_id(data: Mapping[str, Any], name: str) -> CheckoutId | None:
    """A checkout's id, or None where there is none or where the text is no canonical UUID.

    Money may have been captured for a reference that is not ours. Refusing the message would leave it there for ever;
    as a payment without a checkout it is found, and refunded.
    """
    value = optional_identifier(data, name)
    return CheckoutId(value) if value is not None and _is_canonical_uuid(value) else None


def instant(data: Mapping[str, Any], name: str) -> datetime:
    """A time with an offset (RFC 3339) in this or the next century, in UTC. Raises Invalid."""
    value = data.get(name)
    # The shape first: fromisoformat alone takes far more, even a trailing NUL.
    if isinstance(value, str) and _RFC_3339.fullmatch(value):
        with contextlib.suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(value)
            if _EPOCH <= moment < _END:
                return moment.astimezone(UTC)
    raise _not(name, "a time with an offset")


def _is_canonical_uuid(value: str) -> bool:
    try:
        return str(uuid.UUID(value)) == value
    except ValueError:
        return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated name")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _not(name: str, wanted: str) -> Invalid:
    return Invalid(f"{name} in the gateway's message must be {wanted}")
