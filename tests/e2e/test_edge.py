"""Host names and pages of other origins, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from api.app import create_app
from settings import Settings
from tests.support.api import api_settings, raw, running_api, serving

PAGE = "https://www.example.com"
ELSEWHERE = "https://evil.example.net"
ASKED = {"access-control-request-method": "PATCH", "access-control-request-headers": "authorization, idempotency-key"}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """An API without servers behind it, for `shop.example.com`, called by one page."""
    settings = api_settings(
        "postgresql://nobody@127.0.0.1:1/nothing",
        allowed_hosts=("shop.example.com", "*.shop.example.com", "[::1]"),
        cors_origins=(PAGE, "http://localhost:3000"),
        rate_limit_refresh=1,
    )
    async with running_api(settings) as client:
        client.headers["host"] = "shop.example.com"
        yield client


@pytest.mark.parametrize("host", ["shop.example.com", "SHOP.example.com:8443", "a.b.shop.example.com", "[::1]:80"])
async def test_a_host_of_ours_is_served(http: httpx.AsyncClient, host: str) -> None:
    assert (await http.get("/v1/products", headers={"host": host})).status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.net",
        "example.com",
        "notshop.example.com",
        "evilshop.example.com",
        "shop.example.com.evil.example.net",
        "shop.example.com@evil.example.net",
        "shop.example.com:x",
        "shop.example.com:80:80",
        "shop.example.com/",
        "127.0.0.1",
        "::1",
        "",
    ],
)
async def test_any_other_host_is_a_400_that_does_not_echo_it(http: httpx.AsyncClient, host: str) -> None:
    answer = await http.get("/v1/products", headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (400, "host_not_allowed")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "evil" not in answer.text


async def test_no_host_and_two_hosts_are_refused(http: httpx.AsyncClient) -> None:
    for heads in (b"", b"host: shop.example.com\r\nhost: evil.example.net\r\n"):
        answer = await raw(http, b"GET /v1/products HTTP/1.1\r\n" + heads + b"connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 "), answer


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_ask_by_address(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path, headers={"host": "10.1.2.3:8000"})).status_code in {200, 503}


async def test_a_page_of_ours_may_call_with_the_headers_it_needs(http: httpx.AsyncClient) -> None:
    answer = await http.options("/v1/cart", headers={"origin": PAGE, **ASKED})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"authorization", "content-type", "idempotency-key", "prefer", "x-request-id"} <= allowed
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", "https://www.example.com.evil.example.net", PAGE + ":8443", "x"])
async def test_a_page_from_elsewhere_is_refused(
    http: httpx.AsyncClient, origin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await http.options("/v1/cart", headers={"origin": origin, **ASKED})
    assert (answer.status_code, answer.json()["code"]) == (400, "preflight_refused")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "access-control-allow-origin" not in answer.headers
    assert logged(capsys, "preflight_refused") == [("security", origin)]
    plain = await http.get("/v1/products", headers={"origin": origin})
    assert "access-control-allow-origin" not in plain.headers


async def test_a_header_or_method_that_nobody_needs_is_refused(http: httpx.AsyncClient) -> None:
    for wrong in ({"access-control-request-method": "TRACE"}, {"access-control-request-headers": "x-evil"}):
        answer = await http.options("/v1/cart", headers={"origin": PAGE, **ASKED, **wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "preflight_refused")


async def test_a_page_can_read_every_error(http: httpx.AsyncClient) -> None:
    refresh = {"refresh_token": "x"}
    answers = [
        await http.get("/v1/products", headers={"origin": PAGE}),
        await http.get("/v1/nowhere", headers={"origin": PAGE}),
        await http.post("/v1/auth/refresh", headers={"origin": PAGE}, json={"refresh_token": 1}),
        await http.post("/v1/auth/refresh", headers={"origin": PAGE}, json=refresh),
        await http.get("/readyz", headers={"origin": PAGE}),
        await http.get("/v1/products", headers={"origin": PAGE, "host": "evil.example.net"}),
        await http.get("/v1/products?%ff", headers={"origin": PAGE}),
        await http.delete("/v1/products", headers={"origin": PAGE}),
    ]
    assert [answer.status_code for answer in answers] == [401, 404, 422, 429, 503, 400, 400, 405]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == PAGE
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert exposed == {"x-request-id", "location", "retry-after"}


async def test_a_fault_of_ours_can_be_read_by_a_page_too() -> None:
    async def broken() -> None:
        raise RuntimeError("a fault of ours")

    app = create_app(api_settings("postgresql://nobody@127.0.0.1:1/nothing", cors_origins=PAGE))
    app.add_api_route("/broken", broken)
    async with serving(app) as http:
        answer = await http.get("/broken", headers={"origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, PAGE)


async def test_without_origins_in_the_settings_no_page_may_call() -> None:
    async with running_api(api_settings("postgresql://nobody@127.0.0.1:1/nothing")) as http:
        answer = await http.options("/v1/cart", headers={"origin": PAGE, **ASKED})
        assert answer.status_code == 405
        assert not any(name.startswith("access-control") for name in answer.headers)


async def test_a_refused_host_is_in_the_security_log(
    http: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await http.get("/v1/products", headers={"host": "evil.example.net"})
    assert logged(capsys, "host_refused") == [("security", "evil.example.net")]


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://*.example.com",
        "https://www.example.com/",
        "https://www.example.com/shop",
        "www.example.com",
        "https://WWW.example.com",
        "https://www.example.com:443",
        "http://www.example.com:80",
        "ftp://www.example.com",
        "https://user@www.example.com",
        "https://",
    ],
)
def test_an_origin_that_could_never_match_or_matches_all_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(ValueError, match="no origin as browsers send it"):
        Settings.model_validate({"env": "development", "cors_origins": f"{PAGE},{origin}"})


@pytest.mark.parametrize("host", ["*", "*.", "shop.*.com", "shop.example.com:443", "https://shop.example.com", "a/b"])
def test_a_host_with_a_port_or_a_wildcard_in_it_is_refused_at_the_start(host: str) -> None:
    with pytest.raises(ValueError, match="no host name without a port"):
        Settings.model_validate({"env": "development", "allowed_hosts": host})


def logged(capsys: pytest.CaptureFixture[str], event: str) -> list[tuple[str, str]]:
    """(log, what was refused) of each line of this event."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(line["log"], line.get("origin") or line["host"]) for line in lines if line["event"] == event]
