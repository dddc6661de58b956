"""Holdfast as processes: API and worker as `holdfast` runs them, restarted when they die, with a sandbox gateway.

    async with running_fleet(database_url, temporal_address, folder) as fleet: ...

For tests that kill, and for load that one process with the test's own clients in it would not bear.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pydantic import SecretStr
from temporalio.client import Client

from api.app import tokens_from
from api.tokens import Scope
from domain.ids import TenantId
from local import processes, programs
from local.ports import free_port
from settings import Settings
from tests.support import shop
from tests.support.api import GENEROUS, api_settings, as_environment
from tests.support.buyers import Buyer
from tests.support.contract import Contract
from tests.support.gateway import SECRET, RunningGateway, running_gateway
from tests.support.system import assert_all_well, make_tenants

ROOT = Path(__file__).parents[2]
STARTED_SECONDS = 60.0


class Supervised:
    """One `holdfast` program that is started again whenever it is found dead, as a supervisor would."""

    def __init__(self, name: str, log: Path, environment: Mapping[str, str], *, dying: str | None = None) -> None:
        """`dying`: which of its steps kill it, at each of their points once (tests/support/dying.py)."""
        self.deaths = log.with_suffix(".deaths")
        command = programs.argv(name)
        if dying is not None:
            command = [sys.executable, "-m", "tests.support.dying", name]
            environment = {**environment, "DYING_AT": str(self.deaths), "DYING_STEPS": dying}
        self._command = processes.Command(command, log, environment, cwd=ROOT)
        self._process: subprocess.Popen[bytes] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.starts = 0

    async def __aenter__(self) -> Supervised:
        self._keeping = asyncio.create_task(self._keep_running())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        if self._process is not None:
            await asyncio.to_thread(processes.stop, self._process)

    @property
    def died_at(self) -> set[str]:
        """The points of its steps at which it has died so far."""
        return set(self.deaths.read_text().splitlines()) if self.deaths.exists() else set()

    def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None:
            processes.kill_tree(self._process.pid)

    async def _keep_running(self) -> None:
        while True:
            if self._process is None or self._process.poll() is not None:
                self._process = await asyncio.to_thread(processes.spawn, self._command)
                self.starts += 1
            await asyncio.sleep(0.1)


@dataclass
class Fleet:
    """What a test needs of it. The tenants DEMO, QUICK and OTHER exist."""

    http: httpx.AsyncClient
    gateway: RunningGateway
    client: Client
    settings: Settings
    contract: Contract
    api: Supervised
    worker: Supervised
    folder: Path
    unmatched: set[str] = field(default_factory=set)
    without_run: set[str] = field(default_factory=set)

    @property
    def admin_url(self) -> str:
        return self.settings.admin_url

    def buyer(self, tenant: TenantId, subject: str | None = None, *scopes: Scope) -> Buyer:
        """A buyer with a token that outlives the test."""
        subject = subject or uuid.uuid4().hex[:12]
        token = tokens_from(self.settings).issue(tenant, subject, scopes or [Scope.BUYER], 3600)
        return Buyer(self.http, tenant, subject, {"authorization": f"Bearer {token}"})

    async def end_well(self, seconds: float) -> None:
        """Wait until all is quiet; AssertionError naming what is not so after `seconds`."""
        await assert_all_well(self, seconds)
        assert not self.contract.broken, "\n".join(self.contract.broken[:20])


@asynccontextmanager
async def running_fleet(
    database_url: str,
    temporal_address: str,
    folder: Path,
    *,
    namespace: str = "default",
    dying: Mapping[str, str] | None = None,
    **gateway: float,
) -> AsyncIterator[Fleet]:
    """API, worker and gateway up and ready; down at the end. The test itself calls `end_well`.

    `dying`: of which program which steps kill it.
    """
    dying = dying or {}
    port = free_port()
    async with shop.connect(database_url) as admin:
        await make_tenants(admin)
    async with AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{port}"
        sandbox = await stack.enter_async_context(running_gateway(folder, url, SECRET, **gateway))
        settings = api_settings(database_url, sandbox_gateway_url=sandbox.url, sandbox_gateway_secret=SecretStr(SECRET))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "TEMPORAL_"))},
            **as_environment(GENEROUS),
            "HOLDFAST_ENV": "development",
            "HOLDFAST_DATABASE_URL": database_url,
            "HOLDFAST_API_PORT": str(port),
            "HOLDFAST_SANDBOX_GATEWAY_URL": sandbox.url,
            "HOLDFAST_SANDBOX_GATEWAY_SECRET": SECRET,
            "TEMPORAL_ADDRESS": temporal_address,
            "TEMPORAL_NAMESPACE": namespace,
        }
        worker = await stack.enter_async_context(
            Supervised("worker", folder / "worker.log", environment, dying=dying.get("worker"))
        )
        api = await stack.enter_async_context(
            Supervised("api", folder / "api.log", environment, dying=dying.get("api"))
        )
        http = await stack.enter_async_context(_many_connections(url))
        document = await _when_ready(http)
        contract = Contract(document)
        http.event_hooks = {"response": [contract.hook]}
        client = await Client.connect(temporal_address, namespace=namespace)
        yield Fleet(http, sandbox, client, settings, contract, api, worker, folder)


def _many_connections(url: str) -> httpx.AsyncClient:
    # Given up before the server does so (5 s): a request sent in that instant would be lost.
    limits = httpx.Limits(max_connections=400, keepalive_expiry=2.0)
    return httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, limits=limits)


async def _when_ready(http: httpx.AsyncClient) -> dict[str, object]:
    deadline = time.monotonic() + STARTED_SECONDS
    while True:
        with suppress(httpx.TransportError):
            if (await http.get("/readyz")).status_code == 200:
                document: dict[str, object] = (await http.get("/openapi.json")).json()
                return document
        assert time.monotonic() < deadline, "the API was not ready in time; see its log"
        await asyncio.sleep(0.1)
