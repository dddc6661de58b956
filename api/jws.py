"""Reading signed tokens strictly (RFC 7515, 7519): what is left open there, and what was ever a way in, is refused."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from api import strict_json
from domain.errors import BadJson, Unauthorized

MAX_TOKEN_BYTES = 4096
LEEWAY_SECONDS = 5
"""How far clocks may be apart."""
MAX_LIFETIME_SECONDS = 366 * 86_400
"""A token that lives longer is refused: its revocation would have to be kept as long."""
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_TIMES = ("exp", "iat", "nbf")
_RULES: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not_yet",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidIssuerError: "issuer",
    jwt.MissingRequiredClaimError: "claims",
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidAlgorithmError: "algorithm",
    jwt.InvalidKeyError: "key",
}
_UNREADABLE = (jwt.PyJWTError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a hostile token can raise inside the library."""


class RefusedToken(Unauthorized):
    """A token that is not good. `rule` says which rule it broke: for the security log, never for the answer."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token's claims must be, beyond being signed."""

    issuer: str
    audience: str
    required: Sequence[str]
    leeway_seconds: int = LEEWAY_SECONDS


def header_of(token: str) -> Mapping[str, Any]:
    """The header, not verified yet. Raises RefusedToken for what is no token, or too long to be looked at."""
    if len(token) > MAX_TOKEN_BYTES or not _FORM.fullmatch(token):
        raise RefusedToken("form")
    return _object(token.split(".", 1)[0])


def claims_of(token: str, key: Any, algorithm: str, expected: Expected) -> Mapping[str, Any]:
    """The claims of a token that this key signed, that is in time, and from and for whom it should be.

    `expected.required` must name `exp`. Raises RefusedToken. Call `header_of` before.
    """
    try:
        jwt.decode(
            token,
            key,
            [algorithm],
            options={"require": list(expected.required), "enforce_minimum_key_length": True},
            audience=expected.audience,
            issuer=expected.issuer,
            leeway=expected.leeway_seconds,
        )
    except _UNREADABLE as error:
        raise RefusedToken(_RULES.get(type(error), "form")) from None
    claims = _object(token.split(".")[1])
    # Whole seconds only: RFC 7519 would allow fractions, and `true` is a number to some.
    if any(type(claims.get(name, 0)) is not int for name in _TIMES):
        raise RefusedToken("claims")
    if claims["exp"] > time.time() + MAX_LIFETIME_SECONDS + expected.leeway_seconds:
        raise RefusedToken("lifetime")
    return claims


def _object(part: str) -> Mapping[str, Any]:
    """A JSON object, base64url-encoded; a name given twice is refused, because readers differ on which counts."""
    try:
        value = strict_json.parse(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (BadJson, ValueError):
        raise RefusedToken("form") from None
    if not isinstance(value, dict):
        raise RefusedToken("form")
    return value
