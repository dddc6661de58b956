"""Stream tokens: for a browser's EventSource, which can send no header. Each is good for one checkout's events only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jwt

from api import jws
from api.caller import SUBJECT, TENANT, Caller, CallerKind
from api.jws import RefusedToken
from api.models import as_checkout_id
from api.tokens import ALGORITHM, MIN_SECRET_BYTES
from domain.errors import NotFound
from domain.ids import CheckoutId, TenantId

HEADER = {"alg": ALGORITHM, "typ": "stream+jwt"}
"""Its own `typ`, and an audience of its own: it passes nowhere else, and no other token passes here."""
MAX_SECONDS = 900
_REQUIRED = ["iss", "aud", "sub", "tenant", "kind", "checkout", "iat", "exp", "jti"]


@dataclass(frozen=True, slots=True)
class StreamGrant:
    """Who may watch which checkout. The caller has no scopes: he is only good for being revoked."""

    caller: Caller
    checkout: CheckoutId


class StreamTokens:
    """Issues and verifies them, by the secrets that access tokens are signed with."""

    def __init__(self, secret: str, issuer: str, audience: str, *, previous: str | None = None) -> None:
        """`previous`: a secret that still verifies. Raises ValueError for a secret shorter than 32 bytes."""
        self._secrets = [one.encode() for one in (secret, previous) if one is not None]
        if min(map(len, self._secrets)) < MIN_SECRET_BYTES:
            raise ValueError(f"the token secret must have at least {MIN_SECRET_BYTES} bytes")
        self._issuer, self._audience = issuer, f"{audience}/events"
        self._expected = jws.Expected(issuer, self._audience, _REQUIRED)

    def issue(self, caller: Caller, checkout: CheckoutId) -> tuple[str, int]:
        """A token, and for how many seconds: as long as the access token that asks for it, 15 minutes at most.

        It is revoked with that access token and its login.
        """
        now = int(time.time())
        seconds = max(1, min(MAX_SECONDS, caller.expires_at - now))
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": caller.subject,
            "tenant": caller.tenant,
            "kind": caller.kind.value,
            "checkout": checkout,
            "iat": now,
            "exp": now + seconds,
            "jti": caller.jti,
            **({"sid": caller.sid} if caller.sid else {}),
        }
        return jwt.encode(claims, self._secrets[0], ALGORITHM, headers={"typ": HEADER["typ"]}), seconds

    def verify(self, token: str) -> StreamGrant:
        """Whom and what it is for. Raises RefusedToken."""
        if jws.header_of(token) != HEADER:
            raise RefusedToken("header")
        return _grant(self._claims(token))

    def _claims(self, token: str) -> Any:
        *others, last = self._secrets
        for secret in others:
            try:
                return jws.claims_of(token, secret, ALGORITHM, self._expected)
            except RefusedToken as error:
                if error.rule != "signature":
                    raise
        return jws.claims_of(token, last, ALGORITHM, self._expected)


def _grant(claims: Any) -> StreamGrant:
    subject, tenant, jti, sid = claims["sub"], claims["tenant"], claims["jti"], claims.get("sid", "")
    if not all(isinstance(one, str) for one in (subject, tenant, jti, sid, claims["kind"], claims["checkout"])):
        raise RefusedToken("claims")
    if not SUBJECT.fullmatch(subject) or not TENANT.fullmatch(tenant):
        raise RefusedToken("claims")
    try:
        kind, checkout = CallerKind(claims["kind"]), as_checkout_id(claims["checkout"])
    except (ValueError, NotFound):
        raise RefusedToken("claims") from None
    return StreamGrant(Caller(TenantId(tenant), subject, frozenset(), claims["exp"], jti, kind, sid), checkout)
