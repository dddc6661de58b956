"""Taxes and fiscal numbers over real HTTP, from the setting to the order. Answers are held against the document."""

from __future__ import annotations

from typing import Any

import pytest

from api.tokens import Scope
from domain.ids import ProductId, TenantId
from tests.support.buyers import Buyer, as_json
from tests.support.system import DEMO, System

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLASSES = [
    {"name": "IVA", "rate_basis_points": 1900, "included": True, "valid_from": "2020-01-01"},
    {"name": "sales", "rate_basis_points": 825, "included": False, "valid_from": "2020-01-01"},
]
RANGE = {
    "first": 1,
    "last": 2,
    "valid_from": "2026-01-01",
    "valid_until": "2099-12-31",
    "authorisation": "Resolution 1",
}


class Boss:
    """A tenant's administrator."""

    def __init__(self, system: System, tenant: TenantId) -> None:
        self._http, self.headers = system.http, dict(system.buyer(tenant, "boss", Scope.ADMIN).headers)

    async def send(self, method: str, path: str, body: Any = None, *, status: int) -> Any:
        answer = await self._http.request(method, f"/v1/{path}", json=body, headers=self.headers)
        assert answer.status_code == status, answer.text
        return as_json(answer)


@pytest.fixture
def boss(shared_system: System) -> Boss:
    return Boss(shared_system, DEMO)


async def sold(system: System, buyer: Buyer, *lines: tuple[ProductId, int]) -> dict[str, Any]:
    """The order of a checkout of these lines that was paid."""
    held = await buyer.hold(*lines)
    payment = await system.payment(held)
    await system.gateway.pay(payment)
    view = await buyer.until(held["id"], "confirmed")
    answer = await system.http.get(f"/v1/orders/{view['order_id']}", headers=dict(buyer.headers))
    assert answer.status_code == 200, answer.text
    return as_json(answer)


async def test_taxes_show_in_cart_checkout_and_order_and_the_number_in_the_order(
    shared_system: System, boss: Boss
) -> None:
    await boss.send("PATCH", "admin/tenant", {"tax_classes": CLASSES}, status=200)
    made = [
        await boss.send(
            "POST", "admin/products", {"name": "Mug", "price": 1999, "stock_total": 9, "tax_class": name}, status=201
        )
        for name in ("IVA", "sales")
    ]
    assert [one["tax_class"] for one in made] == ["IVA", "sales"]
    with_it, on_top = (one["id"] for one in made)
    await boss.send("POST", "admin/fiscal/series", {"name": "s", "prefix": "S-", "padding": 4}, status=201)
    await boss.send("PATCH", "admin/tenant", {"fiscal_series": "s"}, status=200)
    buyer = shared_system.buyer()
    answer = await shared_system.http.patch(
        "/v1/cart", json={str(with_it): 1, str(on_top): 2}, headers=dict(buyer.headers)
    )
    cart = as_json(answer)
    assert (cart["subtotal"], cart["discount"], cart["tax"], cart["total"]) == (5997, 0, 330, 6327)

    order = await sold(shared_system, buyer, (ProductId(with_it), 1), (ProductId(on_top), 2))
    assert (order["subtotal"], order["tax"], order["total"]) == (5997, 330, 6327)
    assert order["taxes"] == [
        {"class": "IVA", "rate_basis_points": 1900, "included": True, "base": 1680, "tax": 319},
        {"class": "sales", "rate_basis_points": 825, "included": False, "base": 3998, "tax": 330},
    ]
    assert [(line["tax_class"], line["tax"]) for line in order["lines"]] == [("IVA", 319), ("sales", 330)]
    assert (order["fiscal_status"], order["fiscal_number"]) == ("pending", None)

    made_range = await boss.send("POST", "admin/fiscal/series/s/ranges", RANGE, status=201)
    assert (made_range["status"], made_range["first"]) == ("open", 1)
    assert await boss.send("POST", "admin/fiscal/series/s/ranges", RANGE, status=201) == made_range
    answer = await shared_system.http.get(f"/v1/orders/{order['id']}", headers=dict(buyer.headers))
    now = as_json(answer)
    assert (now["fiscal_status"], now["fiscal_number"]) == ("issued", "S-0001")
    assert now["fiscal_issued_at"] > now["created_at"]

    [series] = (await boss.send("GET", "admin/fiscal/series", status=200))["items"]
    assert (series["in_use"], series["remaining"], series["waiting"], series["next_number"]) == (True, 1, 0, 2)
    assert len((await boss.send("GET", "admin/fiscal/series/s/ranges", status=200))["items"]) == 1
    [report] = (await boss.send("GET", "ops/fiscal", status=200))["items"]
    assert (report["good"], report["issued"], report["missing"], report["pending"]) == (True, 1, 0, 0)
    assert (await boss.send("GET", "ops/fiscal?series=none", status=200))["items"] == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("admin/fiscal/series", {"name": "A b", "prefix": "A-"}, "name"),
        ("admin/fiscal/series", {"name": "a", "prefix": "A1"}, "prefix"),
        ("admin/fiscal/series", {"name": "a", "prefix": "A-", "padding": 19}, "padding"),
        ("admin/fiscal/series/s/ranges", {**RANGE, "valid_from": 20260101}, "valid_from"),
        ("admin/fiscal/series/s/ranges", {**RANGE, "valid_from": "2026-02-30"}, "valid_from"),
        ("admin/fiscal/series/s/ranges", {**RANGE, "first": 0}, "first"),
        ("admin/fiscal/series/s/ranges", {**RANGE, "first": 9}, "last"),
        ("admin/fiscal/series/s/ranges", {**RANGE, "authorisation": " x"}, "authorisation"),
        ("admin/products", {"name": "Mug", "price": 1, "tax_class": "none"}, "tax_class"),
    ],
)
async def test_bad_input_is_a_422_that_names_the_field(boss: Boss, path: str, body: dict[str, Any], field: str) -> None:
    problem = await boss.send("POST", path, body, status=422)
    assert field in [one["field"] for one in problem["errors"]]


async def test_a_series_that_is_not_there_is_404_and_a_taken_name_409(boss: Boss) -> None:
    await boss.send("POST", "admin/fiscal/series/none/ranges", RANGE, status=404)
    await boss.send("GET", "admin/fiscal/series/none/ranges", status=404)
    await boss.send("POST", "admin/fiscal/series", {"name": "taken", "prefix": "U-"}, status=201)
    await boss.send("POST", "admin/fiscal/series", {"name": "taken", "prefix": "T-"}, status=409)
