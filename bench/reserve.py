"""The reserve beside a raw UPDATE, both by pgbench: the database's own share, with no client of ours in between."""

from __future__ import annotations

import re
import subprocess

import psycopg

from bench.figures import Round, Series
from bench.stage import PRODUCTS, TENANT, Stage
from db.database import app_conninfo
from db.limits_sql import LOCK_COUNTERS
from db.reserve_sql import OPEN, OUTCOME, reserve_statement
from local.postgres_binaries import postgres_binaries

RAW = "UPDATE stock_items SET reserved = reserved + 1 WHERE tenant_id = '{tenant}' AND id = :item"
_UUID = "(lpad(to_hex(:a::bigint), 16, '0') || lpad(to_hex(:b::bigint), 16, '0'))::uuid"
_VALUES = {
    "tenant": f"'{TENANT}'",
    "checkout": _UUID,
    "buyer": "('user:' || :a)",
    "session": "NULL::text",
    "address": "NULL::text",
    "fingerprint": "'bench'",
    "deadline": "'infinity'::timestamptz",
    "products": "ARRAY[:item::bigint]",
    "quantities": "ARRAY[1]",
    "expected_total": "NULL",
    "final": "false",
    "together": "NULL",
    "origins": "NULL",
}
_RANDOM = """\\set item random(1, {items})
\\set a random(0, 4611686018427387903)
\\set b random(0, 4611686018427387903)
"""


def measure(stage: Stage, *, clients: int, seconds: int, rounds: int) -> dict[str, tuple[Series, Series]]:
    """For one hot item and for a thousand: (raw UPDATE, reserve), in turns."""
    found = {}
    for title, items in (("one hot item", 1), (f"{PRODUCTS:,} items", PRODUCTS)):
        raw, reserve = Series(f"raw UPDATE, {title}"), Series(f"reserve, {title}")
        for _ in range(rounds):
            raw.rounds.append(_pgbench(stage, _raw_script(items), clients, seconds, as_app=False))
            _put_back(stage)
            reserve.rounds.append(_pgbench(stage, _reserve_script(items), clients, seconds, as_app=True))
        found[title] = (raw, reserve)
    return found


def _raw_script(items: int) -> str:
    return _RANDOM.format(items=items) + _one_line(RAW.format(tenant=TENANT))


def _reserve_script(items: int) -> str:
    """The statements of `db.reserve`, as one pipeline and so one implicit transaction, each by a buyer of its own."""
    bind = f"SELECT set_config('app.tenant', '{TENANT}', true)"
    statements = [bind, OPEN, LOCK_COUNTERS, reserve_statement(), OUTCOME]
    filled = [re.sub(r"%\((\w+)\)s", lambda name: _VALUES[name[1]], one) for one in statements]
    body = "".join(_one_line(one) for one in filled)
    return _RANDOM.format(items=items) + "\\startpipeline\n" + body + "\\endpipeline\n"


def _one_line(statement: str) -> str:
    return " ".join(statement.split()) + ";\n"


def _pgbench(stage: Stage, script: str, clients: int, seconds: int, *, as_app: bool) -> Round:
    path = stage.folder / "script.sql"
    path.write_text(script)
    command = [
        str(postgres_binaries(stage.folder, None) / "pgbench"),
        "-n",
        "-M",
        "prepared",
        "-c",
        str(clients),
        "-j",
        "2",
        "-T",
        str(seconds),
    ]
    command += ["-f", str(path)]
    command += [app_conninfo(stage.url) if as_app else stage.url]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    done = re.search(r"number of transactions actually processed: (\d+)", answer.stdout)
    rate = re.search(r"tps = ([\d.]+)", answer.stdout)
    if answer.returncode or done is None or rate is None:
        raise RuntimeError(f"pgbench failed: {answer.stdout}{answer.stderr}")
    return Round(int(done[1]), int(done[1]) / float(rate[1]))


def _put_back(stage: Stage) -> None:
    """Undo the raw updates, which reserved for nobody."""
    with psycopg.connect(stage.url, autocommit=True) as connection:
        connection.execute(
            """UPDATE stock_items s SET reserved = coalesce((
                   SELECT sum(quantity) FROM checkout_lines l
                   WHERE l.tenant_id = s.tenant_id AND l.stock_item_id = s.id AND l.status = 'held'), 0)"""
        )
        connection.execute("VACUUM stock_items")
