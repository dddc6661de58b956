"""Waiting for those who may not have seen yet what was written."""

from __future__ import annotations

import asyncio
import time

from db.database import TRANSACTION_TIMEOUT_MS, Database
from db.event_admin_sql import MARK, OLDER
from domain.ids import TenantId

PAUSE_SECONDS = 0.02


async def until_older_ones_end(db: Database, tenant: TenantId) -> None:
    """Wait until every transaction that is running now is over, or too old to be one of ours."""
    [[row]] = await db.run(tenant, (MARK, {}))
    deadline = time.monotonic() + TRANSACTION_TIMEOUT_MS / 1000 + 1
    while time.monotonic() < deadline:
        [[older]] = await db.run(tenant, (OLDER, {"mark": row["mark"]}))
        if not older["running"]:
            return
        await asyncio.sleep(PAUSE_SECONDS)
