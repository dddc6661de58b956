"""What a newcomer does: `holdfast up`, then the demo and the README's tour, word for word, beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.invariants import check, check_ledger
from tests.support import servers
from tests.support.launcher import ROOT, Launcher

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    """A whole Holdfast, as `make run` starts it."""
    folder = servers.new_folder()
    try:
        with Launcher(folder) as running:
            running.start()
            running.wait_until_running()
            yield running
            assert running.stop() == 0
            assert running.left_running() == []
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def played(launcher: Launcher) -> str:
    """What the demo printed, played once."""
    demo = launcher.command("demo")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    return demo.stdout


def test_the_demo_walks_through_paying_cancelling_expiry_and_a_late_payment(played: str) -> None:
    for step in (
        "The gateway's signed webhook confirmed it",
        "Cancelled",
        "Extending it now is refused: 410 hold_over",
        "Expired by itself",
        "she gets her order after all",
        "Refunded in full, reason: second_payment",
        "Every hold ended as it should.",
    ):
        assert step in played


def test_the_demo_reads_well_in_a_pipe_of_eighty_columns(played: str) -> None:
    printed = played.splitlines()

    assert [line for line in printed if len(line) > 80 and "http://" not in line] == []
    assert [line for line in printed if line != line.rstrip()] == []
    assert not any("\x1b" in line for line in printed)


def test_every_link_of_the_demo_names_a_finished_run_of_the_ui(launcher: Launcher, played: str) -> None:
    ui = f"http://127.0.0.1:{launcher.ports['TEMPORAL_UI']}"
    links = re.findall(rf"{ui}/namespaces/default/workflows/(\S+)", played)

    assert [re.sub(UUID + r"|pay_\w+", "…", link) for link in links] == [
        "checkout%2Fdemo%2F…",
        "checkout%2Fdemo%2F…",
        "checkout%2Fdemo-quick%2F…",
        "late-payment%2Fdemo-quick%2Fsandbox%2F…",
    ]
    for link in links:
        run = _get(f"{ui}/api/v1/namespaces/default/workflows/{link}")
        assert run["workflowExecutionInfo"]["status"] == "WORKFLOW_EXECUTION_STATUS_COMPLETED"


def test_the_readmes_tour_ends_in_a_confirmed_order(launcher: Launcher) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5

    tour = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", "".join(blocks)],
        env=launcher.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert tour.returncode == 0, tour.stdout + tour.stderr
    assert '"payment_id": "pay_' in tour.stdout
    assert tour.stdout.splitlines()[-1] == "confirmed"
    assert "failed\ncaptured\n" in tour.stdout


async def test_after_all_that_every_invariant_holds_and_the_gateways_ledger_agrees(
    launcher: Launcher, played: str
) -> None:
    assert "Refunded in full" in played
    url = launcher.published()["HOLDFAST_DATABASE_URL"]
    ledger = _get(f"http://127.0.0.1:{launcher.ports['GATEWAY']}/ledger")
    captured = {each["payment_id"]: each for each in ledger if each["kind"] == "capture"}
    refunded = {each["payment_id"]: each["amount"] for each in ledger if each["kind"] == "refund"}

    assert await check(url, quiet=True) == []
    assert captured
    assert refunded
    assert (
        await check_ledger(
            url,
            [
                (each["tenant"], "sandbox", payment, each["amount"], refunded.get(payment, 0))
                for payment, each in captured.items()
            ],
        )
        == []
    )


def test_without_a_running_system_the_demo_says_how_to_start_one(tmp_path: Path) -> None:
    alone = Launcher(tmp_path)  # Never started: free ports, an empty data folder.

    demo = alone.command("demo")

    assert demo.returncode == 1
    assert demo.stdout == ""
    assert len(demo.stderr.splitlines()) == 1
    assert "start it with make run" in demo.stderr


def test_the_demo_fails_when_a_hold_does_not_end_as_it_should(launcher: Launcher) -> None:
    worker = launcher.child("cli worker")
    worker.suspend()
    try:
        demo = launcher.command("demo")
    finally:
        worker.resume()

    assert demo.returncode == 1
    assert "holdfast: POST /v1/checkouts answered 503, not 201" in demo.stderr
    assert "Every hold ended" not in demo.stdout


def _get(url: str) -> Any:
    return httpx.get(url, trust_env=False).raise_for_status().json()
