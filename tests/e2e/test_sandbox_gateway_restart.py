"""A restart of the sandbox gateway, wished for or not, keeps payments, ledger and undelivered webhooks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.gateway import ledger
from local.gateway.config import GatewayConfig
from local.gateway.database import Database
from local.gateway.schemas import NewPayment
from local.gateway.sender import Sender
from local.ports import free_port
from tests.support.gateway import SECRET, RunningGateway, running_gateway
from tests.support.receiver import Receiver, receiving


@pytest.fixture
def shop() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


async def new_payment(sandbox: RunningGateway) -> str:
    return str((await sandbox.create("demo", None, 5500))["id"])


async def test_payments_ledger_and_undelivered_webhooks_survive_a_restart(tmp_path: Path, shop: Receiver) -> None:
    shop.answer = lambda _: 503
    async with running_gateway(tmp_path, shop.url) as sandbox:
        payment_id = await new_payment(sandbox)
        await sandbox.pay(payment_id)
        await shop.wait_for_some()
        before = await sandbox.payment(payment_id), await sandbox.ledger()
    shop.answer = lambda _: 200
    async with running_gateway(tmp_path, shop.url) as sandbox:
        (record,) = await sandbox.settled(payment_id)
        after = await sandbox.payment(payment_id), await sandbox.ledger()
        assert after[0].pop("url") != before[0].pop("url"), "its port is another"
        assert after == before
    assert record["state"] == "delivered"
    assert {webhook.event["id"] for webhook in shop.got} == {record["event_id"]}


async def test_a_file_of_an_older_version_is_read_and_gets_what_is_new(tmp_path: Path, shop: Receiver) -> None:
    older = """create table payments (
        id text primary key, tenant text not null, checkout_id text, amount integer not null, currency text not null,
        status text not null, reference text, reason text, refunded_amount integer not null default 0,
        created_at text not null, updated_at text not null
    )"""
    with contextlib.closing(sqlite3.connect(tmp_path / "gateway.db")) as connection:
        connection.execute(older)
        connection.execute(
            "insert into payments values ('pay_1', 'demo', null, 5, 'COP', 'created', null, null, 0, '', '')"
        )
        connection.commit()
    for _ in range(2):
        async with running_gateway(tmp_path, shop.url) as sandbox:
            found = await sandbox.payment("pay_1")
            assert (found["ends_at"], found["return_url"]) == (None, None)


async def test_a_database_that_fails_once_does_not_stop_deliveries(
    tmp_path: Path, shop: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    class FailsOnce(Database):
        failed = asyncio.Event()

        async def run(self, *args: Any, **kwargs: Any) -> Any:
            if not self.failed.is_set():
                self.failed.set()
                raise sqlite3.OperationalError("disk is full")
            return await super().run(*args, **kwargs)

    config = GatewayConfig(tmp_path / "gateway.db", [SECRET], shop.url, first_retry=0.05)
    database = FailsOnce(config.database)
    async with Sender(config, database).running():
        await database.failed.wait()
        new = NewPayment(tenant="demo", amount=1, currency="COP", announce=True)
        await database.run(ledger.create, new)
        await shop.wait_for(1)
    database.close()
    assert "deliveries stopped" in caplog.text


async def test_a_shop_with_an_impossible_address_is_only_a_failed_delivery(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, "http://shop.invalid:port") as sandbox:
        payment_id = await new_payment(sandbox)
        await sandbox.pay(payment_id)
        await asyncio.sleep(1)
        (record,) = await sandbox.webhooks(payment_id)
        assert record["attempts"] >= 2
        assert (record["state"], record["last_error"]) == ("pending", "InvalidURL")


async def test_a_gateway_killed_outright_forgets_no_payment_and_no_webhook(tmp_path: Path, shop: Receiver) -> None:
    """As `holdfast gateway` runs it: in a process of its own, from the settings in the environment."""
    shop.answer = lambda _: 503
    port, api_port = free_port(), int(shop.url.rpartition(":")[2])
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        sandbox = RunningGateway(f"http://127.0.0.1:{port}", client)
        process = await _start(sandbox, tmp_path, port, api_port)
        try:
            paid = [await new_payment(sandbox) for _ in range(20)]
            await asyncio.gather(*[sandbox.pay(payment_id) for payment_id in paid])
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        shop.answer = lambda _: 200
        process = await _start(sandbox, tmp_path, port, api_port)
        try:
            for payment_id in paid:
                (record,) = await sandbox.settled(payment_id)
                assert (record["state"], (await sandbox.payment(payment_id))["status"]) == ("delivered", "captured")
            assert {entry["payment_id"] for entry in await sandbox.ledger()} == set(paid)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) in (0, -signal.SIGTERM)


async def _start(sandbox: RunningGateway, folder: Path, port: int, api_port: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "HOLDFAST_ENV": "development",
        "HOLDFAST_DATA_DIR": str(folder),
        "HOLDFAST_API_PORT": str(api_port),
        "HOLDFAST_SANDBOX_GATEWAY_SECRET": SECRET,
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "local.gateway.app:create_app", "--port", str(port)]
    # The test waits for this process anyway; starting it takes no time.
    process = subprocess.Popen([*command, "--log-level", "warning", "--ws", "none"], env=environment)  # noqa: ASYNC220
    deadline = time.monotonic() + 20
    while True:
        try:
            await sandbox.call("GET", "/healthz")
        except httpx.TransportError:
            assert process.poll() is None, "the gateway ended at once"
            assert time.monotonic() < deadline, "the gateway did not start"
            await asyncio.sleep(0.05)
        else:
            return process
