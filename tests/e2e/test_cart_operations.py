"""Carts and the audit log, for those who look after a tenant, over real HTTP."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from api.tokens import Scope
from domain.ids import ProductId
from tests.support import shop
from tests.support.buyers import Buyer, as_json, code
from tests.support.system import DEMO, OTHER, System

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROLES = [Scope.ADMIN, Scope.OPERATOR]


async def user_with_cart(system: System, product: ProductId) -> tuple[str, Buyer]:
    """(e-mail, buyer) of a new user with two units of the product in the cart."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    async with shop.connect(system.admin_url) as admin:
        buyer = system.buyer(DEMO, await shop.make_user(admin, DEMO, name))
    answer = await buyer.http.patch("/v1/cart", json={str(product): 2}, headers=buyer.headers)
    assert answer.status_code == 200, answer.text
    return f"{name}@example.com", buyer


async def set_status(who: Buyer, email: str, status: Any) -> httpx.Response:
    return await who.http.post("/v1/ops/carts/status", json={"email": email, "status": status}, headers=who.headers)


async def audit(who: Buyer, **query: Any) -> Any:
    answer = await who.http.get("/v1/ops/audit", params=query, headers=who.headers)
    assert answer.status_code == 200, answer.text
    return as_json(answer)


@pytest.mark.parametrize("role", ROLES)
async def test_a_carts_status_is_set_by_its_owners_email_and_shows_in_the_audit_log(
    system: System, role: Scope
) -> None:
    email, buyer = await user_with_cart(system, await system.product())
    keeper = system.buyer(DEMO, None, role)
    answer = await set_status(keeper, email.upper(), "processing")
    assert answer.status_code == 200
    cart = as_json(answer)["cart_id"]
    refused = await buyer.http.delete("/v1/cart", headers=buyer.headers)
    assert (refused.status_code, code(refused), refused.json()["checkout_id"]) == (409, "cart_processing", None)
    assert as_json(await set_status(keeper, email, "available")) == {"cart_id": cart, "status": "available"}

    page = await audit(keeper, cart=cart)
    assert [entry["action"] for entry in page["items"]] == ["cart.status_set", "cart.status_set", "cart.changed"]
    newest = page["items"][0]
    assert (newest["actor"], newest["subject"]) == (f"user:{keeper.subject}", f"cart:{cart}")
    assert (newest["before"], newest["after"]) == ({"status": "processing"}, {"status": "available"})
    assert page["next_before"] is None
    assert email not in str(page)


async def test_a_cart_that_a_live_checkout_holds_is_not_freed(system: System) -> None:
    email, buyer = await user_with_cart(system, await system.product())
    held = as_json(await buyer.post("/v1/checkouts", {}, None))
    keeper = system.buyer(DEMO, None, Scope.OPERATOR)
    answer = await set_status(keeper, email, "available")
    assert (answer.status_code, code(answer), answer.json()["checkout_id"]) == (409, "cart_processing", held["id"])
    await buyer.cancel(held["id"])
    assert (await set_status(keeper, email, "available")).status_code == 200


async def test_an_unknown_email_is_a_404_and_a_bad_body_a_422(system: System) -> None:
    email, _ = await user_with_cart(system, await system.product())
    keeper = system.buyer(DEMO, None, Scope.ADMIN)
    assert (await set_status(keeper, "nobody@example.com", "available")).status_code == 404
    assert (await set_status(system.buyer(OTHER, None, Scope.ADMIN), email, "available")).status_code == 404
    for bad in ("held", "", None, 1):
        assert (await set_status(keeper, email, bad)).status_code == 422
    for bad_email in ("x", "", "a" * 255 + "@example.com"):
        assert (await set_status(keeper, bad_email, "available")).status_code == 422


async def test_cleaning_counts_carts_and_lines(system: System) -> None:
    coffee, mug = await system.product(), await system.product()
    buyers = [(await user_with_cart(system, coffee))[1] for _ in range(3)]
    await buyers[0].http.patch("/v1/cart", json={str(mug): 1}, headers=buyers[0].headers)
    keeper = system.buyer(DEMO, None, Scope.ADMIN)
    assert (await keeper.http.post("/v1/ops/carts/clean", headers=keeper.headers)).status_code == 200
    async with shop.connect(system.admin_url) as admin:
        await admin.execute("UPDATE products SET available = false WHERE tenant_id = %s AND id = %s", (DEMO, coffee))
    answer = await keeper.http.post("/v1/ops/carts/clean", headers=keeper.headers)
    assert as_json(answer) == {"carts_cleaned": 3, "lines_removed": 3}
    again = await keeper.http.post("/v1/ops/carts/clean", headers=keeper.headers)
    assert as_json(again) == {"carts_cleaned": 0, "lines_removed": 0}
    left = as_json(await buyers[0].http.get("/v1/cart", headers=buyers[0].headers))
    assert [line["product_id"] for line in left["lines"]] == [mug]
    page = await audit(keeper, actor=f"user:{keeper.subject}")
    assert [entry["action"] for entry in page["items"]] == ["cart.cleaned"] * 3


async def test_the_audit_log_is_read_in_pages_and_by_time(system: System) -> None:
    coffee = await system.product()
    _, buyer = await user_with_cart(system, coffee)
    for quantity in (3, 4, 5):
        await buyer.http.patch("/v1/cart", json={str(coffee): quantity}, headers=buyer.headers)
    keeper, who = system.buyer(DEMO, None, Scope.OPERATOR), f"user:{buyer.subject}"
    every = (await audit(keeper, actor=who))["items"]
    assert [entry["after"]["lines"][str(coffee)] for entry in every] == [5, 4, 3, 2]

    first = await audit(keeper, actor=who, limit=3)
    second = await audit(keeper, actor=who, limit=3, before=first["next_before"])
    assert (first["items"] + second["items"], second["next_before"]) == (every, None)
    assert (await audit(keeper, actor=who, since=every[1]["at"]))["items"] == every[:2]
    assert (await audit(keeper, actor=who, until=every[1]["at"]))["items"] == every[2:]
    assert (await audit(system.buyer(OTHER, None, Scope.OPERATOR), actor=who))["items"] == []


@pytest.mark.parametrize(
    "query",
    ["cart=x", "cart=0D6F1F0A-97A1-4D6C-9B0A-5D4A1F1B2C3D", "since=yesterday", "since=2026-01-01T00:00:00", "limit=0",
     "limit=101", "before=x", "before=MjAyNnwx", f"actor={'a' * 201}", "who=me"],
)  # fmt: skip
async def test_a_bad_audit_query_is_a_422(system: System, query: str) -> None:
    keeper = system.buyer(DEMO, None, Scope.OPERATOR)
    answer = await keeper.http.get(f"/v1/ops/audit?{query}", headers=keeper.headers)
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/ops/carts/status"), ("POST", "/v1/ops/carts/clean"), ("GET", "/v1/ops/audit")]
)
@pytest.mark.parametrize("scope", [Scope.BUYER, Scope.SERVICE])
async def test_who_only_buys_or_sells_looks_after_nothing(system: System, method: str, path: str, scope: Scope) -> None:
    buyer = system.buyer(DEMO, None, scope)
    body = {"email": "ana@example.com", "status": "available"} if path.endswith("status") else None
    answer = await buyer.http.request(method, path, json=body, headers=buyer.headers)
    assert (answer.status_code, code(answer)) == (403, "forbidden")
