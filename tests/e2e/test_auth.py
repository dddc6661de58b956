"""Login and tokens over real HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import jwt
import pytest

from api.app import tokens_from
from api.tokens import Scope
from domain.ids import TenantId
from settings import Settings
from tests.support import shop
from tests.support.api import api_settings, log_in, running_api


@dataclass(frozen=True)
class Shop:
    """A running API, with user `ana` at tenant `demo` and product 1 at both tenants."""

    http: httpx.AsyncClient
    settings: Settings
    ana: str
    other: TenantId


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Shop]:
    async with shop.connect(database_url) as admin:
        demo = await shop.make_tenant(admin, "demo")
        other = await shop.make_tenant(admin, "other")
        ana = await shop.make_user(admin, demo, "ana")
        await shop.make_user(admin, demo, "gone", disabled=True)
        await shop.make_user(admin, other, "eva", scopes=["admin"])
        await shop.make_product(admin, demo, name="Coffee")
        await shop.make_product(admin, other, name="Tea")
    settings = api_settings(database_url)
    async with running_api(settings) as http:
        yield Shop(http, settings, ana, other)


async def attempt(
    http: httpx.AsyncClient, username: str, password: str = shop.PASSWORD, **headers: str
) -> httpx.Response:
    return await http.post("/v1/auth/token", json={"username": username, "password": password}, headers=headers)


async def names(http: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    """What the catalogue shows."""
    answer = await http.get("/v1/products", headers=headers)
    return [item["name"] for item in answer.json()["items"]]


async def test_a_login_gives_a_token_that_opens_the_shop(running: Shop) -> None:
    answer = await attempt(running.http, "Ana@Example.com")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", running.settings.access_token_seconds)
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["tenant"], claims["scope"]) == (running.ana, "demo", "buyer")
    assert await names(running.http, {"authorization": f"Bearer {body['access_token']}"}) == ["Coffee"]


async def test_wrong_password_unknown_user_and_disabled_user_look_the_same(running: Shop) -> None:
    tries = [("ana", "wrong"), ("nobody", shop.PASSWORD), ("gone", shop.PASSWORD), ("eva", shop.PASSWORD)]
    answers = [await attempt(running.http, name, password) for name, password in tries]
    bodies = []
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        bodies.append({name: value for name, value in answer.json().items() if name != "request_id"})
    assert all(body == bodies[0] for body in bodies)


async def test_the_host_name_chooses_the_tenant(running: Shop) -> None:
    for host in ("other.localhost", "OTHER.localhost:8000", "other.shops.example.com"):
        headers = await log_in(running.http, "eva", shop.PASSWORD, host)
        assert await names(running.http, headers) == ["Tea"]


async def test_another_host_name_means_the_default_tenant(running: Shop) -> None:
    for host in ("localhost", "127.0.0.1:8000", "nobody.localhost", "[::1]:80", "other", "other.1.2.3"):
        assert (await attempt(running.http, "ana", host=host)).status_code == 200, host
    assert (await attempt(running.http, "eva", host="other")).status_code == 401


async def test_a_token_stays_with_its_tenant_whatever_the_host_name(running: Shop) -> None:
    headers = await log_in(running.http, "ana", shop.PASSWORD)
    assert await names(running.http, {**headers, "host": "other.localhost"}) == ["Coffee"]


async def test_a_token_that_is_over_or_another_installations_is_a_401(running: Shop) -> None:
    tokens = tokens_from(running.settings)
    over = tokens.issue(running.other, "1", {Scope.BUYER}, -60)
    foreign = tokens_from(running.settings.model_copy(update={"jwt_issuer": "elsewhere"}))
    for token in (over, foreign.issue(running.other, "1", {Scope.BUYER}, 60)):
        answer = await running.http.get("/v1/products", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401


async def test_a_burst_of_logins_is_answered_and_the_api_stays_awake(running: Shop) -> None:
    logins = [asyncio.create_task(attempt(running.http, "ana")) for _ in range(8)]
    began = time.perf_counter()
    assert (await running.http.get("/healthz")).status_code == 200
    assert time.perf_counter() - began < 2
    assert [answer.status_code for answer in await asyncio.gather(*logins)] == [200] * 8


async def test_no_password_token_or_e_mail_is_logged(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    headers = await log_in(running.http, "Ana@Example.com", shop.PASSWORD)
    await attempt(running.http, "ana@example.com", "hunter2-wrong")
    await running.http.get("/v1/products", headers=headers)
    out = capsys.readouterr().out
    lines = [json.loads(line) for line in out.splitlines()]
    events = [line["event"] for line in lines]
    assert events == ["login", "request", "login_refused", "request", "request"]
    assert all(line["tenant"] == "demo" for line in lines)
    for secret in ("example.com", shop.PASSWORD, "hunter2", headers["authorization"].split()[1]):
        assert secret.lower() not in out.lower()
