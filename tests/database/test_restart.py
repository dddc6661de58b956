"""The pool, when PostgreSQL is killed and comes back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from db import migrate
from db.database import Database
from domain.ids import TenantId
from tests.support import servers

DEMO = TenantId("demo")


async def test_the_pool_works_again_at_the_first_try_after_postgres_was_killed(server_folder: Path) -> None:
    server = servers.private_postgres(server_folder)
    await asyncio.to_thread(server.start)
    try:
        migrate.upgrade(server.url())
        db = Database(server.url())
        await db.open()
        try:
            await asyncio.gather(*(db.run(DEMO, ("SELECT pg_sleep(0.2)", {})) for _ in range(8)))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            began = time.monotonic()
            assert await db.run(DEMO, ("SELECT 1 AS one", {})) == [[{"one": 1}]]
            assert time.monotonic() - began < 1.0
        finally:
            await db.close()
    finally:
        await asyncio.to_thread(server.stop)
