"""Administering the catalogue over real HTTP. Every answer is held against the OpenAPI document."""

from __future__ import annotations

from typing import Any

import pytest

from domain.ids import ProductId
from tests.support.administrator import BAD_FIELDS, LARGEST, Administrator
from tests.support.buyers import as_json, code
from tests.support.system import System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_created_product_is_where_the_answer_says_and_in_the_shop(system: System) -> None:
    administrator = Administrator(system, "founder")
    body = {"id": 4242, "name": "Mug, ½ l ☕", "description": "Blue.\nOr green.", "price": 2000, "offer_price": 1500}
    answer = await administrator.send("POST", body={**body, "one_per_cart": True, "stock_total": 7})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/admin/products/4242")
    made = as_json(answer)
    stock = {"stock_total": 7, "stock_reserved": 0, "stock_sold": 0, "stock_available": 7, "stock": 7}
    more = {
        "currency": "COP",
        "tax_class": None,
        "available": True,
        "one_per_cart": True,
        "updated_at": made["updated_at"],
    }
    assert made == {**body, **stock, **more}
    assert as_json(await administrator.send("GET", 4242)) == made
    public = as_json(await system.http.get("/v1/products/4242", headers=system.buyer().headers))
    assert public == {name: made[name] for name in made if name not in ("one_per_cart", "tax_class", "updated_at")}


async def test_a_repeated_creation_with_a_chosen_id_is_a_409(system: System) -> None:
    administrator = Administrator(system)
    made = await administrator.make(id=77)
    again = await administrator.send("POST", body={"id": 77, "name": "Mug", "price": 2000})
    assert (again.status_code, code(again)) == (409, "product_exists")
    assert as_json(await administrator.send("GET", 77)) == made


async def test_without_an_id_each_creation_gets_the_next_number(system: System) -> None:
    administrator = Administrator(system)
    first, second = await administrator.make(), await administrator.make()
    assert second["id"] == first["id"] + 1
    assert (first["stock_total"], first["available"], first["offer_price"]) == (0, True, None)


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
async def test_a_bad_field_is_named_and_nothing_is_written(system: System, field: str, value: Any) -> None:
    administrator = Administrator(system)
    made = await administrator.make()
    sent = [await administrator.send("POST", body={"name": "Mug", "price": 2000, field: value})]
    if field != "id":
        sent.append(await administrator.send("PATCH", made["id"], {field: value}))
    for answer in sent:
        assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert as_json(await administrator.send("GET", made["id"])) == made
    assert (await administrator.send("GET", made["id"] + 1)).status_code == 404


@pytest.mark.parametrize("extra", ["id", "currency", "stock", "stock_sold", "tenant", "tenant_id", "updated_at"])
async def test_what_cannot_be_set_is_refused(system: System, extra: str) -> None:
    administrator = Administrator(system)
    made = await administrator.make()
    assert (await administrator.send("PATCH", made["id"], {extra: 1})).status_code == 422
    if extra != "id":
        assert (await administrator.send("POST", body={"name": "M", "price": 1, extra: 1})).status_code == 422


async def test_the_limits_themselves_are_good(system: System) -> None:
    administrator = Administrator(system)
    made = await administrator.make(
        name="a" * 200, description="d" * 4000, price=10**12, offer_price=10**12 - 1, stock_total=LARGEST
    )
    assert (made["price"], made["stock_available"]) == (10**12, LARGEST)
    free = await administrator.make(price=0)
    assert free["price"] == 0


async def test_an_offer_is_judged_against_the_stored_price_and_a_price_against_the_stored_offer(
    system: System,
) -> None:
    administrator = Administrator(system)
    made = await administrator.make(price=2000, offer_price=1500)
    for body, field in (({"offer_price": 2000}, "offer_price"), ({"price": 1500}, "price")):
        answer = await administrator.send("PATCH", made["id"], body)
        assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (422, [field])
    cheaper = await administrator.send("PATCH", made["id"], {"price": 1500, "offer_price": None})
    assert (cheaper.status_code, cheaper.json()["price"], cheaper.json()["offer_price"]) == (200, 1500, None)
    assert (await administrator.send("POST", body={"name": "M", "price": 5, "offer_price": 5})).status_code == 422


async def test_a_new_price_is_for_new_holds_only(system: System) -> None:
    administrator, buyer = Administrator(system), system.buyer()
    product = ProductId((await administrator.make(price=2000, stock_total=5))["id"])
    held = await buyer.hold((product, 2))
    patched = await administrator.send("PATCH", product, {"price": 9000})
    assert (patched.json()["price"], patched.json()["stock_reserved"]) == (9000, 2)
    assert (await buyer.read(held["id"]))["total"] == 4000
    await system.gateway.pay(await system.payment(held))
    assert (await buyer.until(held["id"], "confirmed"))["total"] == 4000
    assert (await buyer.hold((product, 1)))["total"] == 9000


async def test_a_total_below_what_is_held_is_a_409_that_names_how_much(system: System) -> None:
    administrator, buyer = Administrator(system), system.buyer()
    product = ProductId((await administrator.make(stock_total=5))["id"])
    held = await buyer.hold((product, 3))
    refused = await administrator.send("PATCH", product, {"stock_total": 2, "price": 1})
    assert (refused.status_code, code(refused)) == (409, "total_below_committed")
    assert (refused.json()["reserved"], refused.json()["sold"]) == (3, 0)
    lowered = as_json(await administrator.send("PATCH", product, {"stock_total": 3}))
    assert (lowered["price"], lowered["stock_available"]) == (2000, 0)
    await buyer.cancel(held["id"])


async def test_a_held_product_is_not_deleted_and_a_free_one_is_gone(system: System) -> None:
    administrator, buyer = Administrator(system), system.buyer()
    product = ProductId((await administrator.make(stock_total=5))["id"])
    held = await buyer.hold((product, 3))
    refused = await administrator.send("DELETE", product)
    assert (refused.status_code, code(refused), refused.json()["reserved"]) == (409, "product_held", 3)
    await buyer.cancel(held["id"])
    deleted = await administrator.send("DELETE", product)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        answer = await administrator.send(method, product, {} if method == "PATCH" else None)
        assert (answer.status_code, code(answer)) == (404, "not_found")
    assert (await buyer.start((product, 1))).json()["shortages"][0]["reason"] == "gone"


async def test_the_pages_hold_all_products_once_also_those_not_on_sale(system: System) -> None:
    administrator = Administrator(system)
    made = [(await administrator.make(available=number % 2 == 0))["id"] for number in range(5)]
    seen, after = [], 0
    while after is not None:
        page = as_json(await administrator.send("GET", after=after, limit=3))
        seen += [one["id"] for one in page["items"]]
        after = page["next_after"]
    assert seen == sorted(set(seen))
    assert set(made) <= set(seen)


async def test_each_change_is_in_the_audit_log_under_who_made_it(system: System) -> None:
    administrator = Administrator(system, "auditor")
    product = (await administrator.make(stock_total=5))["id"]
    await administrator.send("PATCH", product, {"stock_total": 6, "name": "Mug"})
    await administrator.send("PATCH", product, {"stock_total": 6})
    await administrator.send("PATCH", product, {"stock_total": -1})
    await administrator.send("DELETE", product)
    noted = [row for row in await administrator.audit() if row[1] == f"product:{product}"]
    assert [
        (action, before and before["stock_total"], after and after["stock_total"]) for action, _, before, after in noted
    ] == [
        ("product.created", None, 5),
        ("product.changed", 5, 6),
        ("product.deleted", 6, None),
    ]
