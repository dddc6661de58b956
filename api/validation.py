"""What a validation error may say: which field, what is wrong, how to put it right. Never what was sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

IDEMPOTENCY_HEADER = "Idempotency-Key"
MAX_ERRORS = 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_UNNAMEABLE = frozenset({"extra_forbidden"})
"""Errors whose last place is a name that the caller chose."""
_MESSAGES = {
    "extra_forbidden": "There is a field here that this request does not have",
    "uuid_parsing": "Input should be a valid UUID",
}
_FIXES = {
    "missing": "Add this field",
    "extra_forbidden": "Remove it: see /openapi.json for the fields there are",
    "int_type": "Send a JSON integer, without quotes, decimals or exponent",
    "int_from_float": "Send a JSON integer, without quotes, decimals or exponent",
    "string_type": "Send a JSON string",
    "bool_type": "Send true or false",
    "list_type": "Send a JSON array",
    "model_type": "Send a JSON object",
    "model_attributes_type": "Send a JSON object",
    "dict_type": "Send a JSON object",
}


class FieldError(BaseModel):
    """One field that is not valid."""

    field: str = Field(examples=["lines.0.quantity"])
    message: str = Field(examples=["Input should be greater than or equal to 1"])
    fix: str | None = None


def field_errors(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Pydantic's errors (`ValidationError.errors()`), the first 20, as `FieldError` documents without the input."""
    return [_field_error(error) for error in errors[:MAX_ERRORS]]


def lacks_idempotency_key(errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the missing Idempotency-Key is among them: that has a code of its own."""
    return any(
        error["type"] == "missing"
        and [str(part).lower() for part in error["loc"]] == ["header", IDEMPOTENCY_HEADER.lower()]
        for error in errors
    )


def _field_error(error: Mapping[str, Any]) -> dict[str, str]:
    kind, place = error["type"], list(error["loc"])
    if kind in _UNNAMEABLE:
        place = place[:-1]
    document = {"field": _path(place), "message": _MESSAGES.get(kind) or str(error["msg"])}
    if kind in _FIXES:
        document["fix"] = _FIXES[kind]
    return document


def _path(place: Sequence[Any]) -> str:
    """`lines.0.quantity`: the first part says body, query, path or header, and is kept only when nothing follows."""
    inner = place[1:] or place[:1]
    return ".".join(str(part) if isinstance(part, int) or _NAME.fullmatch(part) else "?" for part in inner)
