"""Carts over real HTTP. Every answer is held against the OpenAPI document."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from api.tokens import Scope
from tests.support import shop
from tests.support.buyers import Buyer, as_json, code
from tests.support.hostile import BAD_JSON, MARK
from tests.support.system import DEMO, System

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = {"content-type": "application/json"}
CANARY = 777_777_777_777_777
"""Stands where a number may, so that a test sees an echo."""


async def patch(buyer: Buyer, body: Any) -> httpx.Response:
    """PATCH the cart; bytes as they are, else as JSON without spaces."""
    sent = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return await buyer.http.patch("/v1/cart", content=sent, headers={**buyer.headers, **JSON})


async def look(buyer: Buyer, query: str = "") -> Any:
    answer = await buyer.http.get(f"/v1/cart{query}", headers=buyer.headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return as_json(answer)


async def start(buyer: Buyer) -> Any:
    """A checkout of the cart, which must succeed."""
    answer = await buyer.post("/v1/checkouts", {}, None)
    assert answer.status_code == 201, answer.text
    return as_json(answer)


async def fields(buyer: Buyer, body: Any) -> list[str]:
    """The fields that a refused PATCH names."""
    answer = await patch(buyer, body)
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text
    assert str(CANARY) not in answer.text
    return [error["field"] for error in answer.json()["errors"]]


async def test_the_specs_example_costs_6000_less_500(system: System) -> None:
    buyer = system.buyer()
    plain, offer, dear = (
        await system.product(price=1000),
        await system.product(price=2000, offer_price=1500, name="Mug"),
        await system.product(price=3000),
    )
    answer = await patch(buyer, {str(each): 1 for each in (plain, offer, dear)})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    cart = as_json(answer)
    assert (cart["subtotal"], cart["discount"], cart["total"], cart["currency"]) == (6000, 500, 5500, "COP")
    assert cart["lines"][1] == {
        "product_id": offer, "name": "Mug", "quantity": 1, "price": 2000, "offer_price": 1500, "unit_price": 1500,
        "total": 1500, "available": True, "stock_available": 10, "one_per_cart": False,
    }  # fmt: skip
    assert await look(buyer) == cart
    assert (cart["status"], cart["notices"], cart["checkout_id"]) == ("available", [], None)


async def test_an_empty_cart_is_an_answer_too(system: System) -> None:
    buyer = system.buyer()
    empty: dict[str, Any] = {
        "id": None,
        "status": "available",
        "checkout_id": None,
        "updated_at": None,
        "notices": [],
        "lines": [],
    }
    assert await look(buyer, "?view=ids") == empty
    assert await look(buyer) == {**empty, "currency": "COP", "subtotal": 0, "discount": 0, "tax": 0, "total": 0}
    answer = await buyer.http.delete("/v1/cart", headers=buyer.headers)
    assert (answer.status_code, as_json(answer)["lines"]) == (200, [])


async def test_lines_are_set_added_removed_and_cleared(system: System) -> None:
    buyer, coffee, mug = system.buyer(), await system.product(), await system.product()
    assert len(json.dumps({"38": 3}, separators=(",", ":"))) == 8
    await patch(buyer, {str(coffee): 3})
    added = await buyer.http.post("/v1/cart/items", json={"product_id": mug}, headers=buyer.headers)
    assert added.status_code == 201
    more = await buyer.http.post("/v1/cart/items", json={"product_id": mug, "quantity": 4}, headers=buyer.headers)
    assert [(line["product_id"], line["quantity"]) for line in as_json(more)["lines"]] == [(coffee, 3), (mug, 5)]
    ids = await look(buyer, "?view=ids")
    assert ids["lines"] == [{"product_id": coffee, "quantity": 3}, {"product_id": mug, "quantity": 5}]
    removed = await buyer.http.delete(f"/v1/cart/items/{coffee}", headers=buyer.headers)
    assert [line["product_id"] for line in as_json(removed)["lines"]] == [mug]
    again = await buyer.http.delete(f"/v1/cart/items/{coffee}", headers=buyer.headers)
    assert again.json() == removed.json()
    cleared = await buyer.http.delete("/v1/cart", headers=buyer.headers)
    assert as_json(cleared)["lines"] == (await look(buyer))["lines"] == []


async def test_a_delta_is_all_or_nothing_and_names_each_product_that_failed(system: System) -> None:
    buyer, coffee, mug = system.buyer(), await system.product(stock=5), await system.product()
    await patch(buyer, {str(mug): 1})
    refused = await patch(buyer, {str(mug): 2, str(coffee): 6, "999999": 1})
    assert (refused.status_code, code(refused)) == (409, "cart_refused")
    assert refused.json()["products"] == [
        {"product_id": coffee, "reason": "insufficient_stock", "requested": 6, "available": 5},
        {"product_id": 999999, "reason": "gone", "requested": 1, "available": 0},
    ]
    assert [line["quantity"] for line in (await look(buyer))["lines"]] == [1]


async def test_a_product_sold_once_per_cart_is_already_in_it(system: System) -> None:
    buyer, ticket = system.buyer(), await system.product()
    async with shop.connect(system.admin_url) as admin:
        await admin.execute("UPDATE products SET one_per_cart = true WHERE tenant_id = %s AND id = %s", (DEMO, ticket))
    for status, expected in ((201, None), (409, "already_in_cart")):
        answer = await buyer.http.post("/v1/cart/items", json={"product_id": ticket}, headers=buyer.headers)
        assert answer.status_code == status
        assert expected is None or code(answer) == expected


async def test_what_became_of_a_product_is_told_once(system: System) -> None:
    buyer, coffee, mug = system.buyer(), await system.product(name="Coffee"), await system.product()
    await patch(buyer, {str(coffee): 2, str(mug): 1})
    async with shop.connect(system.admin_url) as admin:
        await admin.execute("UPDATE products SET available = false WHERE tenant_id = %s AND id = %s", (DEMO, coffee))
    cart = await look(buyer)
    assert cart["notices"] == [
        {"product_id": coffee, "name": "Coffee", "reason": "unavailable", "before": 2, "after": 0}
    ]
    assert [line["product_id"] for line in cart["lines"]] == [mug]
    assert (await look(buyer))["notices"] == []


async def test_a_cart_that_a_checkout_holds_refuses_every_change_and_comes_back_when_cancelled(system: System) -> None:
    buyer, coffee = system.buyer(), await system.product(price=1000)
    await patch(buyer, {str(coffee): 2})
    held = await start(buyer)
    async with shop.connect(system.admin_url) as admin:
        await admin.execute("UPDATE products SET price = 7000 WHERE tenant_id = %s AND id = %s", (DEMO, coffee))
    changes = (
        patch(buyer, {str(coffee): 0}),
        buyer.http.post("/v1/cart/items", json={"product_id": coffee}, headers=buyer.headers),
        buyer.http.delete(f"/v1/cart/items/{coffee}", headers=buyer.headers),
        buyer.http.delete("/v1/cart", headers=buyer.headers),
    )
    for answer in await asyncio.gather(*changes):
        assert (answer.status_code, code(answer), answer.json()["checkout_id"]) == (409, "cart_processing", held["id"])
    cart = await look(buyer)
    assert (cart["status"], cart["checkout_id"], cart["total"]) == ("processing", held["id"], 2000)
    assert (await buyer.cancel(held["id"])).status_code == 200
    cart = await look(buyer)
    assert (cart["status"], cart["checkout_id"], cart["total"]) == ("available", None, 14_000)


BAD_KEYS = [
    "0", "-1", "01", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "\u0661", "\u00b2", "", "a", "null",
    "9223372036854775808", "12345678901234567890", MARK,
]  # fmt: skip
BAD_VALUES: list[Any] = [-1, 10_001, 1.0, 1.5, True, False, None, "3", [], {}, CANARY]


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_a_bad_key_is_named_by_its_place_and_never_quoted(system: System, key: str) -> None:
    buyer, coffee = system.buyer(), await system.product()
    assert await fields(buyer, {str(coffee): 1, key: 1}) == ["keys.1"]
    assert MARK not in (await patch(buyer, {key: 1})).text
    assert (await look(buyer))["lines"] == []


@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
async def test_a_bad_quantity_is_named_by_its_place(system: System, value: Any) -> None:
    buyer, coffee = system.buyer(), await system.product()
    assert await fields(buyer, {"1": 0, str(coffee): value}) == ["values.1"]
    assert (await look(buyer))["lines"] == []


@pytest.mark.parametrize("body", [[], {}, "x", 3, None, True, {str(number): 1 for number in range(1, 102)}], ids=repr)
async def test_a_delta_that_is_no_object_of_1_to_100_keys_is_refused(system: System, body: Any) -> None:
    assert await fields(system.buyer(), body) == ["body"]


@pytest.mark.parametrize("name", BAD_JSON)
async def test_a_body_that_is_not_good_json_changes_nothing(system: System, name: str) -> None:
    buyer, coffee = system.buyer(), await system.product()
    await patch(buyer, {str(coffee): 1})
    answer = await patch(buyer, BAD_JSON[name])
    assert (answer.status_code, code(answer)) == (400, "bad_json")
    assert MARK not in answer.text
    assert [line["quantity"] for line in (await look(buyer))["lines"]] == [1]


async def test_the_limits_themselves_are_good(system: System) -> None:
    buyer = system.buyer()
    many = [await system.product(stock=20_000) for _ in range(101)]
    full = await patch(buyer, {str(each): 10_000 for each in many[:100]})
    assert (full.status_code, len(as_json(full)["lines"])) == (200, 100)
    over = await patch(buyer, {str(many[100]): 1})
    assert (over.status_code, code(over)) == (409, "cart_refused")
    assert over.json()["products"][0]["reason"] == "too_many_lines"
    more = await buyer.http.post("/v1/cart/items", json={"product_id": many[0]}, headers=buyer.headers)
    assert more.json()["products"][0] == {
        "product_id": many[0], "reason": "too_many", "requested": 10_001, "available": 10_000,
    }  # fmt: skip
    largest = await patch(buyer, {str(2**63 - 1): 0})
    assert largest.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {}, {"product_id": 0}, {"product_id": "1"}, {"product_id": 1, "quantity": 0},
        {"product_id": 1, "quantity": 10_001}, {"product_id": 1, "price": 1}, {"product_id": 1, "quantity": True},
    ],
    ids=repr,
)  # fmt: skip
async def test_a_bad_item_is_a_422(system: System, body: Any) -> None:
    buyer = system.buyer()
    answer = await buyer.http.post("/v1/cart/items", json=body, headers=buyer.headers)
    assert (answer.status_code, code(answer)) == (422, "invalid")


@pytest.mark.parametrize("path", ["/v1/cart?view=all", "/v1/cart?page=1", "/v1/cart/items/0", "/v1/cart/items/x"])
async def test_a_bad_query_or_path_is_a_422(system: System, path: str) -> None:
    buyer = system.buyer()
    method = "DELETE" if "items" in path else "GET"
    assert (await buyer.http.request(method, path, headers=buyer.headers)).status_code == 422


async def test_a_service_has_a_cart_of_its_own_and_an_administrator_none(system: System) -> None:
    coffee, service = await system.product(), system.buyer(DEMO, "storefront", Scope.SERVICE)
    await patch(service, {str(coffee): 1})
    assert (await look(system.buyer(DEMO, "storefront")))["lines"] == []
    administrator = system.buyer(DEMO, None, Scope.ADMIN)
    assert (await patch(administrator, {str(coffee): 1})).status_code == 403
