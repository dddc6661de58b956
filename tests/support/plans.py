"""How many rows statements read, as PostgreSQL counts them: what a plan costs, on any machine."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support import shop
from tests.support.checkouts import Rows
from tests.support.races import deadlocks


async def looked_over(admin: shop.Connection) -> None:
    """Do at once what autovacuum would do at some moment: it reads the tables that have a BRIN index, which counts."""
    await admin.execute("VACUUM ANALYZE")
    await admin.execute("SELECT pg_stat_force_next_flush()")  # Or what this session has read would count later.


async def rows_read(rows: Rows, tables: Iterable[str]) -> dict[str, int]:
    """Rows of each table read so far, by index or not; not those that an index alone has answered for.

    Waits until every other session has ended and reported.
    """
    await deadlocks(rows)
    query = "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) AS read FROM pg_stat_user_tables"
    counted = {row["relname"]: row["read"] for row in await rows.all(query)}
    return {table: counted[table] for table in tables}
