"""Alive and ready, over real HTTP."""

from __future__ import annotations

import httpx
from temporalio.client import Client

from db import migrate
from local.ports import free_port
from tests.support.api import api_settings, running_api


async def missing(http: httpx.AsyncClient) -> list[str]:
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert int(answer.headers["retry-after"]) >= 1
    named: list[str] = answer.json()["missing"]
    return named


async def nowhere() -> Client:
    return await Client.connect(f"127.0.0.1:{free_port()}", lazy=True)


async def test_the_api_is_ready_when_both_servers_answer(database_url: str, temporal_address: str) -> None:
    client = await Client.connect(temporal_address, lazy=True)
    async with running_api(api_settings(database_url), client=client) as http:
        assert (await http.get("/readyz")).json() == {"status": "ok"}


async def test_the_api_starts_alone_and_says_what_is_missing() -> None:
    settings = api_settings(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    async with running_api(settings, client=await nowhere()) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert await missing(http) == ["postgresql", "temporal"]
        login = await http.post("/v1/auth/token", json={"username": "ana", "password": "x"})
        assert (login.status_code, login.json()["code"]) == (503, "unavailable")
        assert login.headers["retry-after"] == "1"


async def test_a_schema_behind_the_code_is_not_ready(database_url: str) -> None:
    migrate.downgrade(database_url, "base")
    async with running_api(api_settings(database_url), client=await nowhere()) as http:
        assert await missing(http) == ["schema", "temporal"]
