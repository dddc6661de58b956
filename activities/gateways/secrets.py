"""Tenants' own secrets for those who use them: opened once, kept for a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from structlog import stdlib

from db.database import Database
from db.keyring import KeyRing, Unreadable
from db.tenant_secrets import read_secret
from domain.errors import Unavailable
from domain.ids import TenantId

_log = stdlib.get_logger("secrets")
FRESH_SECONDS = 3.0
"""How long another process's change may go unnoticed."""
MOST = 10_000
"""How many are kept, also of names that there is no secret of: a webhook's address can name any tenant."""


class Secrets(Protocol):
    """Where a tenant's own secrets come from."""

    async def get(self, tenant: TenantId, name: str) -> str | None:
        """The secret, None when the tenant has none. Raises Unavailable when that cannot be known."""
        ...


@dataclass
class _Kept:
    secret: str | None = field(default=None, repr=False)
    read_at: float = float("-inf")
    flight: asyncio.Lock = field(default_factory=asyncio.Lock)


class TenantSecrets:
    """What this process has read of tenants' secrets."""

    def __init__(self, db: Database, ring: KeyRing, clock: Callable[[], float] = time.monotonic) -> None:
        self._db, self._ring, self._clock = db, ring, clock
        self._kept: OrderedDict[tuple[TenantId, str], _Kept] = OrderedDict()

    async def get(self, tenant: TenantId, name: str) -> str | None:
        """See Secrets. A secret that no key of the ring opens is Unavailable, and told in the log: what the
        installation has itself must not stand in for it."""
        kept = self._kept.setdefault((tenant, name), _Kept())
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        async with kept.flight:  # One reads, the others wait for it.
            if self._clock() - kept.read_at >= FRESH_SECONDS:
                now = self._clock()
                kept.secret = await self._read(tenant, name)
                kept.read_at = now
            return kept.secret

    def forget(self, tenant: TenantId, name: str) -> None:
        """It was changed in this process: the next `get` reads it anew."""
        self._kept.pop((tenant, name), None)

    async def _read(self, tenant: TenantId, name: str) -> str | None:
        try:
            return await read_secret(self._db, tenant, self._ring, name)
        except Unreadable as error:
            _log.error("secret_unreadable", tenant=tenant, name=name, why=str(error))
            raise Unavailable("A secret of this shop cannot be read now; send the same request again.") from None
