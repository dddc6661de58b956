"""A confirm is one transaction: whatever breaks in the middle of it, nothing is half done, and a repeat finishes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import conninfo

from db.database import Database
from db.inbox import record_event
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.errors import Unavailable
from domain.ids import TenantId
from domain.messages import Capture, StartCheckout
from local.postgres import Postgres
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, an_event, cancel, confirm

TABLES = ("checkouts", "checkout_lines", "stock_items", "orders", "order_lines", "payment_outcomes", "payment_events")
BREAK = """
    CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN {action} RETURN NEW; END $$;
    CREATE CONSTRAINT TRIGGER broken AFTER INSERT OR UPDATE ON {table} {when}
        FOR EACH ROW EXECUTE FUNCTION break()
"""
MEND = "DROP TRIGGER broken ON {table}; DROP FUNCTION break()"
FAIL = "RAISE EXCEPTION 'broken on purpose';"
KILL = "PERFORM pg_terminate_backend(pg_backend_pid());"


@pytest.fixture
async def paid(db: Database, admin: shop.Connection, tenant: TenantId) -> tuple[StartCheckout, Capture]:
    """A hold of two products, and the payment that its event brought."""
    first, second = [await shop.make_product(admin, tenant) for _ in range(2)]
    start = a_start(tenant, {first: 1, second: 2})
    started = await reserve(db, start)
    capture = a_capture(start.checkout_id, started.total)
    await record_event(db, tenant, an_event(capture), b"{}")
    return start, capture


@pytest.fixture
async def superuser(postgres: Postgres, database_url: str) -> AsyncIterator[shop.Connection]:
    """May end other sessions; triggers made by it may, too."""
    name = str(conninfo.conninfo_to_dict(database_url)["dbname"])
    async with shop.connect(postgres.superuser_url(name)) as connection:
        yield connection


async def everything(rows: Rows) -> list[str]:
    """Every row that a confirm touches, as text."""
    parts = [f"SELECT '{table}' || t::text AS row FROM {table} t" for table in TABLES]
    return sorted(row["row"] for row in await rows.all(" UNION ALL ".join(parts)))


@pytest.mark.parametrize("when", ["NOT DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"], ids=["in it", "at its commit"])
@pytest.mark.parametrize("action", [FAIL, KILL], ids=["an error", "a killed connection"])
async def test_a_confirm_that_breaks_leaves_nothing_half_done_and_its_repeat_finishes(
    superuser: shop.Connection, db: Database, rows: Rows, paid: tuple[StartCheckout, Capture], when: str, action: str
) -> None:
    start, capture = paid
    before = await everything(rows)
    for table in TABLES:
        await superuser.execute(BREAK.format(table=table, when=when, action=action))
        with pytest.raises((Unavailable, psycopg.errors.RaiseException)):
            await settle(db, confirm(start.ref, capture))
        assert await everything(rows) == before
        await superuser.execute(MEND.format(table=table))
    assert (await settle(db, confirm(start.ref, capture))).status is CheckoutStatus.CONFIRMED
    assert await rows.value("SELECT count(*) FROM orders") == 1


async def test_a_connection_killed_between_the_look_and_the_write_is_tried_again(
    database_url: str, db: Database, rows: Rows, paid: tuple[StartCheckout, Capture]
) -> None:
    start, capture = paid
    async with shop.connect(database_url) as other:
        async with other.transaction():
            await other.execute("SELECT FROM stock_items FOR UPDATE")  # The confirm stops here, its checkout locked.
            confirming = asyncio.create_task(settle(db, confirm(start.ref, capture)))
            await rows.until_somebody_waits_for_a_lock()
            killed = await rows.value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            assert killed == 1
            await rows.until_somebody_waits_for_a_lock()
        assert (await confirming).status is CheckoutStatus.CONFIRMED
    assert await rows.value("SELECT count(*) FROM orders") == 1


async def test_a_commit_whose_answer_was_lost_is_seen_by_the_repeat(
    db: Database, rows: Rows, paid: tuple[StartCheckout, Capture]
) -> None:
    start, capture = paid
    first = await settle(db, confirm(start.ref, capture))
    done = await everything(rows)
    assert await settle(db, confirm(start.ref, capture)) == first
    assert (await settle(db, cancel(start.ref))).status is CheckoutStatus.CONFIRMED
    assert await everything(rows) == done
