"""The API over real HTTP: uvicorn in this process, on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from temporalio.client import Client

from api.app import create_app
from api.limits import Limit
from settings import LOCAL_HOSTS, Settings

GENEROUS = dict.fromkeys((f"rate_limit_{limit}" for limit in Limit), 1_000_000)
"""Tests send as much as they like, from one address; those about the limits set their own."""
HOSTS = (*LOCAL_HOSTS, "other", "*.1.2.3", "*.example.com")


def api_settings(database_url: str, **changes: object) -> Settings:
    """Development settings for a test's own database; `changes` by field name."""
    ours = {"env": "development", "database_url": SecretStr(database_url), "allowed_hosts": HOSTS}
    return Settings.model_validate({**ours, **GENEROUS, **changes})


def as_environment(changes: Mapping[str, object]) -> dict[str, str]:
    """Settings by field name, as a child process is told them."""
    return {f"HOLDFAST_{name.upper()}": str(value) for name, value in changes.items()}


@asynccontextmanager
async def running_api(
    settings: Settings, *, client: Client | None = None, port: int = 0
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve, and give an HTTP client with the base URL set. `client`: a Temporal client for the API to use."""
    async with serving(create_app(settings, client=client), port) as http:
        yield http


@asynccontextmanager
async def serving(app: FastAPI, port: int = 0) -> AsyncIterator[httpx.AsyncClient]:
    """Serve any app on `port` (0: a free one) until the end; a lifespan that fails is raised here."""
    # The protocol is named, else asyncio leaves Nagle's algorithm on and every answer takes 40 ms longer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = _Server(
            uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2, proxy_headers=False)
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await _started(server, task)
            port = listener.getsockname()[1]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=15) as http:
                yield http
        finally:
            server.should_exit = True
            async with asyncio.timeout(15):
                await task


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the test runner's signal handlers alone."""
        yield


async def _started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(20):
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("the API did not start; see its log lines above")
            await asyncio.sleep(0.01)


async def raw(http: httpx.AsyncClient, sent: bytes) -> bytes:
    """Send these bytes to the server as they are, which no HTTP client would; what comes back until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
    try:
        writer.write(sent)
        await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def log_in(http: httpx.AsyncClient, username: str, password: str, host: str | None = None) -> dict[str, str]:
    """Log in; the headers that then say who calls."""
    headers = {"host": host} if host else {}
    answer = await http.post("/v1/auth/token", json={"username": username, "password": password}, headers=headers)
    answer.raise_for_status()
    return {"authorization": f"Bearer {answer.json()['access_token']}"}
