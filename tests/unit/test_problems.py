"""What any error looks like from outside, on a small app of our own parts."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Query
from pydantic import Field

from api import logs, problems
from api.context import RequestContext
from api.deps import IdempotencyKey
from api.fingerprint import fingerprint
from api.models import StrictModel
from api.requests import StrictRoute
from domain import errors
from domain.errors import HoldfastError, InsufficientStock, TooManyRequests, Unauthorized, Unavailable
from tests.support.hostile import MARK

LIMIT = 1024


class Line(StrictModel):
    product_id: int = Field(ge=1)
    quantity: int = Field(default=1, ge=1, le=10)


class Body(StrictModel):
    lines: list[Line] = Field(min_length=1, max_length=3)
    note: str | None = Field(default=None, max_length=20)


router = APIRouter(route_class=StrictRoute)
RAISED: dict[str, HoldfastError] = {
    "busy": TooManyRequests("Wait.", retry_after=7),
    "down": Unavailable(),
    "who": Unauthorized(),
    "short": InsufficientStock(shortages=[{"product_id": 1, "free_at": datetime(2026, 1, 1, tzinfo=UTC)}]),
    "sly": errors.Conflict("x", status=200, request_id="forged", type="y"),
}


@router.get("/raise/{name}")
async def raise_it(name: str) -> None:
    raise RAISED[name]


@router.get("/broken")
async def broken() -> None:
    raise RuntimeError(f"the database password is {MARK}")


@router.get("/http/{status}")
async def http_error(status: int) -> None:
    raise HTTPException(status, headers={"x-more": "yes"})


@router.get("/items")
async def items(limit: Annotated[int, Query(ge=1, le=100)] = 5) -> int:
    return limit


@router.post("/bodies")
async def take(body: Body) -> int:
    return len(body.lines)


@router.post("/optional")
async def take_optional(body: Body | None = None) -> bool:
    return body is None


@router.post("/keyed")
async def keyed(key: IdempotencyKey) -> str:
    return key


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(redirect_slashes=False)
    app.state.max_body_bytes, app.state.body_seconds = LIMIT, 0.2
    app.add_middleware(RequestContext)
    problems.install(app)
    app.include_router(router)
    logs.configure("json")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


def is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    document: dict[str, Any] = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:holdfast:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


async def test_an_error_carries_its_extras_and_when_to_come_back(http: httpx.AsyncClient) -> None:
    answer = await http.get("/raise/short")
    shortages = is_problem(answer, 409, "insufficient_stock")["shortages"]
    assert shortages == [{"product_id": 1, "free_at": "2026-01-01T00:00:00Z"}]
    assert (await http.get("/raise/busy")).headers["retry-after"] == "7"
    assert (await http.get("/raise/down")).headers["retry-after"] == "1"
    assert (await http.get("/raise/who")).headers["www-authenticate"] == "Bearer"


async def test_an_extra_cannot_stand_in_for_a_member_of_the_problem(http: httpx.AsyncClient) -> None:
    is_problem(await http.get("/raise/sly"), 409, "conflict")


async def test_an_unexpected_error_says_nothing_outside_and_all_inside(
    http: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await http.get("/broken", headers={"x-request-id": "abc-1"})
    is_problem(answer, 500, "internal_error")
    assert MARK not in answer.text
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    unexpected, request = lines
    assert unexpected["request_id"] == request["request_id"] == "abc-1"
    assert f"RuntimeError: the database password is {MARK}" in unexpected["exception"]
    assert (request["status"], request["route"], request["method"]) == (500, "/broken", "GET")


async def test_frameworks_own_errors_are_problems_too(http: httpx.AsyncClient) -> None:
    is_problem(await http.get("/nowhere"), 404, "not_found")
    answer = await http.put("/items")
    is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"
    teapot = await http.get("/http/418")
    is_problem(teapot, 418, "http_418")
    assert teapot.headers["x-more"] == "yes"
    is_problem(await http.get("/items/"), 404, "not_found")


@pytest.mark.parametrize("given", ["a", "A-b.c_9", "x" * 64])
async def test_a_good_request_id_is_kept(http: httpx.AsyncClient, given: str) -> None:
    assert (await http.get("/items", headers={"x-request-id": given})).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [b"", b"x" * 65, b"a b", b"a\xff", b"<script>", b"a;b"])
async def test_a_bad_request_id_is_replaced(http: httpx.AsyncClient, given: bytes) -> None:
    made = (await http.get("/items", headers=[(b"x-request-id", given)])).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)


@pytest.mark.parametrize(
    ("body", "field", "fix"),
    [
        ({"lines": [{"product_id": "1"}]}, "lines.0.product_id", True),
        ({"lines": [{"product_id": True}]}, "lines.0.product_id", True),
        ({"lines": [{"product_id": 1.0}]}, "lines.0.product_id", True),
        ({"lines": [{"product_id": 1, "quantity": -1}]}, "lines.0.quantity", False),
        ({"lines": [{"product_id": 1, "quantity": 2**62}]}, "lines.0.quantity", False),
        ({"lines": [{"product_id": 1, MARK: 1}]}, "lines.0", True),
        ({"lines": [{}]}, "lines.0.product_id", True),
        ({"lines": []}, "lines", False),
        ({"lines": [{"product_id": 1}] * 4}, "lines", False),
        ({"lines": {MARK: 1}}, "lines", True),
        ({"lines": [{"product_id": 1}], "note": MARK * 3}, "note", False),
        ({"lines": [{"product_id": 1}], MARK: 1}, "body", True),
        ({}, "lines", True),
        ([], "body", True),
        (None, "body", True),
    ],
)
async def test_a_field_that_is_not_valid_is_named_and_not_echoed(
    http: httpx.AsyncClient, body: object, field: str, fix: bool
) -> None:
    answer = await http.post("/bodies", json=body)
    [error] = is_problem(answer, 422, "invalid")["errors"]
    assert error["field"] == field
    assert error["message"]
    assert bool(error.get("fix")) is fix
    assert MARK not in answer.text


async def test_only_the_first_errors_are_told(http: httpx.AsyncClient) -> None:
    answer = await http.post("/bodies", json={f"{MARK}{number}": 1 for number in range(60)})
    assert len(is_problem(answer, 422, "invalid")["errors"]) == 20


async def test_a_body_may_be_as_large_as_the_limit(http: httpx.AsyncClient) -> None:
    body = json.dumps({"lines": [{"product_id": 1}]}).encode()
    headers = {"content-type": "application/json"}
    assert (await http.post("/bodies", content=body.ljust(LIMIT), headers=headers)).json() == 1
    answer = await http.post("/bodies", content=body.ljust(LIMIT + 1), headers=headers)
    is_problem(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"


async def test_a_body_of_unsaid_length_is_cut_off_at_the_limit(http: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100
            yield b" " * 100

    answer = await http.post("/bodies", content=endless(), headers={"content-type": "application/json"})
    is_problem(answer, 413, "body_too_large")
    assert sent <= LIMIT + 200


@pytest.mark.parametrize("declared", ["99999999999999999999999999", "1025"])
async def test_a_declared_length_past_the_limit_is_refused_unread(http: httpx.AsyncClient, declared: str) -> None:
    headers = {"content-type": "application/json", "content-length": declared}
    is_problem(await http.post("/bodies", content=b"{}", headers=headers), 413, "body_too_large")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"text/plain",
        b"text/json",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"application/jsonp",
        b"application/problem+json",
        b"application/json, text/plain",
        b"application/json; charset=latin-1",
        b"application/json; charset=utf-16",
        b"application/json\xff",
        b"\xff\xfe\xfd",
        b";;;===",
        b"application/json; charset*=%FF''%FF",
    ],
)
async def test_only_json_in_utf_8_is_taken(http: httpx.AsyncClient, content_type: bytes | None) -> None:
    headers = [] if content_type is None else [(b"content-type", content_type)]
    answer = await http.post("/bodies", content=b'{"lines": [{"product_id": 1}]}', headers=headers)
    is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json", "APPLICATION/JSON ; Charset=UTF-8", "application/json;"])
async def test_json_is_taken_however_its_type_is_written(http: httpx.AsyncClient, content_type: str) -> None:
    body = b'{"lines": [{"product_id": 1}]}'
    assert (await http.post("/bodies", content=body, headers={"content-type": content_type})).json() == 1


async def test_no_body_is_a_missing_one_or_the_default(http: httpx.AsyncClient) -> None:
    is_problem(await http.post("/bodies"), 422, "invalid")
    assert (await http.post("/optional")).json() is True
    assert (await http.post("/optional", headers={"content-type": "application/json"})).json() is True
    is_problem(await http.post("/optional", json={}), 422, "invalid")


@pytest.mark.parametrize(
    "address",
    ["/items?limit=%00", "/items?x=%FF", "/%00", "/raise/%ff", "/raise/a%00b", "/items?%ED%A0%80=1", "/%C0%AF"],
)
async def test_an_address_that_is_not_text_is_refused(http: httpx.AsyncClient, address: str) -> None:
    is_problem(await http.get(address), 400, "bad_request")


@pytest.mark.parametrize("limit", ["0", "-1", "101", "x", "", "1e2", "9" * 5000, "5.5", "NaN", "٣٣٣"])
async def test_a_number_in_an_address_has_bounds(http: httpx.AsyncClient, limit: str) -> None:
    document = is_problem(await http.get("/items", params={"limit": limit}), 422, "invalid")
    assert document["errors"][0]["field"] == "limit"
    assert "99999" not in json.dumps(document)


async def test_a_missing_idempotency_key_is_a_400_of_its_own(http: httpx.AsyncClient) -> None:
    is_problem(await http.post("/keyed"), 400, "idempotency_key_missing")


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"a b", b"\xff", b"\xc3\xa4", b"a\tb", b"\x7f"])
async def test_a_bad_idempotency_key_is_refused(http: httpx.AsyncClient, key: bytes) -> None:
    document = is_problem(await http.post("/keyed", headers=[(b"idempotency-key", key)]), 422, "invalid")
    assert document["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("key", ["a", "x" * 255, "!~", "9b2f6c1e-cart-42"])
async def test_a_good_idempotency_key_is_taken_as_it_is(http: httpx.AsyncClient, key: str) -> None:
    assert (await http.post("/keyed", headers={"idempotency-key": key})).json() == key


async def test_a_log_line_has_the_route_and_never_the_address(
    http: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await http.get(f"/raise/busy?token={MARK}", headers={"authorization": f"Bearer {MARK}"})
    out = capsys.readouterr().out
    assert json.loads(out)["route"] == "/raise/{name}"
    assert MARK not in out


def test_the_same_request_has_the_same_fingerprint() -> None:
    bare = Body.model_validate({"lines": [{"product_id": 1}]})
    full = Body.model_validate({"note": None, "lines": [{"quantity": 1, "product_id": 1}]})
    other = Body.model_validate({"lines": [{"product_id": 1, "quantity": 2}]})
    assert fingerprint(bare) == fingerprint(full) != fingerprint(other)
    assert re.fullmatch("[A-Za-z0-9_-]{43}", fingerprint(bare))


def test_every_documented_error_has_an_example_for_each_code() -> None:
    documented = problems.documented(errors.MissingIdempotencyKey, errors.BadJson, errors.Gone)
    assert sorted(documented, key=str) == [400, 410]
    examples = documented[400]["content"][problems.MEDIA_TYPE]["examples"]
    assert sorted(examples) == ["bad_json", "idempotency_key_missing"]
    assert all(problems.Problem.model_validate(example["value"]).status == 400 for example in examples.values())
