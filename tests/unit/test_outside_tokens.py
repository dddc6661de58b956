"""An outside issuer's tokens: what its keys signed for us is good, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from api.caller import CallerKind, Scope
from api.issuers import OutsideConfig, OutsideIssuer
from api.jws import LEEWAY_SECONDS, MAX_LIFETIME_SECONDS, RefusedToken
from domain.errors import Unauthorized
from tests.support.issuer import AUDIENCE, ISSUER, KeyPair, Published, make_key, outside_claims

KEYS = {name: make_key(name, kid=name.lower()) for name in ("ES256", "EdDSA", "RS256")}
ELLIPTIC = KEYS["ES256"]
SCOPES = {"buyer": Scope.BUYER, "shop:service": Scope.SERVICE, "shop:admin": Scope.ADMIN}


def make_issuer(*keys: dict[str, Any], **changes: Any) -> OutsideIssuer:
    """An issuer that publishes these keys, else one of each algorithm."""
    published = Published(list(keys) or [pair.jwk() for pair in KEYS.values()])

    def answer(_: httpx.Request) -> httpx.Response:
        status, body, headers = published.answer()
        return httpx.Response(status, content=body, headers=headers)

    config: dict[str, Any] = {
        "issuer": ISSUER, "audience": AUDIENCE, "jwks_url": "https://issuer.example.com/keys",
        "algorithms": ("ES256", "EdDSA", "RS256"), "types": ("at+jwt",), "tenant_claim": "tenant",
        "scope_claim": "scope", "scopes": SCOPES,
    }  # fmt: skip
    return OutsideIssuer(
        OutsideConfig(**{**config, **changes}), httpx.AsyncClient(transport=httpx.MockTransport(answer))
    )


async def refused(token: str, rule: str | None = None, issuer: OutsideIssuer | None = None) -> None:
    with pytest.raises(RefusedToken) as error:
        await (issuer or make_issuer()).verify(token)
    assert error.value.detail == Unauthorized.title, "the answer must not say which rule was broken"
    assert rule is None or error.value.rule == rule


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_token_of_each_algorithm_names_its_caller(algorithm: str) -> None:
    caller = await make_issuer().verify(KEYS[algorithm].sign(outside_claims()))
    assert (caller.tenant, caller.kind) == ("demo", CallerKind.USER)
    assert caller.scopes == {Scope.BUYER}
    assert (caller.sid, caller.origin) == ("", None)


async def test_a_subject_stands_nowhere_in_clear_and_is_another_at_another_issuer() -> None:
    claims = outside_claims()
    caller = await make_issuer().verify(ELLIPTIC.sign(claims))
    digest = hashlib.sha256(f"{ISSUER}\x1fana@example.com".encode()).hexdigest()
    assert caller.buyer_key == f"user:x-{digest}"
    assert "ana" not in repr(caller)
    elsewhere = make_issuer(issuer="https://another.example.com/")
    other = await elsewhere.verify(ELLIPTIC.sign({**claims, "iss": "https://another.example.com/"}))
    assert other.buyer_key != caller.buyer_key


async def test_a_token_id_is_never_one_of_ours_and_the_same_for_the_same_token() -> None:
    named = await make_issuer().verify(ELLIPTIC.sign(outside_claims(jti="00000000-0000-4000-8000-000000000000")))
    assert named.jti.startswith("xj-")
    assert "0000-4000" not in named.jti
    token = ELLIPTIC.sign(outside_claims(jti=None))
    head, _, signature = token.rpartition(".")
    # ECDSA: (r, n - s) is a good signature too, which anybody can make of (r, s). It must not be another token.
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    flipped = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = f"{head}.{base64.urlsafe_b64encode(flipped).rstrip(b'=').decode()}"
    one, two = await make_issuer().verify(token), await make_issuer().verify(twin)
    assert one.jti == two.jti
    assert one.jti.startswith("xt-")


@pytest.mark.parametrize(
    ("given_scopes", "expected"),
    [
        ("buyer shop:admin openid", {Scope.BUYER, Scope.ADMIN}),
        (["shop:service"], {Scope.SERVICE}),
        ("admin operator service", set()),
        ("", set()),
        (None, set()),
    ],
)
async def test_only_the_scopes_that_are_mapped_give_something(given_scopes: Any, expected: set[Scope]) -> None:
    caller = await make_issuer().verify(ELLIPTIC.sign(outside_claims(scope=given_scopes)))
    assert caller.scopes == expected
    assert (caller.kind is CallerKind.SERVICE) == (Scope.SERVICE in expected)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "iat", "exp", "tenant"])
async def test_every_claim_must_be_there(name: str) -> None:
    await refused(ELLIPTIC.sign(outside_claims(**{name: None})))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iss", ISSUER.rstrip("/")),
        ("iss", [ISSUER]),
        ("aud", "another"),
        ("aud", []),
        ("aud", 7),
        ("sub", ""),
        ("sub", 7),
        ("sub", "x" * 256),
        ("sub", None),
        ("tenant", "Demo"),
        ("tenant", "a b"),
        ("tenant", ["demo"]),
        ("scope", 7),
        ("scope", [7]),
        ("scope", {"buyer": True}),
        ("jti", 7),
        ("jti", ""),
        ("jti", "x" * 256),
        ("exp", 0),
        ("exp", True),
        ("exp", time.time() + 100.5),
        ("exp", "9999999999"),
        ("exp", 2**62),
        ("exp", int(time.time()) + MAX_LIFETIME_SECONDS + 3600),
        ("exp", int(time.time()) - LEEWAY_SECONDS - 1),
        ("iat", int(time.time()) + 3600),
        ("iat", time.time() - 0.5),
        ("nbf", int(time.time()) + 3600),
        ("nbf", "now"),
    ],
    ids=itertools.count(),  # Not the values, which are others each time.
)
async def test_every_claim_must_be_right(name: str, value: object) -> None:
    claims = outside_claims()
    claims[name] = value
    await refused(forged(claims))


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": ["ES256"]},
        {"alg": {}},
        {"alg": None},
        {"typ": "JWT"},
        {"typ": None},
        {"typ": 7},
        {"typ": "id+jwt"},
        {"kid": None},
        {"kid": ""},
        {"kid": 7},
        {"kid": ["es256"]},
        {"kid": "unknown"},
        {"kid": "../../dev/null"},
        {"kid": "rs256"},
        {"jku": "https://evil.example.com/keys"},
        {"jwk": ELLIPTIC.jwk()},
        {"x5u": "https://evil.example.com/cert"},
        {"x5c": ["AA"]},
        {"crit": ["exp"]},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
    ],
    ids=lambda header: str(list(header)) if "jwk" in header else repr(header),  # Its key is another each time.
)
async def test_a_header_that_is_not_as_it_should_be_is_refused(changes: dict[str, Any]) -> None:
    header = {"alg": "ES256", "typ": "at+jwt", "kid": "es256", **changes}
    await refused(forged(outside_claims(), {name: value for name, value in header.items() if value is not None}))


async def test_the_test_forge_makes_good_tokens() -> None:
    assert (await make_issuer().verify(forged(outside_claims()))).tenant == "demo"


async def test_a_public_key_is_not_taken_for_a_shared_secret() -> None:
    for pair in KEYS.values():
        public = pair.private.public_key()
        for secret in (
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            json.dumps(pair.jwk()).encode(),
        ):
            text = encoded({"alg": "HS256", "typ": "at+jwt", "kid": pair.kid}, outside_claims())
            await refused(f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}", "header")


async def test_a_symmetric_key_in_the_set_verifies_nothing() -> None:
    secret = b"s" * 32
    shared = {"kty": "oct", "kid": "shared", "k": b64(secret), "alg": "HS256"}
    text = encoded({"alg": "HS256", "typ": "at+jwt", "kid": "shared"}, outside_claims())
    token = f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"
    await refused(token, "header", make_issuer(shared, ELLIPTIC.jwk()))


async def test_an_unsigned_token_is_refused() -> None:
    text = encoded({"alg": "ES256", "typ": "at+jwt", "kid": "es256"}, outside_claims())
    await refused(f"{text}.", "signature")
    await refused(jwt.encode(outside_claims(), "", "none", headers={"typ": "at+jwt", "kid": "es256"}), "header")


async def test_another_key_of_the_same_name_is_refused() -> None:
    for name in KEYS:
        await refused(make_key(name, kid=name.lower()).sign(outside_claims()), "signature")


@pytest.mark.parametrize("payload", ['{"tenant":"other",', '{"exp":99999999999,', '{"sub":"eva",'])
async def test_a_claim_given_twice_is_refused(payload: str) -> None:
    doubled = payload + json.dumps(outside_claims())[1:]
    await refused(signed_text(b64(doubled.encode())), "form")


async def test_an_algorithm_that_is_not_allowed_here_is_refused() -> None:
    only_rsa = make_issuer(algorithms=("RS256",))
    assert not only_rsa.speaks({"alg": "ES256"})
    await refused(ELLIPTIC.sign(outside_claims()), "header", only_rsa)
    assert (await only_rsa.verify(KEYS["RS256"].sign(outside_claims()))).tenant == "demo"


@pytest.mark.parametrize("algorithm", ["HS256", "none", [], {}, None, 7])
async def test_only_public_key_algorithms_are_the_issuers(algorithm: object) -> None:
    assert not make_issuer().speaks({"alg": algorithm})


@pytest.mark.parametrize("kind", ["AT+JWT", "application/at+jwt", "Application/AT+jwt"])
async def test_the_type_is_read_as_a_media_type(kind: str) -> None:
    assert (await make_issuer().verify(ELLIPTIC.sign(outside_claims(), typ=kind))).tenant == "demo"


@given(st.text(max_size=300) | st.text("ey.AZaz09-_=", max_size=300))
@settings(max_examples=200, deadline=None)
async def test_any_text_is_refused(text: str) -> None:
    await refused(text)


@pytest.mark.parametrize("claims", [b"", b"{", b"[]", b"1", b"null", b"\xff", b"[" * 2000, b'{"a":' * 500 + b"1"])
async def test_claims_that_are_no_object_are_refused(claims: bytes) -> None:
    await refused(signed_text(b64(claims)))


async def test_a_token_that_is_very_long_is_refused_unread() -> None:
    await refused(ELLIPTIC.sign(outside_claims(note="x" * 4000)), "form")


def forged(claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """A token with any header and claims, signed by the good key whatever they say."""
    return signed_text(b64(json.dumps(claims).encode()), header)


def signed_text(payload: str, header: dict[str, Any] | None = None, pair: KeyPair = ELLIPTIC) -> str:
    header = header or {"alg": "ES256", "typ": "at+jwt", "kid": "es256"}
    text = f"{b64(json.dumps(header).encode())}.{payload}"
    return f"{text}.{b64(jwt.get_algorithm_by_name('ES256').sign(text.encode(), pair.private))}"


def encoded(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
