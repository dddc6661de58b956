"""`holdfast up` on a developer's machine: started, stopped, killed, started again, and in the way of others."""

from __future__ import annotations

import signal
import socket
import time
import urllib.request
from pathlib import Path

import psycopg
import pytest

from tests.support.launcher import Launcher

pytestmark = pytest.mark.slow


def api_is_ready(launcher: Launcher) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{launcher.ports['API']}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def stock_of_product_38(launcher: Launcher, change: int = 0) -> int:
    with psycopg.connect(launcher.published()["HOLDFAST_DATABASE_URL"]) as connection:
        query = """UPDATE stock_items SET total = total + %s WHERE tenant_id = 'demo' AND id =
                   (SELECT stock_item_id FROM products WHERE tenant_id = 'demo' AND id = 38) RETURNING total"""
        row = connection.execute(query, [change]).fetchone()
        assert row is not None
        return int(row[0])


def test_it_starts_everything_stops_everything_and_a_second_run_has_the_same_data(server_folder: Path) -> None:
    with Launcher(server_folder) as launcher:
        launcher.start()
        launcher.wait_until_running()
        assert api_is_ready(launcher)
        for port in launcher.ports.values():
            assert str(port) in launcher.printed()
        before = stock_of_product_38(launcher, change=5)
        assert launcher.command("check").stdout.strip() == "every invariant holds"
        assert "applied" in launcher.command("migrate", "status").stdout

        assert launcher.stop(signal.SIGINT) == 0
        assert launcher.left_running() == []
        assert "stopped; the data stays" in launcher.printed()

        launcher.start()
        launcher.wait_until_running()
        assert stock_of_product_38(launcher) == before
        assert launcher.stop(signal.SIGTERM) == 0
        assert launcher.left_running() == []


def test_a_killed_launcher_leaves_no_process_and_nothing_stale(server_folder: Path) -> None:
    with Launcher(server_folder) as launcher:
        launcher.start()
        launcher.wait_until_running()
        launcher.kill()
        assert launcher.left_running() == []

        launcher.start()
        launcher.wait_until_running()
        assert api_is_ready(launcher)
        assert launcher.stop() == 0


@pytest.mark.parametrize("seconds", [0.8, 1.6, 2.4, 3.2, 4.0])
def test_a_launcher_killed_while_it_starts_simply_starts_again(server_folder: Path, seconds: float) -> None:
    with Launcher(server_folder) as launcher:
        launcher.start()
        time.sleep(seconds)
        launcher.kill()
        assert launcher.left_running() == []
        launcher.start()
        launcher.wait_for("✓ demo data", 120)
        assert launcher.stop() == 0
        assert launcher.left_running() == []


def test_a_second_launcher_on_the_same_folder_says_who_is_there(server_folder: Path) -> None:
    with Launcher(server_folder) as first, Launcher(server_folder) as second:
        first.start()
        first.wait_for("✓ PostgreSQL", 60)
        second.output = server_folder / "second.out"
        second.start()
        assert second.wait() == 1
        assert f"another launcher (process {first.process.pid}) is running" in second.printed()
        assert "HOLDFAST_DATA_DIR" in second.printed()
        assert "Traceback" not in second.printed()
        assert first.stop() == 0


def test_a_busy_port_is_named_with_its_variable_before_anything_starts(server_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, Launcher(server_folder) as launcher:
        port = other.getsockname()[1]
        launcher.environment["HOLDFAST_GATEWAY_PORT"] = str(port)
        launcher.start()
        assert launcher.wait() == 1
        assert f"port {port} (sandbox gateway) is in use by another program: set HOLDFAST_GATEWAY_PORT" in (
            launcher.printed()
        )
        assert "starting" not in launcher.printed()
        assert not (launcher.data_dir / "temporal.db").exists()


def test_a_database_that_does_not_answer_is_named_by_its_variable_without_its_password(server_folder: Path) -> None:
    environment = {"HOLDFAST_DATABASE_URL": "postgresql://someone:hushhush@127.0.0.1:1/holdfast"}
    with Launcher(server_folder, environment) as launcher:
        launcher.start()
        assert launcher.wait() == 1
        assert "HOLDFAST_DATABASE_URL" in launcher.printed()
        assert "hushhush" not in launcher.printed()
        assert "Traceback" not in launcher.printed()


def test_a_part_that_cannot_start_is_shown_with_its_log_and_the_rest_is_stopped(server_folder: Path) -> None:
    with Launcher(server_folder, {"HOLDFAST_SANDBOX_GATEWAY_SECRET": "no-secret"}) as launcher:
        launcher.start()
        code = launcher.wait(180)
        assert code == 1, launcher.printed()
        assert "logs/worker.log" in launcher.printed() or "logs/api.log" in launcher.printed()
        assert "stopping PostgreSQL" in launcher.printed()


def test_every_part_that_dies_is_started_again(server_folder: Path) -> None:
    parts = {
        "worker": ("cli worker --only checkouts",),
        "fulfilment": ("cli worker --only fulfilment",),
        "api": ("cli api",),
        "gateway": ("cli gateway",),
        "Temporal": ("start-dev",),
        "PostgreSQL": ("postgres -D",),
    }
    with Launcher(server_folder) as launcher:
        launcher.start()
        launcher.wait_until_running()
        for name, words in parts.items():
            launcher.child(*words).kill()
            launcher.wait_for(f"{name} died; starting it again", 10)
            launcher.wait_for(f"{name} is running again", 60)
        deadline = time.monotonic() + 10
        while not api_is_ready(launcher):  # Its pool finds the new PostgreSQL by itself.
            assert time.monotonic() < deadline, (launcher.data_dir / "logs/api.log").read_text()[-2000:]
            time.sleep(0.2)
        assert launcher.stop() == 0
        assert launcher.left_running() == []
