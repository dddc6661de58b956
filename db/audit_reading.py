"""Reading the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.database import Database
from domain.ids import Actor, CartId, TenantId

_PAGE = """
    SELECT id, at, actor, action, subject, before, after FROM audit_log
    WHERE tenant_id = %(tenant)s
      {filters}
    ORDER BY at DESC, id DESC LIMIT %(limit)s
"""
# Only what is asked for stands in the statement, so that it can be planned for the index that serves it.
_FILTERS = {
    "subject": "AND subject = %(subject)s",
    "actor": "AND actor = %(actor)s",
    "since": "AND at >= %(since)s",
    "until": "AND at < %(until)s",
    "before_at": "AND (at, id) < (%(before_at)s, %(before_id)s)",
}


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What somebody did: `before` and `after` are JSON of ids, amounts and states."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries: all that are given must hold. `since` is included, `until` is not."""

    cart: CartId | None = None
    actor: Actor | None = None
    since: datetime | None = None
    until: datetime | None = None


async def read_audit(
    db: Database, tenant: TenantId, wanted: AuditFilter, *, limit: int, before: tuple[datetime, int] | None = None
) -> list[AuditEntry]:
    """Newest first; `before` is (at, id) of the last entry of the page before."""
    before_at, before_id = before or (None, None)
    values = {
        "tenant": tenant,
        "subject": f"cart:{wanted.cart}" if wanted.cart else None,
        "actor": wanted.actor,
        "since": wanted.since,
        "until": wanted.until,
        "before_at": before_at,
        "before_id": before_id,
        "limit": limit,
    }
    filters = " ".join(sql for name, sql in _FILTERS.items() if values[name] is not None)
    [rows] = await db.run(tenant, (_PAGE.format(filters=filters), values))
    return [AuditEntry(**row) for row in rows]
