"""Access tokens that are refused before their time, by their own id (jti) or by their login's or session's (sid)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.database import Database, Statement
from domain.ids import TenantId

MARGIN_SECONDS = 60
"""A revocation outlives its tokens by more than clocks may be apart and than verifying is lenient."""

REVOKE = """
    INSERT INTO revocations (tenant_id, id, reason, expires_at)
    VALUES (%(tenant)s, %(id)s, %(reason)s, to_timestamp(%(until)s) + make_interval(secs => %(margin)s))
    ON CONFLICT (tenant_id, id) DO UPDATE SET expires_at = greatest(revocations.expires_at, excluded.expires_at)
"""
STANDING = """
    SELECT clock_timestamp() AS now,
           EXISTS (SELECT FROM tenants WHERE id = %(tenant)s AND NOT disabled) AS tenant_exists
"""
ALL = """
    SELECT id FROM revocations WHERE tenant_id = %(tenant)s AND expires_at > clock_timestamp()
"""
NEWER = """
    SELECT id FROM revocations
    WHERE tenant_id = %(tenant)s AND revoked_at > %(since)s::timestamptz - make_interval(secs => %(overlap)s)
"""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was revoked at a tenant, as of `now` by the database's clock. A disabled tenant counts as none."""

    now: datetime
    tenant_exists: bool
    ids: frozenset[str]


def revoke_statement(tenant: TenantId, id_: str, reason: str, until: int) -> Statement:
    """The statement that revokes a jti or sid whose last token is over at `until`, in seconds since 1970.

    `reason`: a word for the log of revocations, such as `logout`. Repeating it changes nothing but a later `until`.
    """
    return REVOKE, {"tenant": tenant, "id": id_, "reason": reason, "until": until, "margin": MARGIN_SECONDS}


async def revoke(db: Database, tenant: TenantId, id_: str, reason: str, until: int) -> None:
    """Revoke one jti or sid, as `revoke_statement` says."""
    await db.run(tenant, revoke_statement(tenant, id_, reason, until))


async def all_revoked(db: Database, tenant: TenantId) -> Revoked:
    """Every revocation that is not over."""
    return await _read(db, tenant, (ALL, {"tenant": tenant}))


async def newly_revoked(db: Database, tenant: TenantId, since: datetime, overlap_seconds: float) -> Revoked:
    """The revocations since `since` (an earlier answer's `now`), and those of `overlap_seconds` before it.

    The overlap is for what was written before `since` and committed after it. It must be longer than any transaction.
    """
    return await _read(db, tenant, (NEWER, {"tenant": tenant, "since": since, "overlap": overlap_seconds}))


async def _read(db: Database, tenant: TenantId, which: Statement) -> Revoked:
    [[standing], rows] = await db.run(tenant, (STANDING, {"tenant": tenant}), which)
    return Revoked(standing["now"], standing["tenant_exists"], frozenset(row["id"] for row in rows))
