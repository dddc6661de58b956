"""The gateway's own SQLite file: one connection on one thread, a transaction for each piece of work."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

_SCHEMA = """
create table if not exists payments (
    id text primary key, tenant text not null, checkout_id text, amount integer not null check (amount > 0),
    currency text not null, status text not null, reference text, reason text,
    refunded_amount integer not null default 0 check (refunded_amount between 0 and amount),
    created_at text not null, updated_at text not null, ends_at text, return_url text
);
create index if not exists payments_by_checkout on payments (checkout_id);
create index if not exists payments_by_tenant on payments (tenant);
create table if not exists ledger (
    id integer primary key autoincrement, kind text not null, tenant text not null, payment_id text not null,
    checkout_id text, refund_id text unique, amount integer not null, currency text not null, at text not null
);
create unique index if not exists one_capture_per_payment on ledger (payment_id) where kind = 'capture';
create table if not exists idempotency (
    scope text not null, key text not null, request text not null, answer text not null, primary key (scope, key)
) without rowid;
create table if not exists webhooks (
    id integer primary key autoincrement, event_id text not null, payment_id text not null, tenant text not null,
    type text not null, body text not null, state text not null, forged integer not null, held integer not null,
    due_at real not null, attempts integer not null default 0, last_status integer, last_error text,
    created_at text not null
);
create index if not exists webhooks_due on webhooks (due_at) where state = 'pending';
create index if not exists webhooks_by_payment on webhooks (payment_id);
create index if not exists webhooks_by_event on webhooks (event_id);
"""


_LATER_COLUMNS = ("ends_at", "return_url")
"""Of payments: a file made by an older version has them not yet."""


class Database:
    """Runs functions that take a connection, each in one transaction, one after the other."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gateway-db")
        self._connection = self._thread.submit(_open, path).result()

    async def run(
        self, work: Callable[Concatenate[sqlite3.Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """What `work(connection, ...)` returns, once it is committed; nothing is kept when it raises."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._within(work, *args, **kwargs)
        )

    def close(self) -> None:
        """After the work under way."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

    def _within(
        self, work: Callable[Concatenate[sqlite3.Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        self._connection.execute("begin")
        try:
            result = work(self._connection, *args, **kwargs)
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")
        return result


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    # A killed process loses nothing with NORMAL; only a power cut may lose the last moments.
    connection.executescript(f"pragma journal_mode=wal; pragma synchronous=normal; {_SCHEMA}")
    there = {row["name"] for row in connection.execute("pragma table_info(payments)")}
    for column in _LATER_COLUMNS:
        if column not in there:
            connection.execute(f"alter table payments add column {column} text")
    return connection
