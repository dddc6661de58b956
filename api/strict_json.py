"""JSON as RFC 8259 means it, and no more: what PostgreSQL or other languages would read differently is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from domain.errors import BadJson

MAX_DEPTH = 32
_MAX_DIGITS = 20
_INT64 = range(-(2**63), 2**63)


def parse(raw: bytes) -> Any:
    """The value in `raw`.

    Raises BadJson for anything but UTF-8 without a byte-order mark, and for duplicate keys, NaN and Infinity, numbers
    past 64 bits, NUL or lone surrogates in a string, and nesting deeper than 32. The message never quotes the input.
    """
    try:
        value = _DECODER.decode(raw.decode())
        _refuse_hostile(value)
    except UnicodeDecodeError:
        raise BadJson("The body must be UTF-8.") from None
    except RecursionError:
        raise BadJson(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise BadJson(f"The body is not JSON: look at line {error.lineno}, column {error.colno}.") from None
    return value


_TOO_DEEP = f"Objects and arrays may be nested {MAX_DEPTH} deep."


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadJson("An object names the same key twice.")
    return value


def _integer(digits: str) -> int:
    # The length comes first: turning a megabyte of digits into a number takes minutes.
    if len(digits) > _MAX_DIGITS or int(digits) not in _INT64:
        raise BadJson("A number is past 64 bits.")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise BadJson("A number is past 64 bits.")
    return value


def _constant(_: str) -> NoReturn:
    raise BadJson("NaN and Infinity are not JSON.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=True
)


def _refuse_hostile(root: Any) -> None:
    """Look at every string and the depth, level by level, so that no nesting can exhaust the stack."""
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH and any(isinstance(value, dict | list) for value in level):
            raise BadJson(_TOO_DEEP)
        level = [child for value in level for child in _children(value)]


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        _refuse_unstorable(value)
    elif isinstance(value, dict):
        for key in value:
            _refuse_unstorable(key)
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _refuse_unstorable(text: str) -> None:
    if "\0" in text:
        raise BadJson("A string has a NUL character.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadJson("A string has half of a surrogate pair.") from None
