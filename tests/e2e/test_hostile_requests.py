"""What nobody sends by accident, over real HTTP: 4xx, a problem document, nothing echoed, and the API lives on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support import shop
from tests.support.api import api_settings, raw, running_api
from tests.support.hostile import BAD_JSON, INVALID, MARK

BODY_SECONDS = 0.5
LOGIN = b"POST /v1/auth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture
async def http(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with shop.connect(database_url) as admin:
        await shop.make_tenant(admin, "demo")
    settings = api_settings(database_url, max_body_seconds=BODY_SECONDS)
    async with running_api(settings) as client:
        yield client


async def test_every_hostile_body_is_a_problem_and_never_echoed(http: httpx.AsyncClient) -> None:
    for wanted, bodies in ((400, BAD_JSON), (422, INVALID)):
        for name, body in bodies.items():
            answer = await http.post(
                "/v1/auth/token", content=body, headers={"content-type": "application/json; charset=utf-8"}
            )
            assert answer.status_code == wanted, f"{name}: {answer.status_code} {answer.text}"
            assert answer.headers["content-type"] == "application/problem+json", name
            assert MARK not in answer.text, name
            assert len(answer.content) < 6000, name
    assert (await http.get("/healthz")).status_code == 200


async def test_a_slow_body_is_given_up(http: httpx.AsyncClient) -> None:
    began = time.perf_counter()
    answer = await raw(http, LOGIN + b"content-length: 100\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer
    assert BODY_SECONDS <= time.perf_counter() - began < BODY_SECONDS + 5


async def test_a_chunked_body_without_end_is_cut_off(http: httpx.AsyncClient) -> None:
    head = LOGIN + b"transfer-encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answer = await raw(http, head + chunk * 5)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in answer


async def test_a_body_cut_off_by_its_sender_hurts_nobody(http: httpx.AsyncClient) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
    writer.write(LOGIN + b"content-length: 9\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await http.get("/healthz")).status_code == 200


async def test_a_strange_request_line_is_a_4xx(http: httpx.AsyncClient) -> None:
    lines = [
        b"GET /v1/products/%00 HTTP/1.1",
        b"GET /v1/products?after=%00 HTTP/1.1",
        b"GET /v1/products/\xff HTTP/1.1",
        b"GET /v1/products?\xff\xfe=1 HTTP/1.1",
        b"GET /v1/products?after=%ff HTTP/1.1",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1",
        b"GET //v1/products HTTP/1.1",
        b"GET http://other.localhost/v1/nowhere HTTP/1.1",
        b"FROB /v1/products HTTP/1.1",
        b"POST /v1/products HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET / HTTP/9.9",
        b"nonsense",
    ]
    for line in lines:
        answer = await raw(http, line + b"\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 ", b"HTTP/1.1 404 ", b"HTTP/1.1 405 ")), (
            line,
            answer,
        )


async def test_a_strange_host_header_is_refused(http: httpx.AsyncClient) -> None:
    body = b'{"username": "nobody", "password": "x"}'
    for host in (b"", b"\xff\xfe", b"a..b", b"%00.localhost", b"x" * 5000, b"-.-", b"demo\x7f.localhost"):
        head = LOGIN.replace(b"host: localhost", b"host: " + host) + b"connection: close\r\n"
        answer = await raw(http, head + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert answer.startswith(b"HTTP/1.1 400 "), (host, answer)


async def test_a_bad_authorization_header_is_a_401(http: httpx.AsyncClient) -> None:
    headers = [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer x",
        b"Bearer a.b.c",
        b"Bearer ..",
        b"Basic YW5hOnNlY3JldA==",
        b"Bearer \xff\xfe\xfd",
        b"\xff\xfe",
        b"Bearer " + b"a" * 5000,
        b"Bearer eyJhbGciOiJub25lIn0.e30.",
        b"bearer null",
        b"Bearer \t\t",
        b"Bearer x y z",
    ]
    for header in headers:
        line = b"authorization: " + header + b"\r\n"
        answer = await raw(
            http, b"GET /v1/products HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n" + line + b"\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 401 "), (header, answer)
        assert b"www-authenticate: Bearer\r\n" in answer
        assert b'"code":"unauthorized"' in answer
