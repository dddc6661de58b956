"""An outside issuer of access tokens: key pairs, signed tokens, and a real HTTP server that publishes its keys."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from fastapi import FastAPI, Response

from tests.support.api import serving

ISSUER = "https://issuer.example.com/"
AUDIENCE = "the-shop"


@dataclass(frozen=True)
class KeyPair:
    """A private key with a name."""

    kid: str
    algorithm: str
    private: Any

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key as the set publishes it; `changes`: members to replace, None to leave out."""
        maker = jwt.get_algorithm_by_name(self.algorithm)
        public = maker.to_jwk(self.private.public_key(), as_dict=True)
        jwk = {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm, **changes}
        return {name: value for name, value in jwk.items() if value is not None}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token; `header`: members to replace."""
        return jwt.encode(claims, self.private, self.algorithm, headers={"typ": "at+jwt", "kid": self.kid, **header})


def make_key(algorithm: str, kid: str | None = None, *, bits: int = 2048) -> KeyPair:
    """A new key pair."""
    kid = kid or uuid.uuid4().hex[:8]
    if algorithm == "RS256":
        return KeyPair(kid, algorithm, rsa.generate_private_key(65537, bits))
    if algorithm == "ES256":
        return KeyPair(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))
    return KeyPair(kid, algorithm, ed25519.Ed25519PrivateKey.generate())


def outside_claims(**changes: Any) -> dict[str, Any]:
    """Good claims; `changes`: claims to replace, None to leave out."""
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ana@example.com", "tenant": "demo", "scope": "buyer openid", "iat": now,
        "exp": now + 300, "jti": uuid.uuid4().hex,
    } | changes  # fmt: skip
    return {name: value for name, value in claims.items() if value is not None}


@dataclass
class Published:
    """What the issuer's server answers with, and how often it was asked."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    asked: int = 0
    body: bytes | None = None
    """Instead of the set."""
    location: str | None = None

    def answer(self) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of the next answer."""
        self.asked += 1
        headers = {"location": self.location} if self.location else {}
        return self.status, json.dumps({"keys": self.keys}).encode() if self.body is None else self.body, headers


@asynccontextmanager
async def running_issuer(published: Published) -> AsyncIterator[str]:
    """Serve the key set over HTTP; its address."""
    app = FastAPI()

    @app.get("/keys")
    async def keys() -> Response:
        status, body, headers = published.answer()
        return Response(body, status, headers, "application/json")

    async with serving(app) as http:
        yield f"{http.base_url}/keys"
