"""The pipeline that sends its statements together: one send, the right error, and no size that blocks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from db.one_send import one_send
from tests.support.proxy import Wire, wire_to

LARGE = 3_000_000
"""Bytes: more than sockets buffer in both directions together."""


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    async with wire_to(database_url) as wire:
        yield wire


@pytest.fixture
async def connection(wire: Wire) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(wire.url, autocommit=True, prepare_threshold=1) as connection:
        yield connection


async def test_nothing_is_sent_before_the_end_and_then_all_in_one_round_trip(
    wire: Wire, connection: psycopg.AsyncConnection
) -> None:
    for _ in range(3):  # Unprepared, preparing, prepared.
        wire.forget()
        async with one_send(connection):
            cursors = [await connection.execute("SELECT %s::int", [number]) for number in range(5)]
            await asyncio.sleep(0.05)
            assert wire.statements == 0
        assert [await cursor.fetchone() for cursor in cursors] == [(number,) for number in range(5)]
        assert (wire.round_trips, wire.statements) == (1, 5)


async def two_errors(connection: psycopg.AsyncConnection) -> None:
    async with one_send(connection):
        await connection.execute("INSERT INTO kept VALUES (%s)", [1])
        await connection.execute("SELECT 1 / %s", [0])
        await connection.execute("INSERT INTO nowhere VALUES (%s)", [2])


async def test_the_first_error_is_told_nothing_is_kept_and_the_connection_goes_on(
    connection: psycopg.AsyncConnection,
) -> None:
    await connection.execute("CREATE TEMP TABLE kept (number int)")
    for _ in range(3):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await two_errors(connection)
        assert await (await connection.execute("SELECT count(*) FROM kept")).fetchone() == (0,)


async def test_large_statements_and_large_answers_pass_at_once(connection: psycopg.AsyncConnection) -> None:
    text = "x" * LARGE
    async with asyncio.timeout(30), one_send(connection):
        cursors = [await connection.execute("SELECT %s::text, repeat('y', %s)", [text, LARGE]) for _ in range(4)]
    for cursor in cursors:
        assert await cursor.fetchone() == (text, "y" * LARGE)


async def test_two_pipelines_after_each_other_do_not_meet(connection: psycopg.AsyncConnection) -> None:
    for number in range(3):
        async with one_send(connection):
            first = await connection.execute("SELECT %s::int", [number])
        async with connection.pipeline():
            second = await connection.execute("SELECT %s::int", [number + 10])
        assert (await first.fetchone(), await second.fetchone()) == ((number,), (number + 10,))
