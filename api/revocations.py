"""Which tokens are revoked, without asking the database at each request.

Each process keeps the revoked ids of the tenants that call it, and reads what is new when what it knows is older than a
second. So a revocation works in the process that made it at once, in any other within a second. When the database
cannot be asked, what is known goes on for some seconds; then requests are refused (503): a revoked token must not come
back to life because a database is down.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from api.caller import Caller
from api.jws import RefusedToken
from db.database import TRANSACTION_TIMEOUT_MS, Database
from db.revocations import Revoked, all_revoked, newly_revoked
from domain.errors import Unavailable
from domain.ids import TenantId

FRESH_SECONDS = 1.0
"""How long another process's revocation may go unnoticed."""
GRACE_SECONDS = 5.0
"""How old what is known may become while the database cannot be asked."""
ALL_ANEW_SECONDS = 300.0
"""How often everything is read again: forgets what is over, and forgives a database whose clock was set back."""
OVERLAP_SECONDS = 3 * TRANSACTION_TIMEOUT_MS / 1000
"""A revocation is stamped before it is committed, so one from before the last look may appear after it."""
MOST_TENANTS = 10_000


@dataclass
class _Known:
    """One tenant's revocations. Times are this process's monotonic clock, except `since`, the database's."""

    ids: set[str] = field(default_factory=set)
    exists: bool = False
    since: datetime | None = None
    read_at: float = float("-inf")
    all_read_at: float = float("-inf")
    tried_at: float = float("-inf")
    flight: asyncio.Lock = field(default_factory=asyncio.Lock)


class Revocations:
    """What this process knows to be revoked."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._db, self._clock = db, clock
        self._tenants: OrderedDict[TenantId, _Known] = OrderedDict()

    async def check(self, caller: Caller) -> None:
        """Raise RefusedToken when the caller's token, login or session is revoked, or its tenant is none.

        Raises Unavailable when that cannot be known.
        """
        known = self._tenants.get(caller.tenant)
        if known is None or self._clock() - known.read_at >= FRESH_SECONDS:
            known = await self._fresh(caller.tenant)
        if caller.jti in known.ids or caller.sid in known.ids:
            raise RefusedToken("revoked")
        if not known.exists:
            raise RefusedToken("tenant")

    def add(self, tenant: TenantId, revoked: str) -> None:
        """This process has revoked a jti or sid: it refuses it from now on."""
        self._of(tenant).ids.add(revoked)

    def _of(self, tenant: TenantId) -> _Known:
        known = self._tenants.setdefault(tenant, _Known())
        if len(self._tenants) > MOST_TENANTS:
            self._tenants.popitem(last=False)
        return known

    async def _fresh(self, tenant: TenantId) -> _Known:
        """What is known, brought up to date by one request while the others wait for it."""
        known = self._of(tenant)
        async with known.flight:
            now = self._clock()
            if now - known.read_at < FRESH_SECONDS:
                return known
            if now - known.tried_at >= FRESH_SECONDS:
                await self._read(tenant, known, now)
            if self._clock() - known.read_at > GRACE_SECONDS:
                raise Unavailable("Whether the token is revoked cannot be known now; send the same request again.")
        return known

    async def _read(self, tenant: TenantId, known: _Known, now: float) -> None:
        try:
            if known.since is None or now - known.all_read_at >= ALL_ANEW_SECONDS:
                own = set(known.ids)
                revoked = await all_revoked(self._db, tenant)
                known.ids, known.all_read_at = {*revoked.ids, *(known.ids - own)}, now
            else:
                revoked = await newly_revoked(self._db, tenant, known.since, OVERLAP_SECONDS)
                known.ids |= revoked.ids
        except Unavailable:
            known.tried_at = self._clock()
            return
        _note(known, revoked, now)


def _note(known: _Known, revoked: Revoked, now: float) -> None:
    known.since, known.exists, known.read_at = revoked.now, revoked.tenant_exists, now
