"""Every log of a life in the shop, searched for what must never be in one."""

from __future__ import annotations

import json
import logging
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import logs
from tests.support import shop
from tests.support.api import running_api
from tests.support.system import DEMO, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Visitor:
    """Calls the API, and remembers every secret that it sent or was given."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.secrets: set[str] = set()
        self.headers: dict[str, str] = {}

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        key = f"key-{uuid.uuid4().hex}"
        self.secrets |= {key, *(value for value in (body or {}).values() if isinstance(value, str) and len(value) > 5)}
        sent = {**self.headers, "idempotency-key": key, **headers}
        answer = await self.http.post(path, json=body, headers=sent)
        given = answer.json() if answer.content else {}
        self.secrets |= {given[name] for name in ("access_token", "refresh_token") if name in given}
        return answer

    async def log_in(self, username: str, password: str, **more: str) -> dict[str, Any]:
        answer = await self.post("/v1/auth/token", {"username": username, "password": password, **more})
        body: dict[str, Any] = answer.json()
        return body

    def carry(self, token: str) -> None:
        self.headers = {"authorization": f"Bearer {token}"}


async def test_no_log_has_a_token_a_password_an_e_mail_or_an_idempotency_key(
    system: System, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    await shop.make_user(system.admin, DEMO, "olga")
    coffee = await system.product(stock=5)
    settings = system.settings.model_copy(
        update={"log_dir": tmp_path, "rate_limit_writes": 20, "cors_origins": ("https://www.example.com",)}
    )
    with caplog.at_level(logging.DEBUG):
        try:
            async with running_api(settings, client=system.client) as http:
                visitor = Visitor(http)
                await _a_life(visitor, system, coffee)
        finally:
            logs.configure("json")
    printed = capfd.readouterr()
    files = {name: (tmp_path / f"{name}.log").read_text() for name in logs.OWN_FILES}
    everything = "\n".join([printed.out, printed.err, caplog.text, *files.values()])

    events = {name: {json.loads(line)["event"] for line in text.splitlines()} for name, text in files.items()}
    assert {"login", "login_refused", "refresh", "logout"} <= events["auth"], events
    assert {"token_refused", "limit_hit", "host_refused", "preflight_refused"} <= events["security"], events
    assert '"event": "request"' in everything
    assert len(visitor.secrets) > 20
    assert [secret for secret in visitor.secrets if secret in everything] == []
    for part in ("olga", "@example.com", "nobody@", shop.PASSWORD, "eyJ"):
        assert part not in everything, part


async def _a_life(visitor: Visitor, system: System, coffee: int) -> None:
    """Through every door, by the right key and by wrong ones."""
    await visitor.log_in("olga@example.com", "not her password")
    await visitor.log_in("nobody@example.org", "hunter2-hunter2")
    session = (await visitor.post("/v1/sessions")).json()
    visitor.carry(session["access_token"])
    assert (await visitor.post("/v1/cart/items", {"product_id": coffee})).status_code == 201
    olga = await visitor.log_in("olga", shop.PASSWORD, session_token=session["access_token"])
    refreshed = (await visitor.post("/v1/auth/refresh", {"refresh_token": olga["refresh_token"]})).json()
    visitor.carry(refreshed["access_token"])
    held = await visitor.post("/v1/checkouts", {"lines": [{"product_id": coffee}]})
    assert held.status_code == 201, held.text
    assert (await visitor.post(f"/v1/checkouts/{held.json()['id']}/cancel")).status_code == 200
    await visitor.post("/v1/checkouts", {"lines": "a-secret-in-the-wrong-place"})
    await visitor.post("/v1/auth/refresh", {"refresh_token": olga["refresh_token"]})  # A replay.
    again = await visitor.log_in("OLGA", shop.PASSWORD)
    visitor.carry(again["access_token"])
    assert (await visitor.post("/v1/auth/logout")).status_code == 204
    assert (await visitor.post("/v1/auth/logout")).status_code == 401
    await visitor.post("/v1/auth/logout", authorization="Bearer eyJhbGciOiJub25lIn0.e30.forged")
    await visitor.post("/v1/auth/logout", host="evil.example.net")
    asked = {"origin": "https://evil.example.net", "access-control-request-method": "PATCH"}
    await visitor.http.options("/v1/cart", headers=asked)
    last = await visitor.log_in("olga", shop.PASSWORD)
    visitor.carry(last["access_token"])
    assert 429 in [(await visitor.post("/v1/checkouts", {"lines": []})).status_code for _ in range(25)]
