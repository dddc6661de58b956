"""Our own access tokens: JWTs (RFC 7519) in the profile of RFC 9068, signed with HS256 and nothing else."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt

from api import jws
from api.jws import RefusedToken
from domain.ids import Actor, BuyerKey, SessionId, TenantId, session_key

ALGORITHM = "HS256"
HEADER = {"alg": ALGORITHM, "typ": "at+jwt"}
"""RFC 9068: `typ` keeps other tokens of ours (refresh, release) from passing as access tokens."""
MIN_SECRET_BYTES = 32
_REQUIRED = ["iss", "aud", "sub", "tenant", "scope", "iat", "exp", "jti"]
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SUBJECT = re.compile(r"[!-~]{1,128}")
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,40}")
_LOGIN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID = re.compile(r"[!-~]{1,128}")


class Scope(StrEnum):
    """What a token may do."""

    BUYER = "buyer"
    SERVICE = "service"
    ADMIN = "admin"
    OPERATOR = "operator"


class CallerKind(StrEnum):
    """Whom a token stands for: somebody who logged in, a program, or an anonymous buyer."""

    USER = "user"
    SERVICE = "service"
    SESSION = "session"


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes among these names; a name that is none gives nothing."""
    return frozenset(Scope(name) for name in names if name in _SCOPES)


def kind_of(scopes: Collection[Scope]) -> CallerKind:
    """Of a token that is not an anonymous buyer's."""
    return CallerKind.SERVICE if Scope.SERVICE in scopes else CallerKind.USER


def buyer_key(kind: CallerKind, subject: str) -> BuyerKey:
    """In whose name carts, checkouts and orders are."""
    return BuyerKey(f"{kind}:{subject}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as a verified token says. `expires_at` in seconds since 1970."""

    tenant: TenantId
    subject: str
    scopes: frozenset[Scope]
    expires_at: int
    jti: str = ""
    """The token's own id."""
    kind: CallerKind = CallerKind.USER
    sid: str = ""
    """The login or session that the token is of; empty for a program's token."""
    origin: SessionId | None = None
    """The anonymous session that this login took over."""

    @property
    def buyer_key(self) -> BuyerKey:
        """Whose carts, checkouts and orders these are: a user's or session's own, or all that a service started."""
        return buyer_key(self.kind, self.subject)

    @property
    def key_scope(self) -> BuyerKey:
        """In whose name Idempotency-Keys are: still the session's after its login, so that a repeat finds its hold."""
        return session_key(self.origin) if self.origin else self.buyer_key

    @property
    def actor(self) -> Actor:
        """How the audit log names the caller."""
        return Actor(self.buyer_key)


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
        self._remembered, self._known = remembered, OrderedDict[bytes, Caller]()

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
        """A token for `subject` (1 to 128 visible ASCII characters) that lasts `seconds`. Else raises ValueError.

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
            **more,
        }
        return jwt.encode(claims, self._secrets[0], ALGORITHM, headers={"typ": HEADER["typ"]})

    def verify(self, token: str) -> Caller:
        """The caller. Raises RefusedToken, whose answer never says which rule was broken."""
        caller = self.remembered(token)
        if caller is None:
            caller = self._read(token)
            self._remember(token, caller)
        return caller

    def remembered(self, token: str) -> Caller | None:
        """The caller of a token that was verified before and is not over."""
        digest = _digest(token)
        caller = self._known.get(digest)
        if caller is None or caller.expires_at <= time.time():
            return None
        self._known.move_to_end(digest)
        return caller

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

    def _remember(self, token: str, caller: Caller) -> None:
        self._known[_digest(token)] = caller
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _caller(claims: Mapping[str, Any]) -> Caller:
    subject, tenant, scope, sid = claims["sub"], claims["tenant"], claims["scope"], claims.get("sid", "")
    if not all(isinstance(claim, str) for claim in (subject, tenant, scope, sid, claims["jti"])):
        raise RefusedToken("claims")
    if not _SUBJECT.fullmatch(subject) or not _TENANT.fullmatch(tenant) or not _ID.fullmatch(claims["jti"]):
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


_SCOPES = frozenset(Scope)
