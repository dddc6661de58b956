"""Connections, and the two shapes in which SQL runs: one round trip, or lock-decide-write in two.

Both send `set_config('app.tenant', …, true)` inside the same (implicit or explicit) transaction as the statements, so
that row-level security sees the tenant. Outside of a transaction that setting is gone before the next statement, and
every table looks empty: so nothing else here runs SQL.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from db.one_send import one_send
from domain.errors import MissingTenant, Unavailable
from domain.ids import TenantId

T = TypeVar("T")
Connection = psycopg.AsyncConnection[DictRow]
Statement = tuple[str, Mapping[str, Any]]
"""SQL with `%(name)s` placeholders, and their values."""
Rows = list[DictRow]

APP_ROLE = "holdfast_app"
LOCK_TIMEOUT_MS = 1_000
STATEMENT_TIMEOUT_MS = 2_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
TRANSACTION_TIMEOUT_MS = 5_000
"""What frees the locks of a frozen client. Not the idle timeout: the flush with which psycopg ends a pipeline may reach
the server last, and then disarms it (measured)."""
POOL_WAIT_SECONDS = 1.5
_NO_SECOND_TRY = (psycopg.errors.QueryCanceled, PoolTimeout)
"""Already waited as long as a caller can."""
_NOT_HAD = (
    psycopg.OperationalError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)
"""The connection was lost, or ended by the server because we froze."""
_SET_TENANT = "SELECT set_config('app.tenant', %(tenant)s, true)"
_WHO = (
    "SELECT current_setting('transaction_isolation') AS isolation, rolsuper OR rolbypassrls AS unbound"
    " FROM pg_roles WHERE rolname = current_user"
)
_LIMIT_TRANSACTIONS = (
    f"SELECT set_config('transaction_timeout', '{TRANSACTION_TIMEOUT_MS}', false)"
    " FROM pg_settings WHERE name = 'transaction_timeout'"
)
"""PostgreSQL 17 and later; an older server would refuse a connection that names it in its options."""


class UnsafeConnection(RuntimeError):
    """The connection's role or isolation would undo row-level security or the locking rules."""


class Database:
    """A pool of autocommit connections in the role that owns no table, bound to one tenant for each unit of work."""

    def __init__(self, url: str, *, size: int = 16, name: str = "holdfast") -> None:
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            app_conninfo(url, name),
            connection_class=psycopg.AsyncConnection[DictRow],
            min_size=min(2, size),
            max_size=size,
            open=False,
            timeout=POOL_WAIT_SECONDS,
            reconnect_timeout=2.0,
            max_idle=300,
            configure=_prepare,
            kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": 1},
        )

    async def open(self) -> None:
        """Start connecting. Does not wait: a database that is down shows in readiness, not in a start that fails."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2.0)

    async def run(self, tenant: TenantId, *statements: Statement) -> list[Rows]:
        """Run the statements in one implicit transaction and one round trip; the rows of each, in order.

        Tried once more when the connection was lost or a lock not had in time, so every statement must be harmless
        when it runs twice. Raises Unavailable when that fails too.
        """
        bound = [_bind(tenant), *statements]

        async def once(connection: Connection) -> list[Rows]:
            return (await _round_trip(connection, bound))[1:]

        return await self._twice(once)

    async def run_for_each(self, work: Mapping[TenantId, Sequence[Statement]]) -> dict[TenantId, list[Rows]]:
        """As `run`, for several tenants in one round trip: the statements of each see what is that tenant's."""
        bound = [one for tenant, statements in work.items() for one in (_bind(tenant), *statements)]

        async def once(connection: Connection) -> dict[TenantId, list[Rows]]:
            rows = iter(await _round_trip(connection, bound))
            return {tenant: [next(rows) for _ in (None, *statements)][1:] for tenant, statements in work.items()}

        return await self._twice(once)

    async def transact(self, tenant: TenantId, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction: it reads (and locks) once, decides, and commits with its writes.

        Tried once more as a whole, like `run`; rolled back when `work` does not commit.
        """
        opening = [_bind(tenant)]

        async def once(connection: Connection) -> T:
            transaction = Transaction(connection, opening)
            try:
                return await work(transaction)
            finally:
                await transaction.end()

        return await self._twice(once)

    async def ping(self) -> None:
        """Raise Unavailable unless the database answers."""

        async def once(connection: Connection) -> None:
            await connection.execute("SELECT 1")

        await self._twice(once)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """A connection that the server has not closed; the pool replaces those that it has.

        Not the pool's own `check`, which waits a second after the first one that it refuses, and two after the next:
        after a restart of the server, callers would give up before it has gone through them all.
        """
        while True:
            async with self._pool.connection() as connection:
                if not _closed_by_server(connection):
                    yield connection
                    return
                await connection.close()

    async def _twice(self, once: Callable[[Connection], Awaitable[T]]) -> T:
        for last in (False, True):
            try:
                async with self._connection() as connection, _forgetting(connection):
                    return await once(connection)
            except _NOT_HAD as error:
                if last or isinstance(error, _NO_SECOND_TRY):
                    raise Unavailable("The database did not answer in time; send the same request again.") from error
        raise AssertionError("unreachable")


class Transaction:
    """An explicit transaction: `read`, then `commit`, in two round trips where one read is enough."""

    def __init__(self, connection: Connection, opening: Sequence[Statement]) -> None:
        self._connection = connection
        self._pending: list[Statement] = [("BEGIN", {}), *opening]
        self._open = True

    async def read(self, *statements: Statement) -> list[Rows]:
        """Run the statements (the first call also begins); the rows of each."""
        pending, self._pending = self._pending, []
        return (await _round_trip(self._connection, [*pending, *statements]))[len(pending) :]

    async def commit(self, *statements: Statement) -> list[Rows]:
        """Run the statements, if there are any to run, and commit, in the same round trip.

        Also the way to end when nothing is to be written: after a ROLLBACK psycopg forgets every prepared statement.
        """
        rows = await self.read(*statements, ("COMMIT", {}))
        self._open = False
        return rows[:-1]

    async def end(self) -> None:
        """Roll back what was not committed. A connection that breaks at it must not hide what ended the work."""
        status = self._connection.info.transaction_status
        if self._open and status in (psycopg.pq.TransactionStatus.INTRANS, psycopg.pq.TransactionStatus.INERROR):
            with contextlib.suppress(psycopg.Error):
                await self._connection.rollback()
        self._open = False


def app_conninfo(url: str, name: str = "holdfast") -> str:
    """The connection string with our role and timeouts. `url` is a libpq URL or keyword string."""
    settings = {
        "role": APP_ROLE,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
        "default_transaction_isolation": r"read\ committed",
        "timezone": "UTC",
        "jit": "off",
        # Everything here is looked up by key. A plan made while a table was small must not go on reading all of it when
        # it has grown: 2.7 instead of 0.9 ms of processor time a reserve, measured, until the next ANALYZE.
        "enable_seqscan": "off",
        "plan_cache_mode": "force_generic_plan",  # Planned once a connection, not anew at each of the first five runs.
    }
    options = " ".join(f"-c {key}={value}" for key, value in settings.items())
    return conninfo.make_conninfo(
        url, options=options, application_name=name, connect_timeout="2", tcp_user_timeout="5000", keepalives_idle="5"
    )


def require_tenant(tenant: TenantId) -> TenantId:
    """The tenant, or MissingTenant: with none, row-level security shows no rows and everything looks sold out."""
    if not (tenant or "").strip():
        raise MissingTenant("a database function was called without a tenant")
    return tenant


def _bind(tenant: TenantId) -> Statement:
    return _SET_TENANT, {"tenant": require_tenant(tenant)}


@asynccontextmanager
async def _forgetting(connection: Connection) -> AsyncIterator[None]:
    """After an error, psycopg forgets every prepared statement.

    It believes prepared what the server skipped in the pipeline after the error, and later runs would fail with
    "prepared statement does not exist". `rollback()` makes it forget, but only inside of a transaction; an executed
    ROLLBACK does so only the first time.
    """
    try:
        yield
    except psycopg.Error:
        with contextlib.suppress(psycopg.Error):
            if connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
                await connection.execute("BEGIN", prepare=False)
            await connection.rollback()
        raise


async def _round_trip(connection: Connection, statements: Sequence[Statement]) -> list[Rows]:
    async with one_send(connection):
        cursors = [await connection.execute(sql, values or None) for sql, values in statements]
    # Not by `description`, which makes an object for each column to say whether there are any.
    return [await cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else [] for cursor in cursors]


async def _prepare(connection: Connection) -> None:
    await _refuse_unsafe(connection)
    await connection.execute(_LIMIT_TRANSACTIONS)


async def _refuse_unsafe(connection: Connection) -> None:
    row = await (await connection.execute(_WHO)).fetchone()
    if row is None or row["unbound"] or row["isolation"] != "read committed":
        raise UnsafeConnection(f"connections must use READ COMMITTED and a role bound by row-level security, not {row}")


def _closed_by_server(connection: Connection) -> bool:
    """Whether the server has ended it, without asking the server: an idle connection's socket has nothing to read."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
