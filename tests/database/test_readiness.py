"""Knowing whether the schema is the one the code was written for."""

from __future__ import annotations

import asyncio

from db import migrate
from db.database import Database
from db.readiness import applied_revision, newest_revision
from domain.ids import TenantId

DEMO = TenantId("demo")


async def test_a_migrated_database_is_at_the_newest_revision_and_an_empty_one_at_none(
    db: Database, database_url: str
) -> None:
    assert newest_revision() is not None
    assert await applied_revision(db, DEMO) == newest_revision()
    await asyncio.to_thread(migrate.downgrade, database_url, "base")
    assert await applied_revision(db, DEMO) is None
    await asyncio.to_thread(migrate.upgrade, database_url)
    assert await applied_revision(db, DEMO) == newest_revision()
