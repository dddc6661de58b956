"""Prepared statements after an error: what the server skipped is not believed to be prepared."""

from __future__ import annotations

import psycopg
import pytest

from db.database import Database, Statement, Transaction
from domain.ids import TenantId
from tests.support.checkouts import opened

FAILS = ("SELECT 1 / %(zero)s::int", {"zero": 0})


@pytest.mark.parametrize("times", range(4))
async def test_a_statement_that_was_skipped_after_an_error_runs_the_next_time(
    database_url: str, tenant: TenantId, times: int
) -> None:
    """However often it ran before: psycopg prepares a statement at its second run."""
    skipped: Statement = ("SELECT 7 AS seven", {})
    async with opened(database_url, size=1) as db:
        for _ in range(times):
            await db.run(tenant, skipped)
        for _ in range(3):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await db.run(tenant, FAILS, skipped)
            assert await db.run(tenant, skipped) == [[{"seven": 7}]]


async def fail_in_a_transaction(db: Database, tenant: TenantId) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.read(("SELECT 1 AS one", {}))
        await transaction.commit(FAILS)

    await db.transact(tenant, work)


async def read_in_a_transaction(db: Database, tenant: TenantId) -> int:
    async def work(transaction: Transaction) -> int:
        [rows] = await transaction.read(("SELECT 1 AS one", {}))
        await transaction.commit()
        return int(rows[0]["one"])

    return await db.transact(tenant, work)


async def test_a_transaction_after_one_that_failed_runs_however_often_that_happens(
    database_url: str, tenant: TenantId
) -> None:
    async with opened(database_url, size=1) as db:
        for _ in range(5):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await fail_in_a_transaction(db, tenant)
            assert await read_in_a_transaction(db, tenant) == 1
