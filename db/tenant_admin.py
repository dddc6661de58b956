"""Tenants as an installation's operators see them: create, list, change, and seal their secrets anew.

Crosses tenants, and sets what the application may not, so it takes the admin role's libpq URL. For the command line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from db.audit import note
from db.database import Statement
from db.hook_secrets import reseal_hooks
from db.keyring import KeyRing, Sealed, Unreadable
from db.tenant_secrets import SecretName
from db.tenant_settings import NAMES, READ, changed_to, insert, lock_for, rate_rows, writes
from domain.errors import Conflict, NotFound
from domain.ids import Actor, TenantId
from domain.tenant_settings import (
    FIELDS,
    TenantSettings,
    checked,
    from_stored,
    require_known,
    require_tenant_id,
    stored,
)

Connection = psycopg.AsyncConnection[DictRow]
_OPTIONS = "-c lock_timeout=3000 -c statement_timeout=10000 -c timezone=UTC"
_LIST = f"SELECT id, {', '.join(FIELDS)} FROM tenants ORDER BY id"
_NAMES = "SELECT name, updated_at FROM tenant_secrets WHERE tenant_id = %(tenant)s ORDER BY name"
_TO_ROTATE = "SELECT tenant_id, name FROM tenant_secrets WHERE key_id <> %(first)s ORDER BY tenant_id, name"
_LOCK_TO_ROTATE = """
    SELECT ciphertext, key_id FROM tenant_secrets
    WHERE tenant_id = %(tenant)s AND name = %(name)s AND key_id <> %(first)s FOR UPDATE
"""
_RESEAL = """
    UPDATE tenant_secrets SET ciphertext = %(ciphertext)s, key_id = %(key_id)s
    WHERE tenant_id = %(tenant)s AND name = %(name)s
"""


@dataclass(frozen=True, slots=True)
class Rotated:
    """How many secrets were sealed anew, and which could not be opened: (tenant, name, why)."""

    resealed: int
    unreadable: Sequence[tuple[TenantId, str, str]]


async def create_tenant(admin_url: str, tenant: TenantId, actor: Actor, settings: TenantSettings) -> None:
    """Add a tenant. Raises Invalid for a bad id or setting, Conflict when there is one of this id."""
    require_tenant_id(tenant)
    require_known(checked(settings), used=(), series=())
    async with _connected(admin_url) as connection, connection.transaction():
        if (await _run(connection, insert(tenant, settings))).rowcount == 0:
            raise Conflict(f"There is a tenant {tenant!r} already.")
        for statement in rate_rows(tenant, settings):
            await _run(connection, statement)
        await _run(connection, note(tenant, actor, "tenant.created", f"tenant:{tenant}", after=stored(settings)))


async def list_tenants(admin_url: str) -> list[tuple[TenantId, TenantSettings]]:
    """Every tenant, by id."""
    async with _connected(admin_url) as connection:
        rows = await (await connection.execute(_LIST)).fetchall()
    return [(TenantId(row["id"]), from_stored(row)) for row in rows]


async def show_tenant(admin_url: str, tenant: TenantId) -> tuple[TenantSettings, list[SecretName]]:
    """One tenant's settings, and the names of its secrets. Raises NotFound."""
    async with _connected(admin_url) as connection:
        settings = await _one(connection, tenant, READ)
        rows = await (await _run(connection, (_NAMES, {"tenant": tenant}))).fetchall()
    return settings, [SecretName(row["name"], row["updated_at"]) for row in rows]


async def change_tenant(admin_url: str, tenant: TenantId, actor: Actor, changes: Mapping[str, Any]) -> TenantSettings:
    """As db.tenant_settings.change_settings, and may change `disabled` too."""
    async with _connected(admin_url) as connection, connection.transaction():
        before = await _one(connection, tenant, lock_for(changes))
        [names] = await (await _run(connection, (NAMES, {"tenant": tenant}))).fetchall()
        after = changed_to(before, changes, names)
        for statement in writes(tenant, actor, before, after):
            await _run(connection, statement)
    return after


async def rotate_secrets(admin_url: str, actor: Actor, ring: KeyRing) -> Rotated:
    """Seal every secret by the ring's first key that is sealed by another one. Repeating it does what is left.

    Each in a transaction of its own: those that cannot be opened keep nobody else back.
    """
    resealed, unreadable = 0, []
    async with _connected(admin_url) as connection:
        rows = await (await _run(connection, (_TO_ROTATE, {"first": ring.first}))).fetchall()
        for row in rows:
            tenant, name = TenantId(row["tenant_id"]), row["name"]
            try:
                resealed += await _reseal(connection, tenant, name, actor, ring)
            except Unreadable as error:
                unreadable.append((tenant, name, str(error)))
        hooks, unreadable_hooks = await reseal_hooks(connection, ring)
    return Rotated(resealed + hooks, [*unreadable, *unreadable_hooks])


async def _reseal(connection: Connection, tenant: TenantId, name: str, actor: Actor, ring: KeyRing) -> int:
    values = {"tenant": tenant, "name": name, "first": ring.first}
    async with connection.transaction():
        row = await (await _run(connection, (_LOCK_TO_ROTATE, values))).fetchone()
        if row is None:  # Set anew, or deleted, since it was listed.
            return 0
        old = Sealed(bytes(row["ciphertext"]), row["key_id"])
        new = ring.seal(tenant, name, ring.open(tenant, name, old))
        await _run(connection, (_RESEAL, {**values, "ciphertext": new.ciphertext, "key_id": new.key_id}))
        was, became = {"key_id": old.key_id}, {"key_id": new.key_id}
        await _run(connection, note(tenant, actor, "secret.rotated", f"secret:{name}", was, became))
    return 1


async def _one(connection: Connection, tenant: TenantId, sql: str) -> TenantSettings:
    row = await (await _run(connection, (sql, {"tenant": tenant}))).fetchone()
    if row is None:
        raise NotFound(f"There is no tenant {tenant!r}.")
    return from_stored(row)


async def _run(connection: Connection, statement: Statement) -> psycopg.AsyncCursor[DictRow]:
    return await connection.execute(*statement)


@asynccontextmanager
async def _connected(admin_url: str) -> AsyncIterator[Connection]:
    """An autocommit connection of the admin role."""
    async with await psycopg.AsyncConnection[DictRow].connect(
        admin_url, autocommit=True, row_factory=dict_row, connect_timeout=2, options=_OPTIONS
    ) as connection:
        yield connection
