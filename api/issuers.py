"""Access tokens of an outside issuer, verified by its public keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from api import jws
from api.caller import TENANT, Caller, Scope, kind_of
from api.jwks import KeySet
from api.jws import RefusedToken
from api.remembered import Remembered
from domain.ids import TenantId

_REQUIRED = ("iss", "aud", "sub", "iat", "exp")
_REFUSED_HEADERS = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "enc"})
"""Headers that bring keys of their own, or ask for what we do not do."""
_MOST_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class OutsideConfig:
    """What an outside issuer is trusted for.

    `types`: accepted `typ` headers. `tenant_claim`: the claim that names the tenant. `scope_claim`: a text with spaces
    between, or a list. `scopes`: which of ours each of its scopes gives; others give nothing.
    """

    issuer: str
    audience: str
    jwks_url: str
    algorithms: tuple[str, ...]
    types: tuple[str, ...]
    tenant_claim: str
    scope_claim: str
    scopes: Mapping[str, Scope]


class OutsideIssuer:
    """Verifies the tokens of one outside issuer."""

    def __init__(self, config: OutsideConfig, http: httpx.AsyncClient) -> None:
        self._config = config
        self._remembered = Remembered()
        self._keys = KeySet(config.jwks_url, config.algorithms, http, changed=self._remembered.clear)
        self._expected = jws.Expected(config.issuer, config.audience, _REQUIRED)
        self._types = {_type(name) for name in config.types}

    def speaks(self, header: Mapping[str, Any]) -> bool:
        """Whether a token with this header could be this issuer's: signed with a private key, as ours never are."""
        return header.get("alg") in self._config.algorithms

    async def verify(self, token: str) -> Caller:
        """The caller. Raises RefusedToken, or Unavailable when the issuer's keys cannot be had."""
        self._keys.refresh()
        caller = self._remembered.get(token)
        if caller is None:
            caller = await self._read(token)
            self._remembered.put(token, caller)
        return caller

    def remembers(self, token: str) -> bool:
        """Whether it was verified before, by the keys of now, and its time is not over."""
        return self._remembered.get(token) is not None

    async def close(self) -> None:
        """Stop fetching keys."""
        await self._keys.close()

    async def _read(self, token: str) -> Caller:
        header = jws.header_of(token)
        kid, algorithm, kind = header.get("kid"), header.get("alg"), header.get("typ")
        if _REFUSED_HEADERS & header.keys() or algorithm not in self._config.algorithms:
            raise RefusedToken("header")
        if not isinstance(kind, str) or _type(kind) not in self._types:
            raise RefusedToken("type")
        if not isinstance(kid, str) or not kid:
            raise RefusedToken("unknown_key")
        key = await self._keys.key(kid, str(algorithm))
        return self._caller(token, jws.claims_of(token, key, str(algorithm), self._expected))

    def _caller(self, token: str, claims: Mapping[str, Any]) -> Caller:
        subject, tenant = claims["sub"], claims.get(self._config.tenant_claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_CHARACTERS:
            raise RefusedToken("claims")
        if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
            raise RefusedToken("tenant")
        scopes = self._scopes(claims.get(self._config.scope_claim, ""))
        named = f"x-{self._digest(subject)}"
        return Caller(TenantId(tenant), named, scopes, claims["exp"], self._token_id(token, claims), kind_of(scopes))

    def _scopes(self, given: object) -> frozenset[Scope]:
        names = given.split() if isinstance(given, str) else given
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise RefusedToken("claims")
        return frozenset(self._config.scopes[name] for name in names if name in self._config.scopes)

    def _token_id(self, token: str, claims: Mapping[str, Any]) -> str:
        """By what the token is revoked: never an id of ours, or its issuer could revoke our tokens.

        Without a `jti`, the signed part of the token; not its signature, which others can change without breaking it.
        """
        jti = claims.get("jti")
        if jti is None:
            return f"xt-{self._digest(token.rpartition('.')[0])}"
        if not isinstance(jti, str) or not 0 < len(jti) <= _MOST_CHARACTERS:
            raise RefusedToken("claims")
        return f"xj-{self._digest(jti)}"

    def _digest(self, text: str) -> str:
        """Of the issuer and a text of its own. Subjects are often names or e-mails: they stand nowhere in clear."""
        return hashlib.sha256(f"{self._config.issuer}\x1f{text}".encode(errors="replace")).hexdigest()


def _type(name: str) -> str:
    """`at+jwt` and `application/at+jwt`, in any case, are the same (RFC 7515, 4.1.9)."""
    return name.lower().removeprefix("application/")
