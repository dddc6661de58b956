"""Rate limits over real HTTP, with small ones: who is counted, what is counted, and what a refusal says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from api.app import tokens_from
from api.tokens import Scope
from domain.ids import TenantId
from settings import Settings
from tests.support import shop
from tests.support.api import api_settings, log_in, running_api

FAR, FARTHER = "203.0.113.7", "203.0.113.8"


@dataclass
class Shop:
    """A running API, with user `ana` and a product at tenant `demo`."""

    http: httpx.AsyncClient
    settings: Settings

    def headers(self, subject: str, scope: Scope = Scope.BUYER) -> dict[str, str]:
        token = tokens_from(self.settings).issue(TenantId("demo"), subject, [scope], 900)
        return {"authorization": f"Bearer {token}"}

    async def login(self, password: str = shop.PASSWORD, **headers: str) -> httpx.Response:
        body = {"username": "ana", "password": password}
        return await self.http.post("/v1/auth/token", json=body, headers=headers)

    async def read(self, headers: dict[str, str]) -> httpx.Response:
        return await self.http.get("/v1/products/1", headers=headers)


@asynccontextmanager
async def limited(database_url: str, **settings: object) -> AsyncIterator[Shop]:
    """An API with these settings; its other limits are generous."""
    async with shop.connect(database_url) as admin:
        demo = await shop.make_tenant(admin, "demo")
        await shop.make_user(admin, demo, "ana")
        await shop.make_product(admin, demo)
    chosen = api_settings(database_url, **settings)
    async with running_api(chosen) as http:
        yield Shop(http, chosen)


def assert_refused(answer: httpx.Response, limit: str) -> None:
    assert answer.status_code == 429, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert (answer.json()["code"], answer.json()["limit"]) == ("too_many_requests", limit)


async def test_logins_are_counted_by_address_good_or_bad(database_url: str) -> None:
    async with limited(database_url, rate_limit_login=3) as demo:
        assert [(await demo.login(password)).status_code for password in ("wrong", shop.PASSWORD, "wrong")] == [
            401,
            200,
            401,
        ]
        assert_refused(await demo.login(), "login")
        assert_refused(await demo.login("wrong"), "login")


async def test_a_login_over_the_limit_is_refused_before_its_body_is_read(database_url: str) -> None:
    async with limited(database_url, rate_limit_login=1) as demo:
        await demo.login()
        for body in (b"", b"{", b"x" * 300_000, json.dumps({"username": 1}).encode()):
            answer = await demo.http.post("/v1/auth/token", content=body)
            assert_refused(answer, "login")


async def test_refreshes_and_new_sessions_have_limits_of_their_own(database_url: str) -> None:
    async with limited(database_url, rate_limit_login=1, rate_limit_refresh=1, rate_limit_sessions=2) as demo:
        assert (await demo.login()).status_code == 200
        assert [(await demo.http.post("/v1/sessions")).status_code for _ in range(2)] == [201, 201]
        assert_refused(await demo.http.post("/v1/sessions"), "sessions")
        body = {"refresh_token": "no such token"}
        assert (await demo.http.post("/v1/auth/refresh", json=body)).status_code == 401
        assert_refused(await demo.http.post("/v1/auth/refresh", json=body), "refresh")


async def test_reads_are_counted_by_caller_and_apart_from_writes(database_url: str) -> None:
    async with limited(database_url, rate_limit_reads=2, rate_limit_writes=1) as demo:
        ana, luis = demo.headers("ana"), demo.headers("luis")
        assert [(await demo.read(ana)).status_code for _ in range(2)] == [200, 200]
        assert_refused(await demo.read(ana), "reads")
        assert_refused(await demo.read(demo.headers("ana")), "reads")  # Another token of the same buyer.
        assert (await demo.read(luis)).status_code == 200
        assert (await demo.http.post("/v1/checkouts", headers=ana)).status_code == 400
        assert_refused(await demo.http.post("/v1/checkouts", headers=ana), "writes")


async def test_a_service_has_its_own_larger_limit(database_url: str) -> None:
    async with limited(database_url, rate_limit_reads=1, rate_limit_service_reads=3) as demo:
        service = demo.headers("ana", Scope.SERVICE)
        assert [(await demo.read(service)).status_code for _ in range(3)] == [200, 200, 200]
        assert_refused(await demo.read(service), "service_reads")
        assert (await demo.read(demo.headers("ana"))).status_code == 200


async def test_who_sends_bad_tokens_is_not_listened_to_any_more(database_url: str) -> None:
    async with limited(database_url, rate_limit_refused_tokens=2) as demo:
        bad = {"authorization": "Bearer guess"}
        assert [(await demo.read(bad)).status_code for _ in range(2)] == [401, 401]
        assert_refused(await demo.read(bad), "refused_tokens")
        assert_refused(await demo.read(demo.headers("new")), "refused_tokens")
        assert (await demo.http.get("/v1/products/1")).status_code == 401  # No token is no guess.


async def test_nobody_is_thrown_out_by_the_guesses_of_others_at_the_same_address(database_url: str) -> None:
    async with limited(database_url, rate_limit_refused_tokens=1) as demo:
        ana = demo.headers("ana")
        assert (await demo.read(ana)).status_code == 200
        for _ in range(3):
            await demo.read({"authorization": "Bearer guess"})
        assert_refused(await demo.read({"authorization": "Bearer guess"}), "refused_tokens")
        assert (await demo.read(ana)).status_code == 200


async def test_health_and_signed_webhooks_are_not_limited(database_url: str) -> None:
    limits = dict.fromkeys((f"rate_limit_{name}" for name in ("login", "reads", "writes", "refused_tokens")), 1)
    async with limited(database_url, **limits) as demo:
        for _ in range(5):
            assert (await demo.http.get("/healthz")).status_code == 200
            answer = await demo.http.post("/v1/webhooks/demo/sandbox", content=b"{}")
            assert answer.status_code == 401  # Its signature is what counts.


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip", "client-ip", "true-client-ip"])
async def test_an_address_cannot_be_made_up(database_url: str, name: str) -> None:
    async with limited(database_url, rate_limit_login=2) as demo:
        for number in range(2):
            assert (await demo.login(**{name: f"203.0.113.{number}"})).status_code == 200
        assert_refused(await demo.login(**{name: "203.0.113.99"}), "login")


async def test_only_a_trusted_proxy_says_where_a_request_comes_from(database_url: str) -> None:
    trusted = "127.0.0.0/8, 10.0.0.0/8"
    async with limited(database_url, rate_limit_login=1, trusted_proxies=trusted) as demo:
        assert (await demo.login(**{"x-forwarded-for": FAR})).status_code == 200
        assert_refused(await demo.login(**{"x-forwarded-for": f"{FARTHER}, {FAR}"}), "login")  # The client's own claim.
        assert_refused(await demo.login(**{"x-forwarded-for": f"{FAR}, 10.0.0.3"}), "login")
        assert (await demo.login(**{"x-forwarded-for": FARTHER})).status_code == 200
        assert (await demo.login(**{"x-forwarded-for": "2001:db8::1"})).status_code == 200
        assert_refused(await demo.login(**{"x-forwarded-for": "2001:db8::2"}), "login")


async def test_nonsense_from_a_trusted_proxy_is_one_address(database_url: str) -> None:
    async with limited(database_url, rate_limit_login=1, trusted_proxies="127.0.0.1") as demo:
        assert (await demo.login(**{"x-forwarded-for": "nobody"})).status_code == 200
        assert_refused(await demo.login(**{"x-forwarded-for": "no one"}), "login")


async def test_every_limit_hit_is_in_the_security_log(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with limited(database_url, rate_limit_login=1, rate_limit_reads=1) as demo:
        headers = await log_in(demo.http, "ana", shop.PASSWORD)
        await demo.login()
        for _ in range(2):
            await demo.read(headers)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    hits = [line for line in lines if line["event"] == "limit_hit"]
    assert [(line["log"], line["limit"]) for line in hits] == [("security", "login"), ("security", "reads")]
    assert hits[0]["who"] == "127.0.0.1"
    assert hits[1]["who"].startswith("demo/user:")
