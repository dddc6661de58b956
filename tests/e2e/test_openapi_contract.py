"""The OpenAPI document tells the truth. Every end-to-end test holds each answer it gets against the document; here is
shown that this would see a lie, and every status of the checkout's routes is provoked once."""

from __future__ import annotations

import copy
import json
import uuid
from typing import Any

import httpx
import pytest

from api.tokens import Scope
from tests.support.buyers import Buyer
from tests.support.contract import Contract
from tests.support.system import OTHER, QUICK, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_served_document_is_the_one_that_answers_are_held_against(system: System) -> None:
    served = await system.http.get("/openapi.json")
    assert (served.status_code, served.json()) == (200, system.contract.document)


def answered(status: int, body: Any, kind: str = "application/json") -> httpx.Response:
    return httpx.Response(status, content=json.dumps(body).encode(), headers={"content-type": kind})


async def test_an_answer_that_breaks_the_document_is_seen(system: System) -> None:
    coffee = await system.product()
    held = await system.buyer().hold((coffee, 1))
    contract, path = Contract(system.contract.document), f"/v1/checkouts/{held['id']}"
    assert contract.fault("GET", path, answered(200, held)) is None
    lies = {
        "does not name": answered(418, held),
        "not as": answered(200, held, "text/html"),
        "not by its schema: 'lots'": answered(200, {**held, "total": "lots"}),
        "not by its schema: 'lost'": answered(200, {**held, "status": "lost"}),
        "is a required property": answered(200, {key: held[key] for key in held if key != "lines"}),
        "not as ['application/problem+json']": answered(404, {"code": "not_found"}),
    }
    for word, lie in lies.items():
        assert word in (contract.fault("GET", path, lie) or ""), word
    thinner = copy.deepcopy(system.contract.document)
    del thinner["paths"]["/v1/checkouts/{checkout_id}"]["get"]["responses"]["200"]
    assert "does not name" in (Contract(thinner).fault("GET", path, answered(200, held)) or "")


async def test_the_checkout_routes_answer_each_status_they_name(system: System) -> None:
    """All but 408 (a slow body) and 429 (a limit), shown elsewhere."""
    coffee, buyer = await system.product(stock=9), system.buyer()
    held = await buyer.hold((coffee, 1))
    gone = await buyer.hold((coffee, 1))
    await buyer.cancel(gone["id"])
    paid = await buyer.hold((coffee, 1))
    await system.gateway.pay(await system.payment(paid))
    await buyer.until(paid["id"], "confirmed")
    for path in (
        "/v1/checkouts",
        f"/v1/checkouts/{held['id']}/extend",
        f"/v1/checkouts/{held['id']}/cancel",
        f"/v1/checkouts/{held['id']}/confirm",
    ):
        await provoke_common(system, buyer, path)
    stranger = system.buyer(OTHER)
    for answer in (
        await buyer.look(held["id"]),
        await stranger.look(held["id"]),
        await stranger.extend(held["id"]),
        await stranger.cancel(held["id"]),
        await stranger.confirm(held["id"], "pay_1"),
        await buyer.extend(held["id"]),
        await buyer.extend(gone["id"]),
        await buyer.cancel(paid["id"]),
        await buyer.extend(paid["id"]),
        await buyer.confirm(held["id"], "pay_1"),
        await buyer.start((coffee, 10)),
        await buyer.cancel(held["id"]),
    ):
        assert answer.status_code in (200, 404, 409, 410), answer.text
    quick = system.buyer(QUICK)
    over = await quick.hold((await system.product(tenant=QUICK), 1))
    await quick.until(over["id"], "expired", seconds=6)
    assert (await quick.cancel(over["id"])).status_code == 410
    assert named_statuses(system, "/v1/checkouts") <= seen_statuses(system, "/v1/checkouts") | {404, 408, 429, 503}
    for action in ("extend", "cancel"):
        path = f"/v1/checkouts/{{checkout_id}}/{action}"
        assert named_statuses(system, path) <= seen_statuses(system, path) | {408, 429, 503}, path


async def provoke_common(system: System, buyer: Buyer, path: str) -> None:
    """400, 401, 403, 413, 415 and 422, which every writing route of a checkout answers alike."""
    key = {"idempotency-key": uuid.uuid4().hex}
    admin = system.buyer(buyer.tenant, None, Scope.ADMIN)
    json_type = {"content-type": "application/json"}
    good: dict[str, Any] | None = {"lines": [{"product_id": 1}]} if path == "/v1/checkouts" else None
    good = {"payment_id": "pay_1"} if path.endswith("/confirm") else good
    answers = [
        await system.http.post(path, content=b"{", headers={**buyer.headers, **key, **json_type}),
        await system.http.post(path, json=good, headers=key),
        await system.http.post(path, json=good, headers={**admin.headers, **key}),
        await system.http.post(path, content=b" " * 300_000, headers={**buyer.headers, **key, **json_type}),
        await system.http.post(path, content=b"a=b", headers={**buyer.headers, **key, "content-type": "text/plain"}),
        await system.http.post(path, json={"unknown": 1}, headers={**buyer.headers, **key}),
        await system.http.post(path, json=good, headers=buyer.headers),
    ]
    assert [answer.status_code for answer in answers] == [400, 401, 403, 413, 415, 422, 400]


def named_statuses(system: System, path: str) -> set[int]:
    return {int(status) for status in system.contract.document["paths"][path]["post"]["responses"]}


def seen_statuses(system: System, path: str) -> set[int]:
    return {status for _, template, status in system.contract.seen if template == path}
