"""Lines of a live hold over real HTTP, and what a storefront keeps with them."""

from __future__ import annotations

import asyncio
import uuid
from base64 import b64encode
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.e2e.test_checkout_privacy import everything_in_temporal
from tests.support import shop
from tests.support.buyers import Buyer, Json, code
from tests.support.system import DEMO, QUICK, System
from tests.support.venues import make_seats, make_zone

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def add(buyer: Buyer, checkout: str, *lines: Json, key: str | None = None) -> httpx.Response:
    return await buyer.post(f"/v1/checkouts/{checkout}/lines", {"lines": list(lines)}, key)


async def take_out(buyer: Buyer, checkout: str, line: int, key: str | None = None) -> httpx.Response:
    headers = {**buyer.headers, "idempotency-key": key or uuid.uuid4().hex}
    return await buyer.http.delete(f"/v1/checkouts/{checkout}/lines/{line}", headers=headers)


def moment(view: Json) -> datetime:
    return datetime.fromisoformat(view["expires_at"])


async def test_lines_of_every_kind_are_added_and_the_answer_is_the_whole_checkout(system: System) -> None:
    coffee, buyer = await system.product(price=1000), system.buyer()
    standing = await make_zone(system.admin, DEMO, 5, price=3000)
    _, seats = await make_seats(system.admin, DEMO, 1, 2, price=5000)
    held = await buyer.hold((coffee, 1))
    await asyncio.sleep(1)
    answer = await add(buyer, held["id"], {"seat_id": seats[0]}, {"zone_id": standing, "quantity": 2})
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert (view["status"], view["total"], len(view["lines"])) == ("held", 1000 + 5000 + 6000, 3)
    assert moment(view) > moment(held)
    assert view["lines"][0] == held["lines"][0]
    assert view["lines"][1]["locked_at"] > held["lines"][0]["locked_at"]
    assert {**view, "remaining_seconds": 0} == {**await buyer.read(held["id"]), "remaining_seconds": 0}
    await system.gateway.pay(await system.payment(view))
    assert (await buyer.until(held["id"], "confirmed"))["total"] == 12000
    [order] = await buyer.orders()
    assert [line["quantity"] for line in order["lines"]] == [1, 1, 2]


async def test_a_line_is_taken_out_and_the_last_one_cancels(system: System) -> None:
    coffee, tea, buyer = await system.product(stock=5), await system.product(stock=5, price=300), system.buyer()
    held = await buyer.hold((coffee, 2), (tea, 1))
    first, second = (line["id"] for line in held["lines"])
    answer = await take_out(buyer, held["id"], first)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["total"], [line["id"] for line in answer.json()["lines"]]) == (300, [second])
    assert answer.json()["expires_at"] == held["expires_at"]
    assert await system.stock(coffee) == (5, 0, 0)
    again = await take_out(buyer, held["id"], first)
    assert (again.status_code, code(again)) == (404, "not_found")
    last = await take_out(buyer, held["id"], second)
    assert (last.status_code, last.json()["status"]) == (200, "cancelled")
    assert await system.stock(tea) == (5, 0, 0)


async def test_a_shortage_leaves_the_hold_as_it_was_and_the_same_key_may_try_again(system: System) -> None:
    coffee, tea, buyer = await system.product(stock=5), await system.product(stock=1), system.buyer()
    held = await buyer.hold((coffee, 2))
    other = await system.buyer().hold((tea, 1))
    before = await buyer.read(held["id"])
    lines: list[Json] = [{"product_id": coffee}, {"product_id": tea}]
    answer = await add(buyer, held["id"], *lines, key="one")
    assert (answer.status_code, code(answer)) == (409, "insufficient_stock")
    [short] = answer.json()["shortages"]
    assert (short["product_id"], short["requested"], short["available"]) == (tea, 1, 0)
    assert datetime.fromisoformat(short["free_at"]) == moment(other)
    assert {**await buyer.read(held["id"]), "remaining_seconds": 0} == {**before, "remaining_seconds": 0}
    await system.admin.execute("UPDATE stock_items SET total = total + 1 WHERE total = 1 AND reserved = 1")
    assert (await add(buyer, held["id"], *lines, key="one")).status_code == 200


async def test_a_seat_that_is_in_the_checkout_already_is_short(system: System) -> None:
    _, [seat] = await make_seats(system.admin, DEMO, 1, 1)
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    assert (await add(buyer, held["id"], {"seat_id": seat})).status_code == 200
    answer = await add(buyer, held["id"], {"seat_id": seat})
    assert (answer.status_code, answer.json()["shortages"][0]["seat_id"]) == (409, seat)


async def test_after_the_end_lines_are_a_410_and_of_what_is_sold_a_409(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    cancelled, sold = await buyer.hold((coffee, 1)), await buyer.hold((coffee, 1))
    await buyer.cancel(cancelled["id"])
    await system.gateway.pay(await system.payment(sold))
    await buyer.until(sold["id"], "confirmed")
    quick = system.buyer(QUICK)
    over = await quick.hold((tea := await system.product(tenant=QUICK), 1))
    await quick.until(over["id"], "expired", seconds=6)
    for who, view, product, expected in (
        (buyer, cancelled, coffee, (410, "hold_over")),
        (quick, over, tea, (410, "hold_over")),
        (buyer, sold, coffee, (409, "already_confirmed")),
    ):
        answers = [
            await add(who, view["id"], {"product_id": product}),
            await take_out(who, view["id"], view["lines"][0]["id"]),
        ]
        assert [(answer.status_code, code(answer)) for answer in answers] == [expected] * 2


async def test_a_repeated_change_happens_once_and_is_told_again_even_after_the_end(system: System) -> None:
    coffee, buyer = await system.product(stock=9), system.buyer()
    held = await buyer.hold((coffee, 1))
    answers = await asyncio.gather(*(add(buyer, held["id"], {"product_id": coffee}, key="one") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert await system.stock(coffee) == (7, 2, 0)
    line = held["lines"][0]["id"]
    answers = await asyncio.gather(*(take_out(buyer, held["id"], line, key="two") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert await system.stock(coffee) == (8, 1, 0)
    await buyer.cancel(held["id"])
    for again in (
        await add(buyer, held["id"], {"product_id": coffee}, key="one"),
        await take_out(buyer, held["id"], line, key="two"),
    ):
        assert (again.status_code, again.json()["status"]) == (200, "cancelled")


async def test_the_same_key_with_another_body_or_for_the_other_change_is_a_422(system: System) -> None:
    coffee, buyer = await system.product(stock=9), system.buyer()
    held = await buyer.hold((coffee, 1))
    await add(buyer, held["id"], {"product_id": coffee}, key="one")
    others = [
        await add(buyer, held["id"], {"product_id": coffee, "quantity": 2}, key="one"),
        await add(buyer, held["id"], {"product_id": coffee, "metadata": {"a": 1}}, key="one"),
        await take_out(buyer, held["id"], held["lines"][0]["id"], key="one"),
    ]
    await take_out(buyer, held["id"], held["lines"][0]["id"], key="two")
    others.append(await add(buyer, held["id"], {"product_id": coffee}, key="two"))
    assert [(other.status_code, code(other)) for other in others] == [(422, "idempotency_key_reused")] * 4
    assert await system.stock(coffee) == (8, 1, 0)


async def test_eight_changes_at_once_with_one_key_and_two_bodies_never_mix(system: System) -> None:
    coffee, buyer = await system.product(stock=20), system.buyer()
    held = await buyer.hold((coffee, 1))
    lines = [{"product_id": coffee, "quantity": 1 + number % 2, "metadata": {"n": number % 2}} for number in range(8)]
    answers = await asyncio.gather(*(add(buyer, held["id"], line, key="one") for line in lines))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [422] * 4
    [_, added] = (await buyer.read(held["id"]))["lines"]
    assert added["metadata"] == {"n": added["quantity"] - 1}


async def test_lines_are_limited_in_one_checkout_and_of_one_buyer(system: System) -> None:
    tenant = await shop.make_tenant(system.admin)
    await system.admin.execute("UPDATE tenants SET max_lines = 2, max_held_lines = 3 WHERE id = %s", (tenant,))
    coffee, buyer = await system.product(tenant=tenant), system.buyer(tenant)
    first, second = await buyer.hold((coffee, 1)), await buyer.hold((coffee, 1))
    assert (await add(buyer, first["id"], {"product_id": coffee})).status_code == 200
    answers = [await add(buyer, one["id"], {"product_id": coffee}) for one in (first, second)]
    assert [(answer.status_code, code(answer)) for answer in answers] == [(429, "limit_reached")] * 2
    assert [answer.json()["limit"] for answer in answers] == ["lines", "held_lines"]
    assert answers[1].json()["frees_at"] is not None
    assert await system.stock(coffee, tenant) == (7, 3, 0)


async def test_without_a_run_the_row_decides(system: System) -> None:
    coffee, buyer = await system.product(stock=9), system.buyer()
    held = await buyer.hold((coffee, 1))
    await system.terminate(held["id"], DEMO)
    answers = [await add(buyer, held["id"], {"product_id": coffee, "metadata": {"a": 1}}, key="one") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    [first, second] = answers[-1].json()["lines"]
    assert second["metadata"] == {"a": 1}
    short = await add(buyer, held["id"], {"product_id": coffee, "quantity": 100})
    assert (short.status_code, code(short)) == (409, "insufficient_stock")
    for line in (first, second):
        assert (await take_out(buyer, held["id"], line["id"])).status_code == 200
    assert (await buyer.read(held["id"]))["status"] == "cancelled"
    assert await system.stock(coffee) == (9, 0, 0)


async def test_what_is_taken_out_of_a_checkout_from_the_cart_stays_in_the_cart(system: System) -> None:
    coffee, tea, cake = [await system.product(price=1000) for _ in range(3)]
    buyer = system.buyer()
    headers = dict(buyer.headers)
    await buyer.http.patch("/v1/cart", json={str(coffee): 1, str(tea): 2}, headers=headers)
    held = (await buyer.post("/v1/checkouts", {}, None)).json()
    line = next(line["id"] for line in held["lines"] if line["product_id"] == tea)
    assert (await take_out(buyer, held["id"], line)).status_code == 200
    added = await add(buyer, held["id"], {"product_id": cake}, {"product_id": coffee})
    assert (added.status_code, added.json()["total"]) == (200, 3000)
    cart = (await buyer.http.get("/v1/cart", headers=headers)).json()
    assert (cart["status"], [one["product_id"] for one in cart["lines"]]) == ("processing", [coffee, tea])
    await system.gateway.pay(await system.payment(added.json()))
    await buyer.until(held["id"], "confirmed")
    cart = (await buyer.http.get("/v1/cart", headers=headers)).json()
    assert (cart["status"], [(one["product_id"], one["quantity"]) for one in cart["lines"]]) == (
        "available",
        [(tea, 2)],
    )


SAID: dict[str, Any] = {"holder": "guest-7", "note": "Peñón ☕", "row": 3, "vip": True, "big": 1e300, "none": None}


async def test_metadata_comes_back_with_the_line_and_with_its_order(system: System) -> None:
    coffee, buyer, key = await system.product(), system.buyer(), uuid.uuid4().hex
    body = {"lines": [{"product_id": coffee, "metadata": SAID}]}
    answer = await buyer.post("/v1/checkouts", body, key)
    assert answer.status_code == 201, answer.text
    held = answer.json()
    assert [line["metadata"] for line in held["lines"]] == [SAID]
    other = await buyer.post("/v1/checkouts", {"lines": [{"product_id": coffee, "metadata": {}}]}, key)
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    view = (await add(buyer, held["id"], {"product_id": coffee}, {"product_id": coffee, "metadata": {"n": 1}})).json()
    assert [line["metadata"] for line in view["lines"]] == [SAID, None, {"n": 1}]
    await system.gateway.pay(await system.payment(view))
    await buyer.until(held["id"], "confirmed")
    [order] = await buyer.orders()
    assert [line["metadata"] for line in order["lines"]] == [SAID, None, {"n": 1}]


async def test_metadata_is_neither_in_temporal_nor_in_a_log(
    system: System, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secret, coffee, buyer = f"secret{uuid.uuid4().hex}", await system.product(), system.buyer()
    line = {"product_id": coffee, "metadata": {secret: secret}}
    answer = await buyer.post("/v1/checkouts", {"lines": [line]}, None)
    await add(buyer, answer.json()["id"], line)
    await add(buyer, answer.json()["id"], {**line, "quantity": 1000})
    await buyer.post("/v1/checkouts", {"lines": [{**line, "metadata": {secret: "x" * 3000}}]}, None)
    logs, histories = capfd.readouterr(), await everything_in_temporal(system)
    text = "\n".join((logs.out, logs.err, caplog.text))
    assert "/v1/checkouts" in text
    assert answer.json()["id"] in histories
    for form in (secret, b64encode(secret.encode()).decode().rstrip("=")):
        assert form not in text
        assert form not in histories


async def test_lines_of_one_thing_are_summed_unless_their_metadata_differs(system: System) -> None:
    coffee, buyer = await system.product(stock=9), system.buyer()
    lines = [
        {"product_id": coffee, "metadata": {"for": "a"}},
        {"product_id": coffee, "quantity": 2},
        {"product_id": coffee, "metadata": {"for": "b"}},
        {"product_id": coffee, "metadata": {"for": "a"}},
        {"product_id": coffee},
    ]
    held = (await buyer.post("/v1/checkouts", {"lines": lines}, None)).json()
    assert [(line["quantity"], line["metadata"]) for line in held["lines"]] == [
        (2, {"for": "a"}),
        (3, None),
        (1, {"for": "b"}),
    ]
    short = await buyer.post("/v1/checkouts", {"lines": lines}, None)
    assert (short.status_code, [one["requested"] for one in short.json()["shortages"]]) == (409, [6])
    assert await system.stock(coffee) == (3, 6, 0)


@pytest.mark.parametrize("metadata", ["text", 1, [], True, {"a": "x" * 2041}, {"a": "ñ" * 1021}])
async def test_metadata_that_is_no_object_or_too_large_is_a_422(system: System, metadata: Any) -> None:
    coffee, buyer = await system.product(), system.buyer()
    line = {"product_id": coffee, "metadata": metadata}
    held = await buyer.hold((coffee, 1))
    for answer in (await buyer.post("/v1/checkouts", {"lines": [line]}, None), await add(buyer, held["id"], line)):
        assert (answer.status_code, code(answer)) == (422, "invalid")
        assert answer.json()["errors"][0]["field"] == "lines.0.metadata"
    fits = {"product_id": coffee, "metadata": {"a": "x" * 2040}}
    assert (await add(buyer, held["id"], fits)).status_code == 200


async def test_lines_of_one_thing_ask_for_at_most_10_000_units_together(system: System) -> None:
    coffee, buyer = await system.product(stock=50_000), system.buyer()
    line = {"product_id": coffee, "quantity": 5_001}
    for lines in ([line, line], [line, {**line, "metadata": {}}]):
        answer = await buyer.post("/v1/checkouts", {"lines": lines}, None)
        assert (answer.status_code, code(answer)) == (422, "invalid")
        assert answer.json()["errors"][0]["field"] == "lines"


async def test_a_payment_that_starts_extends_the_hold_once(system: System) -> None:
    coffee, buyer = await system.product(tenant=QUICK), system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held, QUICK)
    await asyncio.sleep(1)
    await system.gateway.process(payment)
    view = await buyer.when(held["id"], lambda view: moment(view) > moment(held), "extended", 2)
    assert 0.5 < (moment(view) - moment(held)).total_seconds() < 2.5
    await system.gateway.process(payment)
    await asyncio.sleep(0.3)
    assert moment(await buyer.read(held["id"])) == moment(view)
    await system.gateway.pay(payment)
    await buyer.until(held["id"], "confirmed")
