"""A tenant's settings, read and changed under its own row-level security. Cross-tenant work is db/tenant_admin.py.

A change locks the tenant's row only. Holds have their own copy of what they began with, so it never moves one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from db.audit import note
from db.database import Database, Statement, Transaction
from domain.errors import NotFound
from domain.ids import Actor, TenantId
from domain.tenant_settings import FIELDS, TenantSettings, changed, difference, from_stored, stored

READ = f"SELECT {', '.join(FIELDS)} FROM tenants WHERE id = %(tenant)s"
LOCK = READ + " FOR NO KEY UPDATE"
# For another currency: starts that go on at this moment lock the row too (their foreign key does), so that the next
# statement knows for certain whether there are checkouts. Not for every change: during an on-sale there is always one.
LOCK_AGAINST_STARTS = READ + " FOR UPDATE"
HAS_CHECKOUTS = "SELECT EXISTS (SELECT FROM checkouts WHERE tenant_id = %(tenant)s) AS found"


async def read_settings(db: Database, tenant: TenantId) -> TenantSettings:
    """The settings as they are now. Raises NotFound when there is no such tenant."""
    [rows] = await db.run(tenant, (READ, {"tenant": tenant}))
    if not rows:
        raise NotFound("There is no such tenant.")
    return from_stored(rows[0])


async def change_settings(db: Database, tenant: TenantId, actor: Actor, changes: Mapping[str, Any]) -> TenantSettings:
    """Change what is named in `changes` (the form of `domain.tenant_settings.stored`); all settings, as they are then.

    Noted in the audit log in the same transaction, unless nothing differs. Raises NotFound; and Invalid and
    CurrencyInUse as `domain.tenant_settings.changed` does.
    """

    async def work(transaction: Transaction) -> TenantSettings:
        values = {"tenant": tenant}
        rows, [checkouts] = await transaction.read((lock_for(changes), values), (HAS_CHECKOUTS, values))
        if not rows:
            raise NotFound("There is no such tenant.")
        before = from_stored(rows[0])
        after = changed(before, changes, has_checkouts=checkouts["found"])
        await transaction.commit(*writes(tenant, actor, before, after))
        return after

    return await db.transact(tenant, work)


def lock_for(changes: Mapping[str, Any]) -> str:
    """What locks the tenant's row for these changes."""
    return LOCK_AGAINST_STARTS if "currency" in changes else LOCK


def writes(tenant: TenantId, actor: Actor, before: TenantSettings, after: TenantSettings) -> list[Statement]:
    """The statements that change the row and note it; none when nothing differs."""
    was, became = difference(before, after)
    if not became:
        return []
    columns = ", ".join(f"{name} = %({name})s" for name in became)
    update = f"UPDATE tenants SET {columns} WHERE id = %(tenant)s"
    noted = note(tenant, actor, "tenant.changed", f"tenant:{tenant}", was, became)
    return [(update, {**row_values(became), "tenant": tenant}), noted]


def insert(tenant: TenantId, settings: TenantSettings) -> Statement:
    """The statement that adds a tenant; it does nothing when there is one of this id."""
    columns, places = ", ".join(FIELDS), ", ".join(f"%({name})s" for name in FIELDS)
    sql = f"INSERT INTO tenants (id, {columns}) VALUES (%(tenant)s, {places}) ON CONFLICT (id) DO NOTHING"
    return sql, {**row_values(stored(settings)), "tenant": tenant}


def row_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in the form of `stored`, as the driver takes them."""
    return {name: Jsonb(value) if name == "tax_classes" else value for name, value in given.items()}
