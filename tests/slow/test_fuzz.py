"""Thousands of generated requests, and hostile bodies on every route: never a 5xx, always as the document says."""

from __future__ import annotations

import asyncio
import json
import random
import re
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.tokens import Scope
from tests.support import shop
from tests.support.fleet import Fleet
from tests.support.hostile import BAD_JSON, INVALID, MARK
from tests.support.system import DEMO
from tests.support.venues import make_seats, make_zone

pytestmark = pytest.mark.slow
SEED = 20261121
EXAMPLES = {"good token": 40, "no token": 8}
"""Of each operation, of good and of bad data each."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
LEFT_OPEN = "/v1/ops/checkouts/{checkout_id}/manual-payment"
"""Money that came by hand for what is sold is owed back until an operator has carried it: not at what exists."""
JSON = {"content-type": "application/json"}


class Fuzzer:
    """Sends generated cases, half of them at things that exist, and holds every answer against the document."""

    def __init__(self, url: str, headers: Mapping[str, str], known: Mapping[str, list[str]]) -> None:
        self._url, self._headers, self._known = url, dict(headers), known
        self._session, self._dice = requests.Session(), random.Random(SEED)
        self.statuses: Counter[int] = Counter()

    def send(self, case: Case[Any]) -> None:
        """One request and its checks. Raises schemathesis' own report of what is wrong."""
        for name, values in self._known.items():
            if name in case.path_parameters and case.path != LEFT_OPEN and self._dice.random() < 0.5:
                case.path_parameters[name] = self._dice.choice(values)
        lines = case.body.get("lines") if isinstance(case.body, dict) else None
        for line in lines if isinstance(lines, list) else ():
            for name in ("product_id", "zone_id", "seat_id"):
                if isinstance(line, dict) and type(line.get(name)) is int and self._dice.random() < 0.5:
                    line[name] = self._dice.randint(1, 3)
        if case.path == "/v1/checkouts/{checkout_id}/events":  # Not to the end of a hold.
            case.query = {**(case.query or {}), "follow": "false"}
        # A logout would end the token that all the others need.
        headers = self._headers if case.path != "/v1/auth/logout" else {}
        response = case.call(base_url=self._url, headers=headers, session=self._session, timeout=20)
        self.statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)


async def test_2000_generated_requests_are_answered_as_the_document_says(fleet: Fleet) -> None:
    print(f"seed {SEED}")
    known, token = await some_things(fleet)
    schema = schemathesis.openapi.from_dict(dict(fleet.contract.document))
    total: Counter[int] = Counter()
    for kind, examples in EXAMPLES.items():
        fuzzer = Fuzzer(str(fleet.http.base_url), token if kind == "good token" else {}, known)
        for found in schema.get_all_operations():
            operation = found.ok()  # type: ignore[union-attr]
            for mode in modes(operation):
                await asyncio.to_thread(fuzz, operation, mode, examples, fuzzer)
        print(f"{kind}: {dict(sorted(fuzzer.statuses.items()))}")
        total += fuzzer.statuses
    assert sum(total.values()) >= 2000, total
    assert {200, 201, 400, 401, 404, 409, 422} <= set(total), "the requests reached what they were meant to reach"
    assert (await fleet.http.get("/healthz")).status_code == 200
    await fleet.end_well(30)


def modes(operation: Any) -> list[GenerationMode]:
    """Bad data needs something to be bad in; a webhook's address takes any text, and its body is bytes."""
    if operation.label == "POST /v1/webhooks/{tenant}/{gateway}":
        return [GenerationMode.POSITIVE]
    takes = (operation.body, operation.query, operation.path_parameters, operation.headers)
    return list(GenerationMode) if any(len(list(part)) for part in takes) else [GenerationMode.POSITIVE]


def fuzz(operation: Any, mode: GenerationMode, examples: int, fuzzer: Fuzzer) -> None:
    """`examples` requests to one operation; fewer where there is less to say."""

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        fuzzer.send(case)

    run()


async def some_things(fleet: Fleet) -> tuple[dict[str, list[str]], dict[str, str]]:
    """(ids that exist, by the names of path parameters; a token that is a buyer's and an administrator's)."""
    async with shop.connect(fleet.admin_url) as admin:
        products = [await shop.make_product(admin, DEMO, stock=100_000) for _ in range(3)]
        zones = [(await make_seats(admin, DEMO, 20, 20))[0], await make_zone(admin, DEMO, 100_000)]
    buyer = fleet.buyer(DEMO, "fuzz", Scope.BUYER, Scope.ADMIN, Scope.OPERATOR)
    checkouts = [await buyer.hold((products[0], 1)) for _ in range(8)]
    made = await fleet.gateway.create(DEMO, checkouts[0]["id"], checkouts[0]["total"], "COP")
    await fleet.gateway.pay(made["id"])
    sold = await buyer.until(checkouts[0]["id"], "confirmed")
    ids = [checkout["id"] for checkout in checkouts]
    known = {"checkout_id": ids, "order_id": [sold["order_id"]] * 2, "product_id": ["1", "2", "3"]}
    known |= {"event_id": ["1"] * 2, "zone_id": [str(zone) for zone in zones]}
    return {**known, "tenant": ["demo"] * 2, "gateway": ["sandbox"] * 2}, dict(buyer.headers)


HOSTILE_STARTS: dict[str, bytes] = {
    "true for a number": b'{"lines":[{"product_id":true}]}',
    "text for a number": b'{"lines":[{"product_id":"1"}]}',
    "a float": b'{"lines":[{"product_id":1.0}]}',
    "an exponent": b'{"lines":[{"product_id":1e0}]}',
    "null": b'{"lines":[{"product_id":null}]}',
    "minus one": b'{"lines":[{"product_id":1,"quantity":-1}]}',
    "none of it": b'{"lines":[{"product_id":1,"quantity":0}]}',
    "too many": b'{"lines":[{"product_id":1,"quantity":10001}]}',
    "2 to the 63": b'{"lines":[{"product_id":9223372036854775808}]}',
    "a list as a quantity": b'{"lines":[{"product_id":1,"quantity":[1]}]}',
    "no lines": b'{"lines":[]}',
    "null for lines": b'{"lines":null}',
    "two things in a line": b'{"lines":[{"product_id":1,"seat_id":1}]}',
    "two of one seat": b'{"lines":[{"seat_id":1,"quantity":2}]}',
    "lines that are no list": b'{"lines":{"product_id":1}}',
    "101 lines": b'{"lines":[' + b",".join([b'{"product_id":1}'] * 101) + b"]}",
    "a price": b'{"lines":[{"product_id":1,"unit_price":1}]}',
    "a total": b'{"lines":[{"product_id":1}],"total":1}',
    "a tenant": b'{"lines":[{"product_id":1}],"tenant":"canary7f3a"}',
    "a buyer": b'{"lines":[{"product_id":1}],"buyer_key":"canary7f3a"}',
    "a total that is true": b'{"lines":[{"product_id":1}],"expected_total":true}',
    "a negative total": b'{"lines":[{"product_id":1}],"expected_total":-1}',
    "a huge total": b'{"lines":[{"product_id":1}],"expected_total":1000000000000001}',
    "a line twice": b'{"lines":[{"product_id":1}],"lines":[{"product_id":2}]}',
    "a product twice": b'{"lines":[{"product_id":1,"product_id":2}]}',
}
HOSTILE_CONFIRMS: dict[str, bytes] = {
    "a way out": b'{"payment_id":"../../ledger"}',
    "a query": b'{"payment_id":"a?b=canary7f3a"}',
    "a line break": b'{"payment_id":"a\\ncanary7f3a"}',
    "nothing in it": b'{"payment_id":""}',
    "too long": b'{"payment_id":"' + b"a" * 201 + b'"}',
    "a number": b'{"payment_id":12}',
    "another gateway": b'{"payment_id":"a","gateway":"canary7f3a"}',
    "a gateway with capitals": b'{"payment_id":"a","gateway":"SANDBOX"}',
    "an amount": b'{"payment_id":"a","amount":1}',
}
HARMLESS_SOMEWHERE = {"nothing": "everything in it is optional", "null": "the whole body is"}


async def test_hostile_json_is_a_4xx_on_every_route_that_takes_a_body(fleet: Fleet) -> None:
    known, token = await some_things(fleet)
    routes = [
        (method.upper(), path, "required" in operation["requestBody"])
        for path, item in fleet.contract.document["paths"].items()
        for method, operation in item.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    assert len(routes) >= 13
    for method, template, required in routes:
        path = re.sub(r"\{(\w+)\}", lambda match: known.get(match.group(1), ["1", "1"])[1], template)
        for name, body in BAD_JSON.items():
            await refused(fleet.http, method, path, name, body, token, {400})
        for name, body in INVALID.items():
            if name not in HARMLESS_SOMEWHERE or (name == "null" and required):
                await refused(fleet.http, method, path, name, body, token, {422})
    for name, body in HOSTILE_STARTS.items():
        await refused(fleet.http, "POST", "/v1/checkouts", name, body, token, {400, 422})
    for name, body in HOSTILE_CONFIRMS.items():
        await refused(fleet.http, "POST", f"/v1/checkouts/{known['checkout_id'][1]}/confirm", name, body, token, {422})
    answer = await fleet.http.get(f"/v1/checkouts/{known['checkout_id'][1]}", headers=token)
    assert answer.json()["status"] == "held", "nothing hostile had an effect"
    await fleet.end_well(30)


async def refused(
    http: httpx.AsyncClient, method: str, path: str, name: str, body: bytes, token: dict[str, str], wanted: set[int]
) -> None:
    headers = {**token, **JSON, "idempotency-key": uuid.uuid4().hex}
    answer = await http.request(method, path, content=body, headers=headers)
    assert answer.status_code in wanted, f"{method} {path}, {name}: {answer.status_code} {answer.text[:300]}"
    assert answer.headers["content-type"] == "application/problem+json", name
    assert answer.json()["request_id"]
    assert MARK not in answer.text, name


HOSTILE_HEADERS = ["\x01", "é", "k" * 5000, "'; DROP TABLE checkouts; --", "../../etc/passwd", "${jndi:x}"]


async def test_hostile_keys_and_queries_are_never_a_5xx(fleet: Fleet) -> None:
    known, token = await some_things(fleet)
    checkout = known["checkout_id"][1]
    for value in HOSTILE_HEADERS:
        for path, body in (
            ("/v1/checkouts", {"lines": [{"product_id": 1}]}),
            (f"/v1/checkouts/{checkout}/extend", None),
            (f"/v1/checkouts/{checkout}/confirm", {"payment_id": "a"}),
        ):
            headers = {**token, **JSON, "idempotency-key": value, "prefer": value}
            sent = [(name.encode(), text.encode()) for name, text in headers.items()]
            content = json.dumps(body).encode() if body else b""
            answer = await fleet.http.post(path, content=content, headers=sent)
            assert answer.status_code < 500, f"{path} {value!r}: {answer.text}"
    for query in ("limit=0", "limit=101", "limit=1e9", "limit=true", "before=x", "before=%00", "before=" + "A" * 300):
        answer = await fleet.http.get(f"/v1/orders?{query}", headers=token)
        assert answer.status_code in (400, 422), query
    fleet.contract.broken = [one for one in fleet.contract.broken if "text/plain" not in one]  # The server's own 400.
    await fleet.end_well(30)
