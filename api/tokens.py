"""Access tokens: JWTs (RFC 7519) in the profile of RFC 9068, signed with HS256 and nothing else."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt

from domain.errors import Unauthorized
from domain.ids import BuyerKey, TenantId

ALGORITHM = "HS256"
HEADER = {"alg": ALGORITHM, "typ": "at+jwt"}
"""RFC 9068: `typ` keeps other tokens of ours (refresh, release) from passing as access tokens."""
MAX_TOKEN_BYTES = 4096
MIN_SECRET_BYTES = 32
LEEWAY_SECONDS = 5
_REQUIRED = ["iss", "aud", "sub", "tenant", "scope", "iat", "exp", "jti"]
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SUBJECT = re.compile(r"[!-~]{1,128}")
_UNREADABLE = (jwt.PyJWTError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a hostile token can raise inside the library."""


class Scope(StrEnum):
    """What a token may do."""

    BUYER = "buyer"
    SERVICE = "service"
    ADMIN = "admin"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as a verified token says. `expires_at` in seconds since 1970."""

    tenant: TenantId
    subject: str
    scopes: frozenset[Scope]
    expires_at: int

    @property
    def buyer_key(self) -> BuyerKey:
        """Whose checkouts these are: a user's own, or all that a service started."""
        kind = "service" if Scope.SERVICE in self.scopes else "user"
        return BuyerKey(f"{kind}:{self.subject}")


class Tokens:
    """Issues access tokens and verifies them; remembers the ones it verified until they expire."""

    def __init__(
        self,
        secret: str,
        issuer: str,
        audience: str,
        *,
        remembered: int = 10_000,
        leeway_seconds: int = LEEWAY_SECONDS,
    ) -> None:
        """`leeway_seconds`: how far clocks may be apart. Raises ValueError for a secret shorter than 32 bytes."""
        self._secret = secret.encode()
        if len(self._secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the token secret must have at least {MIN_SECRET_BYTES} bytes")
        self._issuer, self._audience, self._leeway = issuer, audience, leeway_seconds
        self._remembered, self._known = remembered, OrderedDict[bytes, Caller]()

    def issue(self, tenant: TenantId, subject: str, scopes: Collection[Scope], seconds: int) -> str:
        """A token for `subject` (1 to 128 visible ASCII characters) that lasts `seconds`. Else raises ValueError."""
        if not _SUBJECT.fullmatch(subject) or not _TENANT.fullmatch(tenant):
            raise ValueError("a token's subject must be 1 to 128 visible ASCII characters, its tenant a tenant id")
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "tenant": tenant,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": now + seconds,
            "jti": uuid.uuid4().hex,
        }
        return jwt.encode(claims, self._secret, ALGORITHM, headers={"typ": HEADER["typ"]})

    def verify(self, token: str) -> Caller:
        """The caller. Raises Unauthorized, which never says which rule was broken."""
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise Unauthorized
        digest = hashlib.sha256(token.encode()).digest()
        caller = self._known.get(digest)
        if caller is None or caller.expires_at <= time.time():
            caller = self._read(token)
            self._remember(digest, caller)
        self._known.move_to_end(digest)
        return caller

    def _read(self, token: str) -> Caller:
        try:
            read = jwt.decode_complete(
                token,
                self._secret,
                [ALGORITHM],
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
            )
        except _UNREADABLE:
            raise Unauthorized from None
        # Exactly ours: a `kid`, `jku`, `crit` or another type is a token of another kind.
        if read["header"] != HEADER:
            raise Unauthorized
        return _caller(read["payload"])

    def _remember(self, digest: bytes, caller: Caller) -> None:
        self._known[digest] = caller
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)


def _caller(claims: Mapping[str, Any]) -> Caller:
    subject, tenant, scope, expires_at = claims["sub"], claims["tenant"], claims["scope"], claims["exp"]
    if not all(isinstance(claim, str) for claim in (subject, tenant, scope, claims["jti"])):
        raise Unauthorized
    if type(expires_at) is not int or not _SUBJECT.fullmatch(subject) or not _TENANT.fullmatch(tenant):
        raise Unauthorized
    scopes = frozenset(Scope(name) for name in scope.split() if name in _SCOPES)
    return Caller(TenantId(tenant), subject, scopes, expires_at)


_SCOPES = frozenset(Scope)
