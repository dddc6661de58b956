"""Verification of webhooks by the Standard Webhooks specification (symmetric scheme, `v1`).

The `standardwebhooks` library signs correctly, but its `verify` reads its own clock, wants the body as text, takes
fractional timestamps and raises ValueError on a malformed header; so verifying is our own, tested against its signing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from domain.errors import InvalidSignature

TOLERANCE_SECONDS = 300
"""How far the sender's clock may be from ours, either way."""

_SECRET_PREFIX = "whsec_"  # noqa: S105  # The marker of a secret, not one.
_MESSAGE_ID = re.compile(r"[!-\-/-~]{1,200}")
"""Printable ASCII without the full stop, which would let one signature stand for another message (spec)."""
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_MAX_SIGNATURES = 16


class Verifier:
    """Checks signatures against any of several secrets, so that a secret can be replaced without losing a webhook."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """`secrets` are `whsec_` and base64 (the prefix may be missing). Raises ValueError for one that is not."""
        self._keys = [_key(secret) for secret in secrets]
        if not self._keys:
            raise ValueError("a webhook verifier needs at least one secret")

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The message's id (`webhook-id`), the same each time the message is sent.

        Raises InvalidSignature, and nothing else, for whatever does not verify.
        """
        message_id = _header(headers, "webhook-id", _MESSAGE_ID)
        timestamp = _header(headers, "webhook-timestamp", _TIMESTAMP)
        if abs(now.timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
            raise InvalidSignature
        signed = f"{message_id}.{timestamp}.".encode() + body
        if not self._any_matches(headers.get("webhook-signature", ""), signed):
            raise InvalidSignature
        return message_id

    def _any_matches(self, header: str, signed: bytes) -> bool:
        candidates = [c.encode("utf-8", "surrogatepass") for c in header.split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]]
        expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in self._keys]
        # The text is compared, not what it decodes to: base64 has several spellings of the same bytes.
        return any(hmac.compare_digest(mine, theirs) for mine in expected for theirs in candidates)


def verifier_from(text: str) -> Verifier:
    """From one secret, or several with spaces between them while one is being replaced.

    Raises ValueError, which does not show them, unless each has the 24 to 64 bytes that the specification asks for.
    """
    secrets = text.split()
    if any(not 24 <= len(_key(secret)) <= 64 for secret in secrets):
        raise ValueError("a webhook secret is whsec_ followed by the base64 of 24 to 64 bytes")
    return Verifier(secrets)


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(_SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("a webhook secret is whsec_ followed by base64")
    return key


def _header(headers: Mapping[str, str], name: str, shape: re.Pattern[str]) -> str:
    value = headers.get(name, "")
    if not shape.fullmatch(value):
        raise InvalidSignature
    return value
