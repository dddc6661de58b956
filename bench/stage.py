"""What the measurements run on: real servers in a folder of their own, with data that is removed at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from api.limits import Limit
from db import migrate
from local import processes
from local.ports import free_port
from local.postgres import Postgres
from local.temporal import Temporal

TENANT = "bench"
HOT = 1
"""The product that everybody wants."""
PRODUCTS = 1_000
STOCK = 10_000_000


@dataclass
class Stage:
    """The servers, and the processes of Holdfast that were started on them."""

    folder: Path
    postgres: Postgres
    temporal: Temporal
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=lambda: {"api": free_port(), "gateway": free_port()})

    @property
    def url(self) -> str:
        """The database's libpq URL."""
        return self.postgres.url("holdfast")

    @property
    def environment(self) -> dict[str, str]:
        """What a child is told. Byte code is kept, as in any installation: the sandbox loads modules for every run."""
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {
            **inherited,
            **{f"HOLDFAST_RATE_LIMIT_{limit.upper()}": "1000000000" for limit in Limit},  # Counted, and never reached.
            "HOLDFAST_ENV": "development",
            "HOLDFAST_DATABASE_URL": self.url,
            "HOLDFAST_DEFAULT_TENANT": TENANT,
            "HOLDFAST_DATA_DIR": str(self.folder),
            "HOLDFAST_API_PORT": str(self.ports["api"]),
            "HOLDFAST_GATEWAY_PORT": str(self.ports["gateway"]),
            "HOLDFAST_SANDBOX_GATEWAY_URL": f"http://127.0.0.1:{self.ports['gateway']}",
            "TEMPORAL_ADDRESS": self.temporal.address,
        }

    def start_child(self, name: str, *argv: str) -> None:
        """Start a process of Holdfast; its output goes to NAME.log."""
        command = processes.Command([sys.executable, *argv], self.folder / f"{name}.log", env=self.environment)
        self.children[name] = processes.spawn(command)

    def kill_child(self, name: str) -> None:
        """kill -9."""
        child = self.children.pop(name)
        child.kill()
        child.wait()


@contextmanager
def stage() -> Iterator[Stage]:
    """Servers up, migrated, with the bench's catalogue; everything stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    folder.chmod(0o755)
    postgres = Postgres(folder, free_port(), folder / "postgres.log")
    temporal = Temporal(folder, free_port(), folder / "temporal.log")
    set_up = Stage(folder, postgres, temporal)
    try:
        postgres.start()
        temporal.start()
        migrate.upgrade(set_up.url)
        _catalogue(set_up.url)
        yield set_up
    finally:
        for child in set_up.children.values():
            processes.stop(child)
        temporal.stop()
        postgres.stop()
        shutil.rmtree(folder)


def _catalogue(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO tenants (id, name, currency) VALUES (%s, 'Bench', 'COP')", [TENANT])
        connection.execute(
            """
            WITH items AS (
                INSERT INTO stock_items (tenant_id, kind, total)
                SELECT %(tenant)s, 'product', %(stock)s FROM generate_series(1, %(products)s) RETURNING id
            )
            INSERT INTO products (tenant_id, id, stock_item_id, name, price)
            SELECT %(tenant)s, row_number() OVER (ORDER BY id), id, 'Thing', 1000 FROM items
            """,
            {"tenant": TENANT, "stock": STOCK, "products": PRODUCTS},
        )
        connection.execute("VACUUM ANALYZE stock_items, products, tenants")
