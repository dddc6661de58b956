"""Access tokens: what is issued verifies, and nothing else does."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import refresh_tokens, tokens
from api.jws import LEEWAY_SECONDS, MAX_LIFETIME_SECONDS, RefusedToken
from api.tokens import CallerKind, Scope, Tokens
from domain.errors import Unauthorized
from domain.ids import SessionId, TenantId

SECRET = "a secret of more than thirty-two bytes"
DEMO = TenantId("demo")
SESSION = SessionId("u7Qm2n5cV0kX9bT4wYhR6sEaQdGiKoLz")
LOGIN = "00000000-0000-4000-8000-000000000000"


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
    refused(jwt.encode(make_claims(), "", "none", headers={"typ": "at+jwt"}))
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


def test_a_session_token_is_an_anonymous_buyers() -> None:
    caller = make_tokens().verify(make_tokens().issue_session(DEMO, SESSION, 60))
    assert (caller.kind, caller.subject, caller.sid) == (CallerKind.SESSION, SESSION, SESSION)
    assert caller.scopes == {Scope.BUYER}
    assert (caller.buyer_key, caller.key_scope, caller.actor) == (f"session:{SESSION}",) * 3


def test_a_login_carries_its_id_and_the_session_it_took_over() -> None:
    caller = make_tokens().verify(make_tokens().issue(DEMO, "42", {Scope.BUYER}, 60, sid=LOGIN, origin=SESSION))
    assert (caller.kind, caller.sid, caller.origin) == (CallerKind.USER, LOGIN, SESSION)
    assert (caller.buyer_key, caller.actor) == ("user:42", "user:42")
    assert caller.key_scope == f"session:{SESSION}", "a start that is repeated after the login finds the session's hold"


def test_every_token_has_an_id_of_its_own() -> None:
    ids = {make_tokens().verify(make_tokens().issue(DEMO, "42", {Scope.BUYER}, 60)).jti for _ in range(50)}
    assert len(ids) == 50


@pytest.mark.parametrize(
    "changes",
    [
        {"anonymous": True},
        {"anonymous": True, "sid": "another"},
        {"anonymous": True, "sid": "42", "scope": "buyer admin"},
        {"anonymous": True, "sid": "42", "scope": ""},
        {"anonymous": False, "sid": "42"},
        {"anonymous": 1, "sid": "42"},
        {"anonymous": None, "sid": "42"},
        {"anonymous": True, "sid": "x" * 41, "sub": "x" * 41},
        {"anonymous": True, "sid": "a.b", "sub": "a.b"},
        {"anonymous": True, "sid": "42", "origin": "s"},
        {"sid": 42},
        {"sid": "42"},
        {"sid": SESSION},
        {"origin": 42},
        {"origin": ""},
        {"origin": "x" * 41},
        {"origin": ["s"]},
    ],
    ids=repr,
)
def test_a_session_or_login_that_is_not_whole_is_refused(changes: dict[str, Any]) -> None:
    refused(signed({**make_claims(), **changes}))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value", [lambda now: now + 0.5, lambda now: float(now), lambda now: True, lambda now: str(now)]
)
def test_times_are_whole_seconds(name: str, value: Callable[[int], object]) -> None:
    later = {"exp": 60}.get(name, -60)
    refused(signed(make_claims(**{name: value(int(time.time()) + later)})))


@pytest.mark.parametrize(
    "doubled", ['{"tenant":"other",', '{"exp":99999999999,', '{"scope":"admin",', '{"tenant":"demo",']
)
def test_a_claim_given_twice_is_refused(doubled: str) -> None:
    refused(signed((doubled + json.dumps(make_claims())[1:]).encode()))


def test_a_header_given_twice_is_refused() -> None:
    refused(signed(make_claims(), b'{"alg":"none","alg":"HS256","typ":"at+jwt"}'))


def test_a_token_that_would_live_longer_than_a_year_is_refused_and_not_issued() -> None:
    refused(signed(make_claims(exp=int(time.time()) + MAX_LIFETIME_SECONDS + 60)))
    refused(signed(make_claims(exp=2**62)))
    with pytest.raises(ValueError, match="a year"):
        make_tokens().issue(DEMO, "42", {Scope.BUYER}, MAX_LIFETIME_SECONDS + 1)


def test_refresh_tokens_do_not_pass_as_access_tokens_nor_the_other_way_round() -> None:
    refused(refresh_tokens.new_refresh_token(DEMO))
    assert refresh_tokens.tenant_of(make_tokens().issue(DEMO, "42", {Scope.BUYER}, 60)) is None


def test_a_refresh_token_names_its_tenant_and_is_unlike_any_other() -> None:
    made = {refresh_tokens.new_refresh_token(DEMO) for _ in range(100)}
    assert len(made) == 100
    assert {refresh_tokens.tenant_of(token) for token in made} == {DEMO}
    assert len({refresh_tokens.digest(token) for token in made}) == 100


@given(st.text(max_size=100) | st.text("hfr.demo-_Aa0", max_size=100))
def test_any_other_text_is_no_refresh_token(text: str) -> None:
    assert refresh_tokens.tenant_of(text) is None


def test_the_previous_secret_still_verifies_and_the_new_one_signs() -> None:
    old, new = make_tokens("the old secret, which is to be replaced"), make_tokens(previous=SECRET + "x")
    both = make_tokens("the new secret, which replaces the old one", previous="the old secret, which is to be replaced")
    token = old.issue(DEMO, "42", {Scope.BUYER}, 60)
    assert both.verify(token).subject == "42"
    for stranger in (make_tokens("the new secret, which replaces the old one"), new):
        with pytest.raises(Unauthorized):
            stranger.verify(token)
    with pytest.raises(Unauthorized):
        old.verify(both.issue(DEMO, "42", {Scope.BUYER}, 60))
    with pytest.raises(RefusedToken) as error:
        both.verify(old.issue(DEMO, "42", {Scope.BUYER}, -60))
    assert error.value.rule == "expired"
    with pytest.raises(ValueError, match="32 bytes"):
        make_tokens(previous="x" * 31)


@pytest.mark.parametrize(
    ("token", "rule"),
    [
        (lambda: "x", "form"),
        (lambda: signed(make_claims(), {"alg": "none", "typ": "at+jwt"}), "header"),
        (lambda: signed(make_claims(), secret=SECRET + "!"), "signature"),
        (lambda: signed(make_claims(exp=1)), "expired"),
        (lambda: signed(make_claims(nbf=9_999_999_999)), "not_yet"),
        (lambda: signed(make_claims(aud="x")), "audience"),
        (lambda: signed(make_claims(iss="x")), "issuer"),
        (lambda: signed(make_claims(jti=None)), "claims"),
        (lambda: signed(make_claims(exp=9_999_999_999)), "lifetime"),
    ],
)
def test_the_log_is_told_which_rule_was_broken(token: Callable[[], str], rule: str) -> None:
    with pytest.raises(RefusedToken) as error:
        make_tokens().verify(token())
    assert error.value.rule == rule
