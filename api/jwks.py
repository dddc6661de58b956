"""The public keys of an outside issuer (JWK set, RFC 7517): fetched when needed, and followed without a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import httpx
import jwt
from structlog import stdlib

from api import strict_json
from api.jws import RefusedToken
from domain.errors import BadJson, Unavailable

FETCH_SECONDS = 3.0
"""The whole of one fetch, whatever the issuer does."""
MAX_BYTES = 64 * 1024
FRESH_SECONDS = 300.0
"""How long a key that the issuer takes back goes on: then the set is fetched anew, while requests go on."""
COOLDOWN_SECONDS = 10.0
"""The least time between two fetches, whoever sends tokens with unknown keys."""
KEEP_SECONDS = 3600.0
"""How long the known keys go on while the issuer cannot be reached."""
_KINDS: Mapping[tuple[str, str | None], str] = {
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
    ("RSA", None): "RS256",
}
"""Key type and curve → the one algorithm that we verify with it."""
ALGORITHMS = tuple(_KINDS.values())
MIN_RSA_BITS = 2048
_MAX_KEYS = 100
_log = stdlib.get_logger("security")
KeyName = tuple[str, str]
"""`kid` and algorithm."""


class KeySet:
    """The issuer's keys, as of the last fetch."""

    def __init__(
        self,
        url: str,
        algorithms: Collection[str],
        http: httpx.AsyncClient,
        *,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`algorithms`: those of ALGORITHMS that are allowed. `changed` is called when the issuer changed its keys."""
        self._url, self._algorithms, self._http = url, frozenset(algorithms), http
        self._changed, self._clock = changed, clock
        self._keys: dict[KeyName, Any] = {}
        self._published: object = None
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str, algorithm: str) -> Any:
        """The key of this name. An unknown one is looked for at the issuer, but not too often.

        Raises RefusedToken when the issuer has no such key, Unavailable when the issuer cannot be asked.
        """
        self.refresh()
        if (kid, algorithm) not in self._keys:
            await self._look_again()
        if self._clock() - self._fetched_at > KEEP_SECONDS:
            raise Unavailable("The token's issuer cannot be reached; send the same request again.", retry_after=10)
        key = self._keys.get((kid, algorithm))
        if key is None:
            raise RefusedToken("unknown_key")
        return key

    def refresh(self) -> None:
        """Begin to fetch the set anew when it is not fresh. Nobody waits for it."""
        if self._clock() - self._fetched_at >= FRESH_SECONDS:
            self._begin()

    async def close(self) -> None:
        """Stop fetching."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def _look_again(self) -> None:
        self._begin()
        if self._fetching is not None and not self._fetching.done():
            await asyncio.wait([self._fetching])  # Unlike awaiting it, this leaves it alone when the request is over.

    def _begin(self) -> None:
        busy = self._fetching is not None and not self._fetching.done()
        if not busy and self._clock() - self._tried_at >= COOLDOWN_SECONDS:
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                document = strict_json.parse(await self._get())
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, BadJson, _BadAnswer) as error:
            _log.warning("keys_not_fetched", why=type(error).__name__)
            return
        keys = usable_keys(document, self._algorithms)
        self._fetched_at = self._clock()
        if document != self._published:
            self._keys, self._published = keys, document
            self._changed()
            _log.info("keys_changed", keys=len(keys))

    async def _get(self) -> bytes:
        async with self._http.stream("GET", self._url, follow_redirects=False, timeout=FETCH_SECONDS) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _BadAnswer
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise _BadAnswer
            return body


class _BadAnswer(Exception):
    """Not 200, or too long."""


def usable_keys(document: object, algorithms: Collection[str]) -> dict[KeyName, Any]:
    """The keys of a JWK set that may verify signatures, by `kid` and algorithm; all others are passed over.

    Passed over: keys without `kid`, for another use or algorithm, of other types or curves, symmetric or private ones,
    RSA keys under 2048 bits, and the second of two with one name.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    keys: dict[KeyName, Any] = {}
    for jwk in listed[:_MAX_KEYS] if isinstance(listed, list) else ():
        algorithm = _algorithm_of(jwk) if isinstance(jwk, dict) else None
        key = _load(jwk, algorithm) if algorithm in algorithms else None
        if key is not None and algorithm is not None:
            keys.setdefault((jwk["kid"], algorithm), key)
    return keys


def _algorithm_of(jwk: Mapping[str, Any]) -> str | None:
    """What the key verifies, if it is a public key that says it is for that, and has a name."""
    kty, crv, kid = jwk.get("kty"), jwk.get("crv"), jwk.get("kid")
    if not isinstance(kid, str) or not kid or not isinstance(kty, str) or not isinstance(crv, str | None):
        return None
    algorithm = _KINDS.get((kty, crv))
    operations = jwk.get("key_ops", ["verify"])
    fits = jwk.get("alg", algorithm) == algorithm and jwk.get("use", "sig") == "sig"
    public = "d" not in jwk and isinstance(operations, list) and "verify" in operations
    return algorithm if fits and public else None


def _load(jwk: Mapping[str, Any], algorithm: str | None) -> Any:
    try:
        key = jwt.PyJWK.from_dict(dict(jwk), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return None if getattr(key, "key_size", MIN_RSA_BITS) < MIN_RSA_BITS and algorithm == "RS256" else key
