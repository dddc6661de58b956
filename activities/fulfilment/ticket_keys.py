"""The keys that sign tickets (Ed25519, RFC 8032): a ring of which the first signs, and every one verifies.

To verify, the public keys are enough: whoever stands at the door needs no secret, no network and no database.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.ticket_token import BadToken, Ticket, payload_of, read_payload, signed_part, split_token, token_of

KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_RULE = "keys are id:key,id:key with ids of letters, digits, . _ - (each once), and keys of 32 bytes in base64"


class TicketVerifier:
    """Verifies tickets by public keys alone."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    @classmethod
    def parse(cls, text: str) -> TicketVerifier:
        """From `k2:<base64>,k1:<base64>`, as `TicketKeys.public` gives it. Raises ValueError."""
        return cls({key_id: Ed25519PublicKey.from_public_bytes(raw) for key_id, raw in _parsed(text).items()})

    def verify(self, token: str) -> Ticket:
        """What the ticket says. Raises BadToken for one that is not ours, or was changed."""
        payload, signature = split_token(token)
        key_id, ticket = read_payload(payload)
        key = self._keys.get(key_id)
        if key is None:
            raise BadToken(f"it was signed with a key {key_id!r} that is not known here")
        try:
            key.verify(signature, signed_part(payload))
        except InvalidSignature:
            raise BadToken("its signature is not good") from None
        return ticket


class TicketKeys:
    """Signs tickets. Shows nothing of its keys but their ids."""

    def __init__(self, keys: Mapping[str, Ed25519PrivateKey]) -> None:
        """The first one signs. Raises ValueError for none."""
        if not keys:
            raise ValueError(_RULE)
        self._keys = dict(keys)
        self.first = next(iter(self._keys))

    @classmethod
    def parse(cls, text: str) -> TicketKeys:
        """From `k2:<base64>,k1:<base64>`. Raises ValueError, which never shows what it was given."""
        return cls({key_id: Ed25519PrivateKey.from_private_bytes(raw) for key_id, raw in _parsed(text).items()})

    def __repr__(self) -> str:
        return f"TicketKeys({', '.join(self._keys)})"

    def token(self, ticket: Ticket) -> str:
        """The ticket's token. The same ticket always gives the same one."""
        payload = payload_of(ticket, self.first)
        return token_of(payload, self._keys[self.first].sign(signed_part(payload)))

    def verifier(self) -> TicketVerifier:
        """What verifies the tickets of all these keys."""
        return TicketVerifier({key_id: key.public_key() for key_id, key in self._keys.items()})

    def public(self) -> str:
        """The public keys, as `TicketVerifier.parse` takes them."""
        return ",".join(
            f"{key_id}:{base64.b64encode(key.public_key().public_bytes_raw()).decode()}"
            for key_id, key in self._keys.items()
        )


def _parsed(text: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(","):
        key_id, _, encoded = part.strip().partition(":")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if not _KEY_ID.fullmatch(key_id) or len(raw) != KEY_BYTES or key_id in found:
            raise ValueError(_RULE) from None
        found[key_id] = raw
    return found
