"""Refresh tokens: opaque, random, and kept as a hash only. They carry the tenant, so that no host name is needed."""

from __future__ import annotations

import hashlib
import re
import secrets

from domain.ids import TenantId

_FORM = re.compile(r"hfr\.([a-z0-9][a-z0-9-]{0,39})\.[A-Za-z0-9_-]{43}")
"""`hfr`, so that whoever looks for leaked secrets can find them; the tenant; 256 random bits."""


def new_refresh_token(tenant: TenantId) -> str:
    """A token that nobody can guess."""
    return f"hfr.{tenant}.{secrets.token_urlsafe(32)}"


def tenant_of(token: str) -> TenantId | None:
    """The tenant that the token names; None when it has not the form of one."""
    match = _FORM.fullmatch(token)
    return TenantId(match.group(1)) if match else None


def digest(token: str) -> bytes:
    """What is stored. A plain SHA-256 is enough: with 256 random bits there is nothing to try."""
    return hashlib.sha256(token.encode()).digest()
