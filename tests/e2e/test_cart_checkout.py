"""From the cart to the order over real HTTP: a start with `{}`, its ends, and a login in between."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from domain.ids import ProductId
from tests.support import shop
from tests.support.buyers import Buyer, code
from tests.support.system import DEMO, QUICK, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def put(buyer: Buyer, lines: dict[ProductId, int]) -> httpx.Response:
    """PATCH the cart."""
    delta = {str(product): quantity for product, quantity in lines.items()}
    return await buyer.http.patch("/v1/cart", json=delta, headers=buyer.headers)


async def cart_of(buyer: Buyer) -> dict[str, Any]:
    """The buyer's cart."""
    answer = await buyer.http.get("/v1/cart", headers=buyer.headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def contents(cart: dict[str, Any]) -> dict[int, int]:
    return {line["product_id"]: line["quantity"] for line in cart["lines"]}


async def start(buyer: Buyer, key: str | None = None, **body: Any) -> httpx.Response:
    return await buyer.post("/v1/checkouts", body, key)


async def started(buyer: Buyer, key: str | None = None) -> dict[str, Any]:
    """A checkout from the cart, which must be held."""
    answer = await start(buyer, key)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_start_with_an_empty_body_holds_the_cart_at_its_prices(system: System) -> None:
    cheap, offered, dear = (
        await system.product(price=1000),
        await system.product(price=2000, offer_price=1500),
        await system.product(price=3000),
    )
    buyer = system.buyer()
    await put(buyer, {cheap: 1, offered: 1, dear: 1})
    checkout = await started(buyer)
    assert (checkout["status"], checkout["subtotal"], checkout["discount"], checkout["total"]) == (
        "held",
        6000,
        500,
        5500,
    )
    assert [line["product_id"] for line in checkout["lines"]] == [cheap, offered, dear]
    cart = await cart_of(buyer)
    assert (cart["status"], contents(cart)) == ("processing", {cheap: 1, offered: 1, dear: 1})


async def test_a_cart_that_is_being_processed_refuses_changes_and_shows_the_held_prices(system: System) -> None:
    coffee = await system.product(price=1000, stock=3)
    buyer = system.buyer()
    await put(buyer, {coffee: 3})
    checkout = await started(buyer)
    await system.admin.execute("UPDATE products SET price = 9999 WHERE tenant_id = %s AND id = %s", (DEMO, coffee))
    for answer in (
        await put(buyer, {coffee: 1}),
        await buyer.http.delete("/v1/cart", headers=buyer.headers),
        await buyer.http.delete(f"/v1/cart/items/{coffee}", headers=buyer.headers),
        await start(buyer),
    ):
        assert (answer.status_code, code(answer)) == (409, "cart_processing")
        assert answer.json()["checkout_id"] == checkout["id"]
    cart = await cart_of(buyer)
    assert (cart["total"], cart["notices"], contents(cart)) == (3000, [], {coffee: 3})


async def test_a_payment_empties_the_cart(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    await put(buyer, {coffee: 2})
    checkout = await started(buyer)
    await system.gateway.pay(await system.payment(checkout))
    await buyer.until(checkout["id"], "confirmed")
    cart = await cart_of(buyer)
    assert (cart["status"], cart["lines"], cart["total"]) == ("available", [], 0)
    assert (await put(buyer, {coffee: 1})).status_code == 200


async def test_cancel_gives_the_cart_back_and_the_buyer_may_start_again_at_once(system: System) -> None:
    coffee, buyer = await system.product(stock=2), system.buyer()
    await put(buyer, {coffee: 2})
    checkout = await started(buyer)
    assert (await buyer.cancel(checkout["id"])).status_code == 200
    cart = await cart_of(buyer)
    assert (cart["status"], contents(cart)) == ("available", {coffee: 2})
    assert (await started(buyer))["id"] != checkout["id"]


async def test_expiry_gives_the_cart_back(system: System) -> None:
    coffee, buyer = await system.product(tenant=QUICK), system.buyer(QUICK)
    await put(buyer, {coffee: 2})
    checkout = await started(buyer)
    await buyer.until(checkout["id"], "expired")
    cart = await cart_of(buyer)
    assert (cart["status"], contents(cart)) == ("available", {coffee: 2})


async def test_a_hold_that_is_over_blocks_nobody_while_no_worker_runs(system: System) -> None:
    coffee, buyer = await system.product(tenant=QUICK), system.buyer(QUICK)
    await put(buyer, {coffee: 2})
    checkout = await started(buyer)
    await system.worker.stop()
    await asyncio.sleep(checkout["remaining_seconds"] + 0.3)
    answer = await put(buyer, {coffee: 1})
    assert (answer.status_code, contents(answer.json())) == (200, {coffee: 1})
    assert await system.stock(coffee, QUICK) == (10, 0, 0)


async def test_a_refusal_leaves_the_cart_as_it_is(system: System) -> None:
    coffee, buyer = await system.product(stock=2), system.buyer()
    await put(buyer, {coffee: 2})
    await system.buyer().hold((coffee, 1))
    answer = await start(buyer)
    assert (answer.status_code, code(answer)) == (409, "insufficient_stock")
    assert answer.json()["shortages"][0]["available"] == 1
    answer = await start(buyer, expected_total=1)
    assert code(answer) in ("insufficient_stock", "price_changed")
    assert (await cart_of(buyer))["status"] == "available"


async def test_an_empty_cart_starts_nothing(system: System) -> None:
    answer = await start(system.buyer())
    assert (answer.status_code, code(answer)) == (409, "cart_empty")


async def test_a_repeated_start_answers_the_same_checkout_and_another_body_is_refused(system: System) -> None:
    coffee, buyer, key = await system.product(), system.buyer(), uuid.uuid4().hex
    await put(buyer, {coffee: 2})
    first, second = await asyncio.gather(started(buyer, key), started(buyer, key))
    assert first["id"] == second["id"] == (await started(buyer, key))["id"]
    assert await system.stock(coffee) == (8, 2, 0)
    answer = await buyer.start((coffee, 1), key=key)
    assert (answer.status_code, code(answer)) == (422, "idempotency_key_reused")


async def test_explicit_lines_touch_no_cart(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    await put(buyer, {coffee: 2})
    checkout = await buyer.hold((coffee, 1))
    await system.gateway.pay(await system.payment(checkout))
    await buyer.until(checkout["id"], "confirmed")
    assert contents(await cart_of(buyer)) == {coffee: 2}


async def test_a_cart_changed_in_the_instant_of_the_start_is_wholly_in_or_refused(system: System) -> None:
    """Each change sets both products to one number: a hold of two different numbers would be half of a change."""
    left, right = await system.product(stock=10_000), await system.product(stock=10_000)
    for attempt in range(12):
        buyer = system.buyer()
        await put(buyer, {left: 1, right: 1})
        answers = await asyncio.gather(
            start(buyer), *(put(buyer, {left: number, right: number}) for number in range(2, 7))
        )
        assert {answer.status_code for answer in answers[1:]} <= {200, 409}
        assert answers[0].status_code == 201, answers[0].text
        held = {line["product_id"]: line["quantity"] for line in answers[0].json()["lines"]}
        assert held[left] == held[right], f"attempt {attempt}"
        assert contents(await cart_of(buyer)) == held


async def test_a_login_keeps_the_sessions_cart_and_hold_and_a_repeated_start_finds_it(system: System) -> None:
    coffee, mug = await system.product(stock=5), await system.product()
    name = f"ana{uuid.uuid4().hex[:8]}"
    await shop.make_user(system.admin, DEMO, name)
    session = (await system.http.post("/v1/sessions")).json()["access_token"]
    anonymous = Buyer(system.http, DEMO, "anonymous", {"authorization": f"Bearer {session}"})
    key = uuid.uuid4().hex
    await put(anonymous, {coffee: 5})
    checkout = await started(anonymous, key)

    before = await log_in(system, name)
    await put(before, {mug: 1})
    user = await log_in(system, name, session)
    assert (await user.read(checkout["id"]))["status"] == "held"
    again = await started(user, key)
    assert (again["id"], again["expires_at"]) == (checkout["id"], checkout["expires_at"])
    assert await system.stock(coffee) == (0, 5, 0)
    cart = await cart_of(user)
    assert (cart["status"], contents(cart)) == ("processing", {mug: 1, coffee: 5})
    assert (await anonymous.look(checkout["id"])).status_code == 401

    await system.gateway.pay(await system.payment(checkout))
    await user.until(checkout["id"], "confirmed")
    assert len(await user.orders()) == 1
    assert contents(await cart_of(before)) == {mug: 1}


async def log_in(system: System, name: str, session: str | None = None) -> Buyer:
    """The user, logged in with the session's token."""
    body = {"username": name, "password": shop.PASSWORD, **({"session_token": session} if session else {})}
    answer = await system.http.post("/v1/auth/token", json=body)
    assert answer.status_code == 200, answer.text
    return Buyer(system.http, DEMO, name, {"authorization": f"Bearer {answer.json()['access_token']}"})
