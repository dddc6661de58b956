"""Encryption of tenants' secrets: AES-256-GCM, by a ring of keys of which the first encrypts and all decrypt.

What is sealed opens only for the tenant and name that it was sealed for (they are its associated data), so that a row
moved or copied to another tenant is of no use there. A nonce is 96 random bits: fit for 2^32 secrets under one key.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.ids import TenantId

KEY_BYTES = 32
_NONCE_BYTES = 12
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_RULE = "a key ring is id:key,id:key with ids of letters, digits, . _ - and keys of 32 bytes in base64"


class Unreadable(Exception):
    """A secret that none of the ring's keys opens. Says which key it needs, and nothing of the secret."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is stored: the nonce, and after it what AES-GCM made."""

    ciphertext: bytes
    key_id: str


class KeyRing:
    """The keys of an installation. Shows nothing of them but their ids."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """(id, key) of each, the one that encrypts first. Raises ValueError for none, or two of one id."""
        if not keys or len(dict(keys)) != len(keys):
            raise ValueError(_RULE + ", each id once")
        self._keys = {key_id: AESGCM(key) for key_id, key in keys}
        self.first = keys[0][0]
        """The id of the key that encrypts."""

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """From `k2:<base64>,k1:<base64>`. Raises ValueError, which never shows what it was given."""
        return cls([_key(part.strip()) for part in text.split(",")])

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    def seal(self, tenant: TenantId, name: str, secret: str) -> Sealed:
        """Encrypt with the first key."""
        nonce = os.urandom(_NONCE_BYTES)
        data = _associated(tenant, name, self.first)
        return Sealed(nonce + self._keys[self.first].encrypt(nonce, secret.encode(), data), self.first)

    def open(self, tenant: TenantId, name: str, sealed: Sealed) -> str:
        """The secret. Raises Unreadable without its key, or when it was sealed for another tenant or name."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise Unreadable(f"its key {sealed.key_id!r} is not in the key ring")
        nonce, text = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        try:
            return key.decrypt(nonce, text, _associated(tenant, name, sealed.key_id)).decode()
        except (InvalidTag, ValueError):
            raise Unreadable(f"it does not open with key {sealed.key_id!r}") from None


def _associated(tenant: TenantId, name: str, key_id: str) -> bytes:
    """None of the parts can contain the separator."""
    return "\x1f".join(("holdfast tenant secret 1", key_id, tenant, name)).encode()


def _key(part: str) -> tuple[str, bytes]:
    key_id, _, encoded = part.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not _KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES:
        raise ValueError(_RULE) from None
    return key_id, key
