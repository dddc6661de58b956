"""Access tokens: what is issued verifies, and nothing else does."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import tokens
from api.jws import LEEWAY_SECONDS
from api.tokens import Scope, Tokens
from domain.errors import Unauthorized
from domain.ids import TenantId

SECRET = "a secret of more than thirty-two bytes"
DEMO = TenantId("demo")


def make_tokens(secret: str = SECRET, **changes: Any) -> Tokens:
    return Tokens(secret, **{"issuer": "holdfast", "audience": "holdfast-api", **changes})


def make_claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iss": "holdfast",
        "aud": "holdfast-api",
        "sub": "42",
        "tenant": "demo",
        "scope": "buyer",
        "iat": now,
        "exp": now + 60,
        "jti": "1",
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(claims: Any, header: Any = tokens.HEADER, secret: str = SECRET) -> str:
    """A token with any header and claims, signed with HMAC-SHA-256 whatever they say."""
    head, body = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims))
    text = f"{_b64(head)}.{_b64(body)}"
    return f"{text}.{_b64(hmac.digest(secret.encode(), text.encode(), 'sha256'))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def refused(token: str) -> None:
    with pytest.raises(Unauthorized) as error:
        make_tokens().verify(token)
    assert error.value.detail == Unauthorized.title, "the answer must not say which rule was broken"


def test_an_issued_token_names_its_caller() -> None:
    caller = make_tokens().verify(make_tokens().issue(DEMO, "42", {Scope.BUYER, Scope.ADMIN}, 60))
    assert (caller.tenant, caller.subject) == (DEMO, "42")
    assert caller.scopes == {Scope.BUYER, Scope.ADMIN}
    assert caller.buyer_key == "user:42"


def test_a_service_has_a_buyer_key_of_its_own() -> None:
    caller = make_tokens().verify(make_tokens().issue(DEMO, "42", {Scope.SERVICE, Scope.BUYER}, 60))
    assert caller.buyer_key == "service:42"


def test_the_test_forge_makes_good_tokens() -> None:
    assert make_tokens().verify(signed(make_claims())).subject == "42"


@pytest.mark.parametrize("name", make_claims())
def test_every_claim_must_be_there(name: str) -> None:
    refused(signed(make_claims(**{name: None})))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iss", "someone"),
        ("iss", ["holdfast"]),
        ("aud", "another-api"),
        ("aud", ""),
        ("aud", 1),
        ("exp", 0),
        ("exp", True),
        ("exp", 1e400),
        ("exp", "9999999999"),
        ("exp", 9999999999.5),
        ("exp", {"a": 1}),
        ("iat", 9_999_999_999),
        ("iat", "now"),
        ("nbf", 9_999_999_999),
        ("sub", ""),
        ("sub", 42),
        ("sub", "a\0b"),
        ("sub", "a b"),
        ("sub", "x" * 129),
        ("sub", "ä"),
        ("tenant", ""),
        ("tenant", "Demo"),
        ("tenant", "demo\n"),
        ("tenant", "x" * 41),
        ("tenant", 7),
        ("tenant", ["demo"]),
        ("scope", ["buyer"]),
        ("scope", 1),
        ("jti", 1),
    ],
)
def test_every_claim_must_be_right(name: str, value: object) -> None:
    refused(signed(make_claims(**{name: value})))


def test_a_token_is_over_at_its_end() -> None:
    now = int(time.time())
    refused(signed(make_claims(iat=now - 60, exp=now - LEEWAY_SECONDS - 1)))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "at+jwt"},
        {"alg": "None", "typ": "at+jwt"},
        {"alg": "NONE", "typ": "at+jwt"},
        {"alg": "RS256", "typ": "at+jwt"},
        {"alg": "HS384", "typ": "at+jwt"},
        {"alg": "HS512", "typ": "at+jwt"},
        {"alg": "hs256", "typ": "at+jwt"},
        {"alg": ["HS256"], "typ": "at+jwt"},
        {"alg": {"HS256": 1}, "typ": "at+jwt"},
        {"alg": None, "typ": "at+jwt"},
        {"typ": "at+jwt"},
        {"alg": "HS256"},
        {"alg": "HS256", "typ": "JWT"},
        {"alg": "HS256", "typ": "rt+jwt"},
        {"alg": "HS256", "typ": 1},
        {"alg": "HS256", "typ": "at+jwt", "kid": "unknown"},
        {"alg": "HS256", "typ": "at+jwt", "kid": "../../dev/null"},
        {"alg": "HS256", "typ": "at+jwt", "kid": 1},
        {"alg": "HS256", "typ": "at+jwt", "jku": "https://example.com/keys"},
        {"alg": "HS256", "typ": "at+jwt", "jwk": {"kty": "oct", "k": "AA"}},
        {"alg": "HS256", "typ": "at+jwt", "crit": ["exp"], "exp": 1},
        {"alg": "HS256", "typ": "at+jwt", "b64": False, "crit": ["b64"]},
        [],
        None,
        1,
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 2900,
    ],
    ids=repr,
)
def test_a_header_other_than_ours_is_refused(header: object) -> None:
    refused(signed(make_claims(), header))


def test_an_unsigned_token_is_refused() -> None:
    refused(jwt.encode(make_claims(), None, "none", headers={"typ": "at+jwt"}))
    head, body, _ = signed(make_claims(), {"alg": "none", "typ": "at+jwt"}).split(".")
    refused(f"{head}.{body}.")


def test_another_secret_is_refused() -> None:
    refused(signed(make_claims(), secret=SECRET + "!"))


@pytest.mark.parametrize("claims", [b"", b"{", b"[]", b"1", b'"x"', b"null", b"\xff", b"[" * 2000])
def test_claims_that_are_no_object_are_refused(claims: bytes) -> None:
    refused(signed(claims))


def test_a_changed_character_anywhere_is_refused() -> None:
    token = signed(make_claims())
    for place, character in enumerate(token[:-1]):  # The last one carries two bits that mean nothing.
        refused(token[:place] + ("A" if character != "A" else "B") + token[place + 1 :])


def test_a_token_too_long_is_refused_though_it_is_signed() -> None:
    make_tokens().verify(signed(make_claims(note="x" * 2000)))
    refused(signed(make_claims(note="x" * 4000)))


@given(st.text(max_size=300) | st.text("ey.AZaz09-_=", max_size=300))
def test_any_text_is_refused(text: str) -> None:
    refused(text)


def test_a_short_secret_does_not_start() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        make_tokens("x" * 31)
    make_tokens("x" * 32)


@pytest.mark.parametrize(("tenant", "subject"), [("demo", ""), ("demo", "a b"), ("demo", "x" * 129), ("Demo", "42")])
def test_a_token_that_would_not_verify_is_not_issued(tenant: str, subject: str) -> None:
    with pytest.raises(ValueError, match="subject"):
        make_tokens().issue(TenantId(tenant), subject, {Scope.BUYER}, 60)


def test_a_remembered_token_is_forgotten_at_its_end() -> None:
    ours = make_tokens(leeway_seconds=0)
    token = ours.issue(DEMO, "42", {Scope.BUYER}, 2)
    assert ours.verify(token) is ours.verify(token), "the second look is answered from memory"
    time.sleep(2.05)
    with pytest.raises(Unauthorized):
        ours.verify(token)


def test_only_so_many_tokens_are_remembered() -> None:
    ours = make_tokens(remembered=3)
    issued = [ours.issue(DEMO, str(number), {Scope.BUYER}, 60) for number in range(5)]
    callers = [ours.verify(token) for token in issued]
    assert ours.verify(issued[4]) is callers[4]
    assert ours.verify(issued[0]) is not callers[0]
    assert ours.verify(issued[0]) == callers[0]


def test_an_unknown_scope_gives_nothing() -> None:
    assert make_tokens().verify(signed(make_claims(scope="root buyer *"))).scopes == {Scope.BUYER}
    assert make_tokens().verify(signed(make_claims(scope=""))).scopes == frozenset()
