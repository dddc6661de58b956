"""Users, and the tenant they log in to: reading for login."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from db.database import Database
from domain.ids import TenantId


@dataclass(frozen=True, slots=True)
class Account:
    """A user who may log in."""

    id: UUID
    password_hash: str
    scopes: frozenset[str]


async def tenant_exists(db: Database, tenant: TenantId) -> bool:
    """Whether there is such a tenant."""
    [rows] = await db.run(tenant, ("SELECT 1 FROM tenants WHERE id = %(tenant)s", {"tenant": tenant}))
    return bool(rows)


async def find_account(db: Database, tenant: TenantId, name: str) -> Account | None:
    """The user with this name, or e-mail when there is an @ in it, whatever the case; None too when disabled."""
    column = "email_key" if "@" in name else "username_key"
    sql = f"""
        SELECT id, password_hash, scopes FROM users
        WHERE tenant_id = %(tenant)s AND {column} = lower(%(name)s) AND disabled_at IS NULL
          AND NOT (SELECT disabled FROM tenants WHERE id = %(tenant)s)
    """
    [rows] = await db.run(tenant, (sql, {"tenant": tenant, "name": name}))
    return Account(rows[0]["id"], rows[0]["password_hash"], frozenset(rows[0]["scopes"])) if rows else None
