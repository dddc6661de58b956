"""Who may see what: every checkout and order route of the API's own document, for every kind of stranger."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

import httpx
import jwt
import pytest

from api.app import create_app, tokens_from
from api.tokens import ALGORITHM, HEADER, Scope
from tests.support.api import api_settings
from tests.support.buyers import Buyer
from tests.support.system import DEMO, OTHER, System

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = create_app(api_settings("postgresql://nobody@127.0.0.1:1/nothing")).openapi()
OPEN = {
    ("post", "/v1/auth/token"),
    ("post", "/v1/auth/refresh"),
    ("post", "/v1/sessions"),
    ("post", "/v1/webhooks/{tenant}/{gateway}"),
    ("get", "/healthz"),
    ("get", "/readyz"),
}
"""The only routes that ask for no token."""
Route = tuple[str, str]
OPERATIONS: dict[Route, Any] = {
    (method, path): operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
}
OWNED = [route for route, one in OPERATIONS.items() if {"checkouts", "orders"} & set(one["tags"])]
ONE_THING = [route for route in OWNED if "{" in route[1]]
BODIES = {"/v1/checkouts": {"lines": [{"product_id": 1}]}, "/v1/checkouts/{checkout_id}/confirm": {"payment_id": "p1"}}
"""A good body for each route that needs one: else a stranger would hear of the body first."""


def named(route: Route) -> str:
    return " ".join(route)


async def send(http: httpx.AsyncClient, route: Route, ids: dict[str, str], headers: dict[str, str]) -> httpx.Response:
    method, path = route
    body = BODIES.get(path) if method != "get" else None
    address = re.sub(r"\{([^}]+)\}", lambda match: ids[match.group(1)], path)
    sent = {"idempotency-key": uuid.uuid4().hex, **headers}
    return await http.request(method.upper(), address, json=body, headers=sent)


async def sold(system: System) -> tuple[Buyer, dict[str, str]]:
    """(buyer, ids of a held checkout and of an order), by the names that the routes give them."""
    coffee, buyer = await system.product(), system.buyer()
    paid, held = await buyer.hold((coffee, 1)), await buyer.hold((coffee, 1))
    await system.gateway.pay(await system.payment(paid))
    view = await buyer.until(paid["id"], "confirmed")
    return buyer, {"checkout_id": held["id"], "order_id": view["order_id"]}


def same_body(one: httpx.Response, other: httpx.Response) -> bool:
    """Whether two problems differ in nothing but the id of their request."""
    first, second = one.json(), other.json()
    return {**first, "request_id": ""} == {**second, "request_id": ""}


async def test_the_document_has_the_routes_that_this_module_is_about() -> None:
    assert {"startCheckout", "getCheckout", "extendCheckout", "cancelCheckout", "confirmCheckout"} <= {
        one["operationId"] for one in OPERATIONS.values()
    }
    assert len(OWNED) >= 7
    assert len(ONE_THING) >= 5


@pytest.mark.parametrize("route", OPERATIONS, ids=named)
async def test_every_route_says_in_the_document_whether_it_needs_a_token(route: Route) -> None:
    assert (route in OPEN) == (not OPERATIONS[route].get("security")), named(route)


@pytest.mark.parametrize("route", [route for route in OPERATIONS if route not in OPEN], ids=named)
@pytest.mark.parametrize("kind", ["no token", "expired", "wrong audience", "wrong issuer", "another key", "not ours"])
async def test_a_bad_token_is_a_401_on_every_route(shared_system: System, route: Route, kind: str) -> None:
    ids = {"checkout_id": str(uuid.uuid4()), "order_id": str(uuid.uuid4()), "product_id": "1"}
    answer = await send(shared_system.http, route, ids, bad_headers(shared_system, kind))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("route", OWNED, ids=named)
@pytest.mark.parametrize("scope", [Scope.ADMIN, Scope.OPERATOR])
async def test_a_token_without_the_scope_is_a_403(shared_system: System, route: Route, scope: Scope) -> None:
    ids = {"checkout_id": str(uuid.uuid4()), "order_id": str(uuid.uuid4())}
    answer = await send(shared_system.http, route, ids, dict(shared_system.buyer(DEMO, None, scope).headers))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("route", ONE_THING, ids=named)
async def test_a_stranger_hears_of_anothers_thing_what_he_hears_of_a_missing_one(system: System, route: Route) -> None:
    owner, ids = await sold(system)
    strangers = [
        system.buyer(OTHER, owner.subject),
        system.buyer(DEMO),
        system.buyer(DEMO, owner.subject, Scope.SERVICE),
        system.buyer(OTHER),
    ]
    nothing = {name: str(uuid.uuid4()) for name in ids}
    for stranger in strangers:
        headers = dict(stranger.headers)
        answer, missing = await send(system.http, route, ids, headers), await send(system.http, route, nothing, headers)
        assert (answer.status_code, missing.status_code) == (404, 404), answer.text
        assert same_body(answer, missing)
    assert (await owner.read(ids["checkout_id"]))["status"] == "held"


@pytest.mark.parametrize("route", ONE_THING, ids=named)
@pytest.mark.parametrize("odd", ["1", "x", "A" * 36, "00000000-0000-0000-0000-00000000000G", "%2e%2e", "a" * 5000])
async def test_an_id_that_is_none_is_a_404_like_a_missing_one(shared_system: System, route: Route, odd: str) -> None:
    headers = dict(shared_system.buyer().headers)
    answer = await send(shared_system.http, route, dict.fromkeys(("checkout_id", "order_id"), odd), headers)
    missing = await send(
        shared_system.http, route, dict.fromkeys(("checkout_id", "order_id"), str(uuid.uuid4())), headers
    )
    assert (answer.status_code, missing.status_code) == (404, 404)
    assert same_body(answer, missing)


async def test_nobody_sees_anothers_orders_in_the_list(system: System) -> None:
    owner, _ = await sold(system)
    assert len(await owner.orders()) == 1
    for stranger in (system.buyer(), system.buyer(OTHER, owner.subject)):
        assert await stranger.orders() == []


async def test_a_buyer_cannot_hold_another_tenants_products(system: System) -> None:
    newest = await system.product(tenant=DEMO)
    while (coffee := await system.product(tenant=OTHER, stock=5)) <= newest:
        pass
    answer = await system.buyer(DEMO).start((coffee, 1))
    assert (answer.status_code, answer.json()["shortages"][0]["reason"]) == (409, "gone")
    assert await system.stock(coffee, OTHER) == (5, 0, 0)


async def test_a_service_sees_what_it_started_for_its_buyers(system: System) -> None:
    coffee = await system.product()
    service = system.buyer(DEMO, "storefront", Scope.SERVICE)
    held = await service.hold((coffee, 1))
    assert (await system.buyer(DEMO, "storefront", Scope.SERVICE).read(held["id"]))["id"] == held["id"]
    assert (await system.buyer(DEMO, "storefront").look(held["id"])).status_code == 404


def bad_headers(system: System, kind: str) -> dict[str, str]:
    """The Authorization header of a token with one thing wrong; everything else is right."""
    if kind == "no token":
        return {}
    settings = system.settings
    good = tokens_from(settings).issue(DEMO, "ana", {Scope.BUYER}, 900)
    claims = jwt.decode(good, options={"verify_signature": False})
    secret = settings.jwt_secret.get_secret_value()
    now = int(time.time())
    wrong: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - 60, "iat": now - 600},
        "wrong audience": {"aud": "somebody-else"},
        "wrong issuer": {"iss": "somebody-else"},
    }
    key = secret if kind in wrong else "another-secret-of-at-least-32-bytes-here"
    typ = {"typ": "JWT"} if kind == "not ours" else {"typ": HEADER["typ"]}
    key = secret if kind == "not ours" else key
    token = jwt.encode({**claims, **wrong.get(kind, {})}, key, ALGORITHM, headers=typ)
    return {"authorization": f"Bearer {token}"}
