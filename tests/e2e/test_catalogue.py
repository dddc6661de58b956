"""The catalogue over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from db.seed import DEMO_PASSWORD, seed_demo
from tests.support.api import api_settings, log_in, running_api


@pytest.fixture
async def http(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    await seed_demo(database_url)
    async with running_api(api_settings(database_url)) as client:
        client.headers.update(await log_in(client, "ana", DEMO_PASSWORD))
        yield client


async def test_a_product_says_what_it_costs_and_what_is_left(http: httpx.AsyncClient) -> None:
    product = (await http.get("/v1/products/38")).json()
    assert product.pop("name")
    assert product.pop("description")
    assert product.pop("price") > 0
    assert product == {
        "id": 38,
        "currency": "COP",
        "offer_price": None,
        "available": True,
        "stock_total": 50,
        "stock_reserved": 0,
        "stock_sold": 0,
        "stock_available": 50,
        "stock": 50,
    }
    assert (await http.get("/v1/products/2")).json()["offer_price"] == 1500


async def test_the_pages_hold_all_products_once(http: httpx.AsyncClient) -> None:
    seen, after, pages = [], 0, 0
    while True:
        page = (await http.get("/v1/products", params={"after": after, "limit": 25})).json()
        seen += [item["id"] for item in page["items"]]
        pages += 1
        if page["next_after"] is None:
            break
        after = page["next_after"]
    assert seen == list(range(1, 61))
    assert pages == 3
    first = (await http.get("/v1/products")).json()
    assert (len(first["items"]), first["next_after"]) == (50, 50)


async def test_a_product_that_is_not_there_is_a_404(http: httpx.AsyncClient) -> None:
    for product in (61, 2**63 - 1):
        answer = await http.get(f"/v1/products/{product}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_id_that_is_no_id_is_a_422(http: httpx.AsyncClient) -> None:
    for product in ("0", "-1", str(2**63), "9" * 5000, "abc", "1.5", "1e3", "0x10", "NaN", "%27", "null"):
        answer = await http.get(f"/v1/products/{product}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), product


async def test_a_page_that_cannot_be_is_a_422(http: httpx.AsyncClient) -> None:
    limits = ("limit=0", "limit=101", f"limit={2**70}", "limit=true", "limit=")
    for query in (*limits, "after=-1", f"after={2**63}", "page=2", "limit[]=1"):
        answer = await http.get(f"/v1/products?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), query


async def test_a_list_of_nothing_is_an_empty_page(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/products", params={"after": 2**63 - 1})
    assert answer.json() == {"items": [], "next_after": None}
