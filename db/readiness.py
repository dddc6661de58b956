"""Whether the database has the schema that this code was written for."""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic.script import ScriptDirectory

from db.database import Database
from domain.ids import TenantId


def newest_revision() -> str | None:
    """The newest migration there is. Reads files: call it once."""
    return ScriptDirectory(str(Path(__file__).parent / "migrations")).get_current_head()


async def applied_revision(db: Database, tenant: TenantId) -> str | None:
    """The newest migration that was applied, None before the first. Raises Unavailable."""
    try:
        [rows] = await db.run(tenant, ("SELECT version_num FROM alembic_version", {}))
    except psycopg.errors.UndefinedTable:
        return None
    return str(rows[0]["version_num"]) if rows else None
