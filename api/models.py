"""The two kinds of Pydantic model at HTTP: what comes in, and what goes out."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import NotFound
from domain.ids import CheckoutId

MAX_ID = 2**63 - 1
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

RowId = Annotated[int, Field(ge=1, le=MAX_ID)]
"""A product's (or other numbered row's) id: PostgreSQL's bigint."""
Minor = Annotated[int, Field(description="An amount in the currency's minor unit (ISO 4217).")]


class StrictModel(BaseModel):
    """A request's body: no unknown fields, no coercion (`"12"` and `true` are not numbers), not changed after reading.

    Strict also means that a field typed UUID or datetime refuses the string JSON has for it: take a `str` with a
    pattern, or say `Field(strict=False)` for that field.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class Answer(BaseModel):
    """A response's body."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def as_checkout_id(text: str) -> CheckoutId:
    """A UUID in its canonical form. Raises NotFound for anything else: no checkout (or order) has such an id."""
    if not _UUID.fullmatch(text):
        raise NotFound
    return CheckoutId(text)
