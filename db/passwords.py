"""Password hashes: Argon2id with the parameters of RFC 9106's second recommendation (64 MiB, 3 passes)."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


def hash_password(password: str) -> str:
    """The encoded hash, with a new salt. Takes tens of milliseconds of processor time."""
    return PasswordHasher().hash(password)


def password_matches(stored: str, password: str) -> bool:
    """Whether `password` is the one. False, too, for a stored value that is no hash. As slow as `hash_password`."""
    try:
        return PasswordHasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
