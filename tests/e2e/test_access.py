"""Logins, refreshes, logouts and anonymous sessions over real HTTP, in one API process and in another."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio

from api.app import tokens_from
from api.caller import Scope
from api.jwks import COOLDOWN_SECONDS
from api.revocations import FRESH_SECONDS
from domain.ids import SessionId, TenantId
from local.postgres import Postgres
from settings import Settings
from tests.support import servers, shop
from tests.support.api import api_settings, running_api
from tests.support.buyers import as_json, code
from tests.support.contract import Contract
from tests.support.issuer import AUDIENCE, ISSUER, KeyPair, Published, make_key, outside_claims, running_issuer

pytestmark = pytest.mark.asyncio(loop_scope="module")
Json = dict[str, Any]


@dataclass
class Shop:
    """Two API processes on one database, with user `ana` and product 1 at tenant `demo`."""

    http: httpx.AsyncClient
    other_process: httpx.AsyncClient
    settings: Settings
    admin: shop.Connection

    async def log_in(self, name: str = "ana", session_token: str | None = None, **headers: str) -> httpx.Response:
        body = {"username": name, "password": shop.PASSWORD}
        return await self.http.post(
            "/v1/auth/token", json=body | ({"session_token": session_token} if session_token else {}), headers=headers
        )

    async def tokens(self, **how: Any) -> Json:
        """A login that must succeed."""
        answer = await self.log_in(**how)
        assert answer.status_code == 200, answer.text
        return as_json(answer)

    async def refresh(self, token: str) -> httpx.Response:
        return await self.http.post("/v1/auth/refresh", json={"refresh_token": token})

    async def session(self, **headers: str) -> Json:
        answer = await self.http.post("/v1/sessions", headers=headers)
        assert answer.status_code == 201, answer.text
        return as_json(answer)

    async def log_out(self, token: str) -> int:
        return (await self.http.post("/v1/auth/logout", headers=bearer(token))).status_code


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def opens(http: httpx.AsyncClient, token: str) -> bool:
    """Whether the token opens the shop. Only 401 is no."""
    answer = await http.get("/v1/products", headers=bearer(token))
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


def claims(token: str) -> Json:
    read: Json = jwt.decode(token, options={"verify_signature": False})
    return read


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(postgres: Postgres) -> AsyncIterator[Shop]:
    name = servers.create_database(postgres)
    settings = api_settings(database_url := postgres.url(name))
    async with shop.connect(database_url) as admin:
        demo = await shop.make_tenant(admin, "demo")
        await shop.make_tenant(admin, "other", maximum_seconds=500_000)
        for user in ("ana", "luis", "gone"):
            await shop.make_user(admin, demo, user)
        await shop.make_product(admin, demo)
        async with running_api(settings) as http, running_api(settings) as another:
            one = Shop(http, another, settings, admin)
            contract = Contract((await http.get("/openapi.json")).json())
            http.event_hooks = another.event_hooks = {"response": [contract.hook]}
            yield one
            assert contract.broken == []
    servers.drop_database(postgres, name)


async def test_a_refresh_gives_new_tokens_of_the_same_login(running: Shop) -> None:
    first = await running.tokens()
    answer = await running.refresh(first["refresh_token"])
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    second = as_json(answer)
    assert second["refresh_token"] != first["refresh_token"]
    assert second["token_type"] == "Bearer"
    assert second["expires_in"] == running.settings.access_token_seconds
    assert 0 < second["refresh_expires_in"] <= first["refresh_expires_in"] == running.settings.refresh_token_seconds
    old, new = claims(first["access_token"]), claims(second["access_token"])
    assert (old["sid"], old["sub"], old["tenant"]) == (new["sid"], new["sub"], new["tenant"])
    assert old["jti"] != new["jti"]
    assert await opens(running.http, first["access_token"])
    assert await opens(running.http, second["access_token"])


async def test_a_replayed_refresh_token_ends_the_login_and_its_access_tokens_at_once(running: Shop) -> None:
    first = await running.tokens()
    second = as_json(await running.refresh(first["refresh_token"]))
    untouched = await running.tokens()
    for token in (first, second, untouched):
        assert await opens(running.http, token["access_token"])
    replayed = await running.refresh(first["refresh_token"])
    assert (replayed.status_code, code(replayed)) == (401, "unauthorized")
    assert not await opens(running.http, first["access_token"])
    assert not await opens(running.http, second["access_token"])
    assert (await running.refresh(second["refresh_token"])).status_code == 401
    assert await opens(running.http, untouched["access_token"]), "another login of the same user goes on"


async def test_of_two_refreshes_at_once_one_wins_and_the_login_ends(running: Shop) -> None:
    first = await running.tokens()
    answers = await asyncio.gather(*(running.refresh(first["refresh_token"]) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    [winner] = [as_json(answer) for answer in answers if answer.status_code == 200]
    assert (await running.refresh(winner["refresh_token"])).status_code == 401
    assert not await opens(running.http, winner["access_token"])


async def test_every_bad_refresh_token_hears_the_same(running: Shop) -> None:
    used, revoked = [await running.tokens() for _ in range(2)]
    disabled = await running.tokens(name="gone")
    await running.refresh(used["refresh_token"])
    await running.log_out(revoked["access_token"])
    await running.admin.execute("UPDATE users SET disabled_at = now() WHERE username = 'gone'")
    good = used["refresh_token"]
    bad = [
        used["refresh_token"],
        revoked["refresh_token"],
        disabled["refresh_token"],
        good[:-1],
        good + "A",
        good.replace("demo", "other"),
        good.replace("demo", "nowhere"),
        good.replace("demo", "Demo"),
        used["access_token"],
        "x",
        "hfr.demo." + "A" * 43,
        "é" * 20,
    ]
    answers = [await running.refresh(token) for token in bad]
    assert {answer.status_code for answer in answers} == {401}
    assert {json.dumps({**answer.json(), "request_id": ""}) for answer in answers} == {
        json.dumps({**answers[0].json(), "request_id": ""})
    }
    for answer in answers:
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_refresh_token_does_not_pass_as_an_access_token(running: Shop) -> None:
    token = await running.tokens()
    assert not await opens(running.http, token["refresh_token"])


async def test_a_logout_ends_access_and_refresh_and_a_repeat_is_a_401(running: Shop) -> None:
    first = await running.tokens()
    second = as_json(await running.refresh(first["refresh_token"]))
    assert await running.log_out(first["access_token"]) == 204
    assert await running.log_out(first["access_token"]) == 401
    assert not await opens(running.http, second["access_token"])
    assert (await running.refresh(second["refresh_token"])).status_code == 401
    assert await opens(running.http, (await running.tokens())["access_token"])


async def test_another_process_refuses_a_revoked_token_within_a_second(running: Shop) -> None:
    token = (await running.tokens())["access_token"]
    assert await opens(running.other_process, token)
    assert await running.log_out(token) == 204
    revoked_at = time.monotonic()
    while await opens(running.other_process, token):
        assert time.monotonic() - revoked_at < FRESH_SECONDS + 0.5
        await asyncio.sleep(0.02)
    assert not await opens(running.other_process, token)


async def test_a_programs_token_ends_alone(running: Shop) -> None:
    ours = tokens_from(running.settings)
    one, two = [ours.issue(TenantId("demo"), "storefront", {Scope.SERVICE}, 600) for _ in range(2)]
    assert await running.log_out(one) == 204
    assert not await opens(running.http, one)
    assert await opens(running.http, two)


async def test_a_session_is_an_anonymous_buyer_with_a_key_of_our_making(running: Shop) -> None:
    one, two = await running.session(), await running.session()
    assert one["session_id"] != two["session_id"]
    assert len(one["session_id"]) <= 40
    assert one["expires_in"] == running.settings.session_token_seconds
    read = claims(one["access_token"])
    assert (read["sub"], read["scope"], read["tenant"]) == (one["session_id"], "buyer", "demo")
    assert await opens(running.http, one["access_token"])


async def test_a_session_lives_longer_than_the_longest_hold_of_its_tenant(running: Shop) -> None:
    session = await running.session(host="other.localhost")
    assert claims(session["access_token"])["tenant"] == "other"
    assert session["expires_in"] > 500_000


async def test_a_session_can_be_ended(running: Shop) -> None:
    session = await running.session()
    assert await running.log_out(session["access_token"]) == 204
    assert not await opens(running.http, session["access_token"])
    answer = await running.log_in(session_token=session["access_token"])
    assert_names_the_field(answer)


async def test_a_login_takes_a_session_over_and_says_so_in_its_tokens_for_good(running: Shop) -> None:
    session = await running.session()
    made = await running.tokens(session_token=session["access_token"])
    assert made["notices"] == []
    refreshed = as_json(await running.refresh(made["refresh_token"]))
    for token in (made, refreshed):
        assert claims(token["access_token"])["origin"] == session["session_id"]
    assert not await opens(running.http, session["access_token"]), "the session's own token is over"


async def test_the_login_may_be_repeated_by_the_same_user_and_by_nobody_else(running: Shop) -> None:
    session = await running.session()
    first = await running.tokens(session_token=session["access_token"])
    again = await running.tokens(session_token=session["access_token"])
    for token in (first, again):
        assert claims(token["access_token"])["origin"] == session["session_id"]
        assert await opens(running.http, token["access_token"])
    assert_names_the_field(await running.log_in("luis", session_token=session["access_token"]))


async def test_a_session_token_that_is_not_good_is_a_422_that_names_the_field(running: Shop) -> None:
    ours, demo = tokens_from(running.settings), TenantId("demo")
    elsewhere = await running.session(host="other.localhost")
    for token in (
        "x",
        elsewhere["access_token"],
        ours.issue(demo, "42", {Scope.BUYER}, 600),
        (await running.tokens())["access_token"],
        (await running.tokens())["refresh_token"],
        ours.issue_session(demo, SessionId("never-opened"), 600),
        ours.issue_session(demo, SessionId((await running.session())["session_id"]), -60),
        tokens_from(running.settings.model_copy(update={"jwt_issuer": "x"})).issue_session(demo, SessionId("a"), 600),
    ):
        assert_names_the_field(await running.log_in(session_token=token))


async def test_without_the_password_nobody_hears_of_a_session(running: Shop) -> None:
    session = await running.session()
    for token in ("x", session["access_token"]):
        body = {"username": "ana", "password": "wrong", "session_token": token}
        assert (await running.http.post("/v1/auth/token", json=body)).status_code == 401
    assert await opens(running.http, session["access_token"])


def assert_names_the_field(answer: httpx.Response) -> None:
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text
    [error] = answer.json()["errors"]
    assert error["field"] == "session_token"
    assert "Leave it out" in error["fix"]


async def test_the_logs_tell_what_happened_and_no_secret(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    session = await running.session()
    first = await running.tokens(session_token=session["access_token"])
    second = as_json(await running.refresh(first["refresh_token"]))
    await running.refresh(first["refresh_token"])
    await opens(running.http, second["access_token"])
    await running.log_out((await running.tokens())["access_token"])
    out = capsys.readouterr().out
    events = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in events if line.get("log") == "auth"] == [
        "session_opened", "login", "refresh", "login", "logout",
    ]  # fmt: skip
    told = [(line["event"], line.get("why") or line.get("rule") or line.get("reason")) for line in events
            if line.get("log") == "security"]  # fmt: skip
    assert told == [
        ("refresh_refused", "replayed"), ("revoked", "replayed"), ("token_refused", "revoked"), ("revoked", "logout"),
    ]  # fmt: skip
    for secret in (session["access_token"], first["refresh_token"], second["refresh_token"], second["access_token"]):
        assert secret not in out
        assert secret.rpartition(".")[2] not in out
    assert "ana" not in [part for line in events for part in map(str, line.values())]


@dataclass
class Outside:
    """An API that trusts an issuer, and the issuer's server."""

    http: httpx.AsyncClient
    published: Published
    key: KeyPair


@pytest_asyncio.fixture(loop_scope="module")
async def outside(database_url: str) -> AsyncIterator[Outside]:
    key, published = make_key("ES256", "first"), Published()
    published.keys = [key.jwk()]
    async with shop.connect(database_url) as admin, running_issuer(published) as address:
        await shop.make_product(admin, await shop.make_tenant(admin, "demo"))
        settings = api_settings(
            database_url, outside_issuer=ISSUER, outside_audience=AUDIENCE, outside_jwks_url=address
        )
        async with running_api(settings) as http:
            yield Outside(http, published, key)


async def test_an_outside_issuers_token_opens_the_shop_and_can_be_ended(outside: Outside) -> None:
    token, another = outside.key.sign(outside_claims()), outside.key.sign(outside_claims(jti=None))
    for each in (token, another):
        assert await opens(outside.http, each)
        assert (await outside.http.post("/v1/auth/logout", headers=bearer(each))).status_code == 204
        assert not await opens(outside.http, each)
    assert await opens(outside.http, outside.key.sign(outside_claims()))
    assert outside.published.asked == 1


async def test_an_outside_issuers_keys_rotate_without_a_restart(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.jwks.COOLDOWN_SECONDS", 0.0)
    assert COOLDOWN_SECONDS > 0
    old = outside.key.sign(outside_claims())
    assert await opens(outside.http, old)
    following = make_key("RS256", "second")
    new = following.sign(outside_claims())
    assert not await opens(outside.http, new)
    outside.published.keys = [outside.key.jwk(), following.jwk()]
    assert await opens(outside.http, new)
    assert await opens(outside.http, old)
    outside.published.keys = [following.jwk()]
    assert not await opens(outside.http, make_key("ES256", "unknown").sign(outside_claims()))
    assert not await opens(outside.http, old), "the callers of a key that is gone are forgotten with it"
    assert await opens(outside.http, new)


async def test_an_outside_tenant_that_does_not_exist_here_opens_nothing(outside: Outside) -> None:
    assert not await opens(outside.http, outside.key.sign(outside_claims(tenant="nowhere")))


async def test_without_its_issuers_keys_a_token_is_not_judged(outside: Outside) -> None:
    outside.published.status = 500
    answer = await outside.http.get("/v1/products", headers=bearer(outside.key.sign(outside_claims())))
    assert (answer.status_code, code(answer)) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
