"""A clock that a test sets, in a real PostgreSQL and a real Temporal at once.

PostgreSQL: `clock_timestamp()` is shadowed through the search path, so the SQL under test is the real one. Temporal:
the server's own time skipping, for one run at a time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from tests.support import shop
from tests.support.checkouts import Rows

_INSTALL = """
    CREATE SCHEMA virtual;
    CREATE TABLE virtual.clock (at timestamptz NOT NULL);
    INSERT INTO virtual.clock VALUES (pg_catalog.clock_timestamp());
    CREATE FUNCTION virtual.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE SECURITY DEFINER
        AS 'SELECT at FROM virtual.clock';
    GRANT USAGE ON SCHEMA virtual TO PUBLIC;
    ALTER TABLE payment_events ALTER received_at SET DEFAULT virtual.clock_timestamp();
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path = virtual, pg_catalog, public', current_database());
    END $$
"""


class Clock:
    """PostgreSQL's clock, standing still until it is moved; the runs' clocks follow when told."""

    def __init__(self, rows: Rows, client: Client) -> None:
        self._rows = rows
        # Off at the start of a run: else the server would skip to its end at once.
        self._skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False))

    async def now(self) -> datetime:
        at: datetime = await self._rows.value("SELECT at FROM virtual.clock")
        return at

    async def move(self, by: timedelta, *runs: WorkflowHandle[Any, Any]) -> None:
        """Let so much time go by: for the database first, then for each of the runs, whose timers fire."""
        await self._rows.all("UPDATE virtual.clock SET at = at + %s RETURNING at", by)
        for run in runs:
            await self.move_only(run, by)

    async def move_only(self, run: WorkflowHandle[Any, Any], by: timedelta) -> None:
        """Let so much time go by for one run, whose timers fire, and not for the database."""
        await self._skipper.fast_forward(run, by)


async def install(admin_url: str) -> None:
    """Give the database a clock that stands still, from the next connection on."""
    async with shop.connect(admin_url) as admin:
        await admin.execute(_INSTALL)
