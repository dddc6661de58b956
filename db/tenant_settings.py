"""A tenant's settings, read and changed under its own row-level security. Cross-tenant work is db/tenant_admin.py.

A change locks the tenant's row only. Holds have their own copy of what they began with, so it never moves one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from db.audit import note
from db.database import Database, Statement, Transaction
from domain.errors import NotFound
from domain.ids import Actor, TenantId
from domain.tax import day_begins
from domain.tenant_settings import (
    FIELDS,
    TenantSettings,
    changed,
    difference,
    from_stored,
    require_class,
    require_known,
    stored,
)

READ = f"SELECT {', '.join(FIELDS)} FROM tenants WHERE id = %(tenant)s"
LOCK = READ + " FOR NO KEY UPDATE"
# For another currency: starts that go on at this moment lock the row too (their foreign key does), so that the next
# statement knows for certain whether there are checkouts. Not for every change: during an on-sale there is always one.
LOCK_AGAINST_STARTS = READ + " FOR UPDATE"
NAMES = """
    SELECT EXISTS (SELECT FROM checkouts WHERE tenant_id = %(tenant)s) AS has_checkouts,
           ARRAY(SELECT tax_class FROM products WHERE tenant_id = %(tenant)s AND tax_class IS NOT NULL
                 UNION SELECT tax_class FROM zones WHERE tenant_id = %(tenant)s AND tax_class IS NOT NULL) AS used,
           ARRAY(SELECT name FROM fiscal_series WHERE tenant_id = %(tenant)s) AS series
"""
"""What a change is held against, read once the row is locked: who gives a product a class locks it too."""
LOCK_CLASSES = READ + " FOR SHARE"
"""For who gives something a tax class: the classes stay as they are until he is done."""
_CLEAR_RATES = "DELETE FROM tax_rates WHERE tenant_id = %(tenant)s"
_ADD_RATES = """
    INSERT INTO tax_rates (tenant_id, tax_class, valid_from, starts_at, rate_basis_points, included)
    SELECT %(tenant)s, * FROM unnest(%(names)s::text[], %(days)s::date[], %(starts)s::timestamptz[],
                                     %(rates)s::integer[], %(included)s::boolean[])
"""


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
        rows, [names] = await transaction.read((lock_for(changes), values), (NAMES, values))
        if not rows:
            raise NotFound("There is no such tenant.")
        before = from_stored(rows[0])
        after = changed_to(before, changes, names)
        await transaction.commit(*writes(tenant, actor, before, after))
        return after

    return await db.transact(tenant, work)


async def check_class(transaction: Transaction, tenant: TenantId, tax_class: str | None) -> None:
    """Raise Invalid unless there is this tax class, or it is None. It stays until the transaction's end."""
    if tax_class is not None:
        [rows] = await transaction.read((LOCK_CLASSES, {"tenant": tenant}))
        require_class(from_stored(rows[0]), tax_class)


def changed_to(before: TenantSettings, changes: Mapping[str, Any], names: DictRow) -> TenantSettings:
    """The settings with these changes; `names`: the row of NAMES. Raises as `change_settings` does."""
    after = changed(before, changes, has_checkouts=names["has_checkouts"])
    require_known(after, used=names["used"], series=names["series"])
    return after


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
    rates = rate_rows(tenant, after) if became.keys() & {"tax_classes", "time_zone"} else []
    return [(update, {**row_values(became), "tenant": tenant}), *rates, noted]


def rate_rows(tenant: TenantId, settings: TenantSettings) -> list[Statement]:
    """The statements that keep the tax classes as a reserve looks them up. A day begins where the tenant is."""
    classes = settings.tax_classes
    values = {
        "tenant": tenant,
        "names": [one.name for one in classes],
        "days": [one.valid_from for one in classes],
        "starts": [day_begins(one.valid_from, settings.time_zone) for one in classes],
        "rates": [one.rate_basis_points for one in classes],
        "included": [one.included for one in classes],
    }
    return [(_CLEAR_RATES, values), (_ADD_RATES, values)]


def insert(tenant: TenantId, settings: TenantSettings) -> Statement:
    """The statement that adds a tenant; it does nothing when there is one of this id."""
    columns, places = ", ".join(FIELDS), ", ".join(f"%({name})s" for name in FIELDS)
    sql = f"INSERT INTO tenants (id, {columns}) VALUES (%(tenant)s, {places}) ON CONFLICT (id) DO NOTHING"
    return sql, {**row_values(stored(settings)), "tenant": tenant}


def row_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in the form of `stored`, as the driver takes them."""
    return {name: Jsonb(value) if name == "tax_classes" else value for name, value in given.items()}
