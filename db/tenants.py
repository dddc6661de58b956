"""The tenants of an installation."""

from __future__ import annotations

import psycopg

from domain.ids import TenantId


async def every_tenant(admin_url: str) -> list[TenantId]:
    """All tenants, by id. Crosses tenants, so it takes the admin role's libpq URL."""
    async with await psycopg.AsyncConnection.connect(admin_url, connect_timeout=2) as connection:
        rows = await (await connection.execute("SELECT id FROM tenants ORDER BY id")).fetchall()
    return [TenantId(row[0]) for row in rows]
