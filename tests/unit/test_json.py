"""JSON, strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.strict_json import MAX_DEPTH, parse
from domain.errors import BadJson
from tests.support.hostile import BAD_JSON, INVALID, MARK

_INT64 = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_SCALARS = st.none() | st.booleans() | _INT64 | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
_JSON = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=20)


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
def test_a_hostile_body_is_refused_and_not_quoted(body: bytes) -> None:
    with pytest.raises(BadJson) as refused:
        parse(body)
    assert MARK not in refused.value.detail
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
def test_a_strange_body_that_is_json_is_read(body: bytes) -> None:
    assert parse(body) == json.loads(body)


@given(_JSON)
def test_good_json_comes_back_as_it_was(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        parse(body)
    except BadJson as refused:
        assert refused.status == 400  # noqa: PT017  # both outcomes are right; anything else raises


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, -1])
def test_64_bits_are_enough_and_exact(number: int) -> None:
    assert parse(str(number).encode()) == number


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "😀"


def test_the_depth_limit_is_exact() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(BadJson):
        parse(b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH + b"]")
    with pytest.raises(BadJson, match="32 deep"):
        parse(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_true_is_not_one_and_text_is_not_a_number() -> None:
    assert parse(b"[true, 1, 1.0]") == [True, 1, 1.0]
    assert [type(value) for value in parse(b"[true, 1, 1.0]")] == [bool, int, float]
