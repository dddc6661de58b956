"""The confirm: its transaction by pgbench, with fiscal numbers beside without; and what a client waits for.

The transaction is the statements of `db.settle` in its two round trips, 16 at once on one tenant, by pgbench as the
app's role. The client's view is over HTTP, beside an empty update on a running workflow, in turns.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import uuid
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import psycopg
from temporalio.client import Client

from bench.empty import RunningWorkflow
from bench.figures import Round, Series
from bench.load import Task, closed_loop
from bench.recovery import token
from bench.stage import PRODUCTS, TENANT, Stage
from db.database import Statement, app_conninfo
from db.fiscal_sql import NUMBER
from db.limits_sql import UNCOUNT
from db.settle_sql import CONFIRM_CHECKOUT, LOCK, LOOK, SETTLE_EVENTS
from domain.ids import CheckoutId, TenantId, order_id_for
from local.postgres_binaries import postgres_binaries

CLIENTS = 16
TRIES = 5
A_ROUND = 150
"""Confirms of one client of pgbench in a round."""
_HELD = """
    WITH opened AS (
        INSERT INTO checkouts (tenant_id, id, buyer_key, fingerprint, status, currency, subtotal, total, hold_seconds,
                               extension_seconds, maximum_seconds, held_at, expires_at)
        SELECT %(tenant)s, (lpad(to_hex(%(round)s::bigint), 16, '0') || lpad(to_hex(n::bigint), 16, '0'))::uuid,
               'user:' || n, 'f', 'held', 'COP', 1000, 1000, 900, 900, 3600, clock_timestamp(),
               clock_timestamp() + interval '1 hour'
        FROM generate_series(1, %(count)s::integer) n RETURNING id, buyer_key, held_at, expires_at
    ), lines AS (
        INSERT INTO checkout_lines (tenant_id, checkout_id, position, stock_item_id, product_id, quantity, list_price,
                                    unit_price, locked_at, expires_at)
        SELECT %(tenant)s, o.id, 1, p.stock_item_id, p.id, 1, 1000, 1000, o.held_at, o.expires_at
        FROM opened o JOIN products p ON p.tenant_id = %(tenant)s
            AND p.id = 1 + (('x' || right(o.id::text, 8))::bit(32)::bigint %% %(products)s::bigint)
        RETURNING stock_item_id
    ), counted AS (
        INSERT INTO limit_counters (tenant_id, subject, live_checkouts, held_lines)
        SELECT %(tenant)s, 'owner:' || buyer_key, 1, 1 FROM opened
        ON CONFLICT (tenant_id, subject) DO UPDATE SET live_checkouts = limit_counters.live_checkouts + 1,
            held_lines = limit_counters.held_lines + 1
    ), events AS (
        INSERT INTO payment_events (tenant_id, gateway, event_id, kind, payment_id, checkout_id, amount, currency,
                                    occurred_at, body)
        SELECT %(tenant)s, 'sandbox', id::text, 'captured', 'pay-' || id, id, 1000, 'COP', held_at, '' FROM opened
    )
    UPDATE stock_items s SET reserved = s.reserved + l.units
    FROM (SELECT stock_item_id, count(*)::integer AS units FROM lines GROUP BY 1) l
    WHERE s.tenant_id = %(tenant)s AND s.id = l.stock_item_id
"""
_ORDER = "(lpad(to_hex(:round::bigint), 16, 'f') || lpad(to_hex(:n::bigint), 16, '0'))::uuid"
_ID = "(lpad(to_hex(:round::bigint), 16, '0') || lpad(to_hex(:n::bigint), 16, '0'))::uuid"
_VALUES = {
    "tenant": f"'{TENANT}'",
    "checkout": _ID,
    "order": _ORDER,
    "gateway": "'sandbox'",
    "payment": f"('pay-' || {_ID}::text)",
    "looks_for_payment": "false",
    "at": "clock_timestamp()",
    "cart": "NULL::uuid",
    "becomes": "'confirmed'",
    "amount": "1000",
    "payment_currency": "'COP'",
}
_SERIES = """
    INSERT INTO fiscal_series (tenant_id, name, prefix, padding) VALUES (%(tenant)s, 'bench', 'B-', 8)
    ON CONFLICT DO NOTHING
"""
_RANGE = """
    INSERT INTO fiscal_ranges (tenant_id, series, first_number, last_number, valid_from, valid_until, starts_at,
                               ends_at, authorisation)
    VALUES (%(tenant)s, 'bench', 1, 99999999, %(day)s, '2099-12-31', '2026-01-01', '2100-01-01', 'bench')
    ON CONFLICT DO NOTHING
"""


def transactions(stage: Stage, *, rounds: int) -> list[Series]:
    """The transaction without a series and with one, in turns: latencies as pgbench wrote them down."""
    without, numbered = Series("without fiscal numbers"), Series("with fiscal numbers")
    with psycopg.connect(stage.url, autocommit=True) as connection:
        connection.execute("UPDATE tenants SET max_held_lines = 10000 WHERE id = %s", (TENANT,))
        connection.execute(_SERIES, {"tenant": TENANT})
        connection.execute(_RANGE, {"tenant": TENANT, "day": date(2026, 1, 1)})
        for number in range(2 * rounds + 2):
            series = (without, numbered)[number % 2]
            name = "bench" if series is numbered else None
            connection.execute("UPDATE tenants SET fiscal_series = %s WHERE id = %s", (name, TENANT))
            held = {"tenant": TENANT, "round": number + 1, "count": CLIENTS * A_ROUND, "products": PRODUCTS}
            connection.execute(_HELD, held)
            connection.execute("VACUUM ANALYZE")  # As autovacuum would within a minute: see docs/performance.md.
            done = _pgbench(stage, number + 1)
            if number > 1:  # The first of each warms up.
                series.rounds.append(done)
        connection.execute("UPDATE tenants SET fiscal_series = 'bench' WHERE id = %s", (TENANT,))
    return [without, numbered]


async def client_view(stage: Stage, *, clients: int, count: int, rounds: int) -> list[Series]:
    """An empty update on a running workflow, and a confirm over HTTP of a payment that a webhook has told of.

    Confirms come `clients` at a time, and the next when what those set going is done (the PDF alone takes longer): that
    would be measured too, on the same cores.
    """
    empty, confirm = Series("empty update, running workflow"), Series("POST …/confirm")
    temporal = await Client.connect(stage.temporal.address)
    limits = httpx.Limits(max_connections=clients)
    base, headers = f"http://127.0.0.1:{stage.ports['api']}", {"authorization": f"Bearer {token()}"}
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30, limits=limits) as http:
        for number in range(rounds + 1):
            runs = [await _running(temporal) for _ in range(count)]
            held = await _paid_holds(stage, http, count)

            async def ask(place: int, runs: Sequence[Any] = runs) -> None:
                await runs[place].execute_update(RunningWorkflow.nothing)

            async def confirm_one(place: int, held: Sequence[str] = held) -> None:
                await _confirm(http, held[place])

            first = await _in_bursts(stage, ask, clients, count)
            await _fulfilled(stage)  # What an order sets going has these same two cores.
            second = await _in_bursts(stage, confirm_one, clients, count)
            if number:  # The first warms up.
                empty.rounds.append(first)
                confirm.rounds.append(second)
            await asyncio.gather(*(run.signal(RunningWorkflow.end) for run in runs))
    return [empty, confirm]


def rows(series: Sequence[Series]) -> list[list[str]]:
    """A row a contestant: rate, p50, p95, median of the rounds' p95, beside the first."""
    first = series[0]
    return [
        [
            one.name,
            f"{one.rate:.0f}/s",
            f"{_percentile(one, 50):.1f} ms",
            f"{_percentile(one, 95):.1f} ms",
            "1" if one is first else f"{_percentile(one, 95) / _percentile(first, 95):.2f}",
        ]
        for one in series
    ]


def share(empty: Series, confirm: Series) -> float:
    """How much of a confirm's time an empty update does not take: HTTP, our reads, and the transaction."""
    return 1 - _percentile(empty, 50) / _percentile(confirm, 50)


def _percentile(series: Series, percent: int) -> float:
    """The median of the rounds' percentiles, in milliseconds: one disturbed round does not show."""
    return statistics.median(Series(series.name, [one]).percentile(percent) for one in series.rounds)


def _script() -> str:
    bind = f"SELECT set_config('app.tenant', '{TENANT}', true)"
    first = ["BEGIN", bind, LOCK, LOOK]
    second = [UNCOUNT, CONFIRM_CHECKOUT, SETTLE_EVENTS, *NUMBER, "COMMIT"]
    counted = f"\\set i :i + 1\n\\set n :client_id * {A_ROUND} + :i\n"
    return counted + "".join(
        "\\startpipeline\n" + "".join(_one_line(one) for one in trip) + "\\endpipeline\n" for trip in (first, second)
    )


def _one_line(statement: str) -> str:
    filled = re.sub(r"%\((\w+)\)s", lambda name: _VALUES[name[1]], statement)
    return " ".join(re.sub(r"--[^\n]*", "", filled).split()).replace("%%", "%") + ";\n"


def _pgbench(stage: Stage, number: int) -> Round:
    script, log = stage.folder / "confirm.sql", stage.folder / f"confirm-{number}"
    script.write_text(_script())
    command = [str(postgres_binaries(stage.folder, None) / "pgbench"), "-n", "-M", "prepared", "-l", "--log-prefix"]
    command += [str(log), "-c", str(CLIENTS), "-j", "2", "-t", str(A_ROUND), "-D", "i=0", "-D", f"round={number}"]
    command += ["-f", str(script), app_conninfo(stage.url)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    done = re.search(r"number of transactions actually processed: (\d+)", answer.stdout)
    rate = re.search(r"tps = ([\d.]+)", answer.stdout)
    failed = re.search(r"number of failed transactions: (\d+)", answer.stdout)
    if answer.returncode or done is None or rate is None or (failed and failed[1] != "0"):
        raise RuntimeError(f"pgbench failed: {answer.stdout}{answer.stderr}")
    _require_orders(stage, number)
    return Round(int(done[1]), int(done[1]) / float(rate[1]), _latencies(stage.folder, log.name))


def _require_orders(stage: Stage, number: int) -> None:
    """Fail unless every transaction of the round made its order: nothing else would be measured."""
    like = f"{number:016x}"
    with psycopg.connect(stage.url, autocommit=True) as connection:
        sql = "SELECT count(*) FROM orders WHERE tenant_id = %s AND left(replace(checkout_id::text, '-', ''), 16) = %s"
        row = connection.execute(sql, (TENANT, like)).fetchone()
    if row != (CLIENTS * A_ROUND,):
        raise RuntimeError(f"{row} orders of {CLIENTS * A_ROUND} confirms")


def _latencies(folder: Path, prefix: str) -> list[float]:
    """Seconds, of each transaction, from pgbench's logs: client, number, microseconds, …"""
    found: list[float] = []
    for path in folder.glob(f"{prefix}.*"):
        found += [int(line.split()[2]) / 1e6 for line in path.read_text().splitlines()]
        path.unlink()
    return found


async def _in_bursts(stage: Stage, task: Task, clients: int, count: int) -> Round:
    whole = Round(0, 0.0, [])
    for first in range(0, count, clients):
        at_once = min(clients, count - first)
        done = await closed_loop(_from(task, first), clients=at_once, count=at_once)
        whole.done, whole.seconds = whole.done + done.done, whole.seconds + done.seconds
        whole.latencies += done.latencies
        await _fulfilled(stage)
    return whole


def _from(task: Task, first: int) -> Task:
    async def one(place: int) -> None:
        await task(first + place)

    return one


async def _fulfilled(stage: Stage) -> None:
    """Until nothing is left to do for any order that the API made."""
    sql = "SELECT count(*) FROM orders WHERE fulfilled_at IS NULL AND payment_id LIKE %s"
    async with await psycopg.AsyncConnection.connect(stage.url, autocommit=True) as connection:
        for _ in range(3000):
            row = await (await connection.execute(sql, ("pay\\_%",))).fetchone()
            if row == (0,):
                return
            await asyncio.sleep(0.02)
    raise RuntimeError("orders are not fulfilled within a minute")


async def _running(client: Client) -> Any:
    """A workflow that has run its first task."""
    run = await client.start_workflow(RunningWorkflow.run, id=f"running/{uuid.uuid4()}", task_queue="holdfast")
    await run.execute_update(RunningWorkflow.nothing)
    return run


async def _paid_holds(stage: Stage, http: httpx.AsyncClient, count: int) -> list[str]:
    """Live holds whose payment's webhook is stored, so that confirming asks no gateway."""
    held: list[str] = []

    async def one(place: int) -> None:
        body = {"lines": [{"product_id": place % PRODUCTS + 1, "quantity": 1}]}
        answer = await http.post("/v1/checkouts", json=body, headers={"idempotency-key": uuid.uuid4().hex})
        answer.raise_for_status()
        held.append(answer.json()["id"])

    await closed_loop(one, clients=8, count=count)
    stored: list[Statement] = [
        (
            "INSERT INTO payment_events (tenant_id, gateway, event_id, kind, payment_id, checkout_id, amount, currency,"
            " occurred_at, body) VALUES (%(tenant)s, 'sandbox', %(id)s, 'captured', 'pay_' || %(id)s, %(id)s::uuid,"
            " 1000, 'COP', clock_timestamp(), '')",
            {"tenant": TENANT, "id": checkout},
        )
        for checkout in held
    ]
    async with await psycopg.AsyncConnection.connect(stage.url, autocommit=True) as connection:
        for sql, values in stored:
            await connection.execute(sql, values)
    return held


async def _confirm(http: httpx.AsyncClient, checkout: str) -> None:
    """As a client would: what was not answered in time is asked again. The time it takes counts."""
    key = {"idempotency-key": uuid.uuid4().hex}
    path, body = f"/v1/checkouts/{checkout}/confirm", {"payment_id": f"pay_{checkout}"}
    answer = await http.post(path, json=body, headers=key)
    for _ in range(TRIES - 1):
        if answer.status_code == httpx.codes.OK:
            break
        answer = await http.post(path, json=body, headers=key)
    if answer.json().get("id") != order_id_for(TenantId(TENANT), CheckoutId(checkout)):
        raise RuntimeError(f"a confirm that should have answered with its order: {answer.status_code} {answer.text}")
