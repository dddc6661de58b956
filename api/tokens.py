"""Our own access tokens: JWTs (RFC 7519) in the profile of RFC 9068, signed with HS256 and nothing else."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any

import jwt

from api import jws
from api.caller import SUBJECT, TENANT, Caller, CallerKind, Scope, kind_of, scopes_of
from api.jws import RefusedToken
from api.remembered import Remembered
from domain.ids import SessionId, TenantId

__all__ = ["ALGORITHM", "HEADER", "Caller", "CallerKind", "Scope", "Tokens"]

ALGORITHM = "HS256"
HEADER = {"alg": ALGORITHM, "typ": "at+jwt"}
"""RFC 9068: `typ` keeps other tokens of ours (refresh, release) from passing as access tokens."""
MIN_SECRET_BYTES = 32
_REQUIRED = ["iss", "aud", "sub", "tenant", "scope", "iat", "exp", "jti"]
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,40}")
_LOGIN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID = re.compile(r"[!-~]{1,128}")


class Tokens:
    """Issues access tokens and verifies them; remembers the ones it verified until they expire."""

    def __init__(
        self,
        secret: str,
        issuer: str,
        audience: str,
        *,
        previous: str | None = None,
        remembered: int = 10_000,
        leeway_seconds: int = jws.LEEWAY_SECONDS,
    ) -> None:
        """`previous`: a secret that still verifies, while it is replaced. `leeway_seconds`: clocks may be so far apart.

        Raises ValueError for a secret shorter than 32 bytes.
        """
        self._secrets = [secret.encode() for secret in (secret, previous) if secret is not None]
        if min(map(len, self._secrets)) < MIN_SECRET_BYTES:
            raise ValueError(f"the token secret must have at least {MIN_SECRET_BYTES} bytes")
        self._issuer, self._audience = issuer, audience
        self._expected = jws.Expected(issuer, audience, _REQUIRED, leeway_seconds)
        self._remembered = Remembered(remembered)

    def issue(
        self,
        tenant: TenantId,
        subject: str,
        scopes: Collection[Scope],
        seconds: int,
        *,
        sid: str = "",
        origin: SessionId | None = None,
    ) -> str:
        """A token for `subject` (1 to 128 visible ASCII characters) that lasts `seconds`, a year at most.

        Raises ValueError for another subject or a longer time.
        `sid`: the login it is of. `origin`: the anonymous session that this login took over.
        """
        more = {"sid": sid} if sid else {}
        return self._sign(tenant, subject, scopes, seconds, {**more, "origin": origin} if origin else more)

    def issue_session(self, tenant: TenantId, session: SessionId, seconds: int) -> str:
        """A token for an anonymous buyer."""
        return self._sign(tenant, session, {Scope.BUYER}, seconds, {"sid": session, "anonymous": True})

    def _sign(
        self, tenant: TenantId, subject: str, scopes: Collection[Scope], seconds: int, more: Mapping[str, Any]
    ) -> str:
        if not SUBJECT.fullmatch(subject) or not TENANT.fullmatch(tenant):
            raise ValueError("a token's subject must be 1 to 128 visible ASCII characters, its tenant a tenant id")
        if seconds > jws.MAX_LIFETIME_SECONDS:
            raise ValueError("a token lasts a year at most")
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
            **more,
        }
        return jwt.encode(claims, self._secrets[0], ALGORITHM, headers={"typ": HEADER["typ"]})

    def verify(self, token: str) -> Caller:
        """The caller. Raises RefusedToken, whose answer never says which rule was broken."""
        caller = self.remembered(token)
        if caller is None:
            caller = self._read(token)
            self._remembered.put(token, caller)
        return caller

    def remembered(self, token: str) -> Caller | None:
        """The caller of a token that was verified before and is not over."""
        return self._remembered.get(token)

    def _read(self, token: str) -> Caller:
        # Exactly ours: a `kid`, `jku`, `crit` or another type is a token of another kind.
        if jws.header_of(token) != HEADER:
            raise RefusedToken("header")
        return _caller(self._claims(token))

    def _claims(self, token: str) -> Mapping[str, Any]:
        *others, last = self._secrets
        for secret in others:
            try:
                return jws.claims_of(token, secret, ALGORITHM, self._expected)
            except RefusedToken as error:
                if error.rule != "signature":
                    raise
        return jws.claims_of(token, last, ALGORITHM, self._expected)


def _caller(claims: Mapping[str, Any]) -> Caller:
    subject, tenant, scope, sid = claims["sub"], claims["tenant"], claims["scope"], claims.get("sid", "")
    if not all(isinstance(claim, str) for claim in (subject, tenant, scope, sid, claims["jti"])):
        raise RefusedToken("claims")
    if not SUBJECT.fullmatch(subject) or not TENANT.fullmatch(tenant) or not _ID.fullmatch(claims["jti"]):
        raise RefusedToken("claims")
    scopes = scopes_of(scope.split())
    kind = _kind(claims, scopes)
    if kind is not CallerKind.SESSION and sid and not _LOGIN.fullmatch(sid):
        raise RefusedToken("claims")
    return Caller(TenantId(tenant), subject, scopes, claims["exp"], claims["jti"], kind, sid, _origin(claims, kind))


def _kind(claims: Mapping[str, Any], scopes: frozenset[Scope]) -> CallerKind:
    if "anonymous" not in claims:
        return kind_of(scopes)
    own = claims["anonymous"] is True and scopes == {Scope.BUYER} and claims.get("sid") == claims["sub"]
    if not own or not _SESSION.fullmatch(claims["sub"]):
        raise RefusedToken("claims")
    return CallerKind.SESSION


def _origin(claims: Mapping[str, Any], kind: CallerKind) -> SessionId | None:
    origin = claims.get("origin")
    if origin is None:
        return None
    if not isinstance(origin, str) or not _SESSION.fullmatch(origin) or kind is CallerKind.SESSION:
        raise RefusedToken("claims")
    return SessionId(origin)
