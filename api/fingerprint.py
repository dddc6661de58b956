"""What makes two requests with one Idempotency-Key the same request."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel


def fingerprint(body: BaseModel) -> str:
    """SHA-256, in hex, of the body's canonical JSON: keys sorted, no spaces, defaults filled in."""
    canonical = json.dumps(body.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def key_digest(key: str) -> str:
    """What is kept of an Idempotency-Key: 32 hex digits of its SHA-256. A client may put a name into its key."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]
