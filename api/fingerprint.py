"""What makes two requests with one Idempotency-Key the same request."""

from __future__ import annotations

import base64
import hashlib
import json

from pydantic import BaseModel


def fingerprint(body: BaseModel) -> str:
    """SHA-256 of the body's canonical JSON: keys sorted, no spaces, defaults left out. 43 characters of base64url.

    A default that is written out is the same request, and a field that a later version adds changes no older request.
    Not hex, which is half as long again, and a run's history carries it three times.
    """
    said = body.model_dump(mode="json", exclude_defaults=True)
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(canonical.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def key_digest(key: str) -> str:
    """What is kept of an Idempotency-Key: 32 hex digits of its SHA-256. A client may put a name into its key."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]
