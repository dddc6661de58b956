"""What operators see of payments, and why each stands as it does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.buyers import Json, code
from tests.support.operator import Operator, sell
from tests.support.system import DEMO, OTHER, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def refunded_as_second(system: System) -> tuple[Json, str]:
    """(checkout, payment): another payment of the checkout made the order."""
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    first, second = await system.payment(held), await system.payment(held)
    await system.gateway.pay(first)
    await buyer.until(held["id"], "confirmed")
    await system.gateway.pay(second)
    await buyer.until_refunded(held["id"], second)
    return held, second


def ids(page: Json) -> list[str]:
    return [one["payment_id"] for one in page["items"]]


async def test_one_payment_is_told_with_all_that_became_of_it_and_why(system: System) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    seen = await keeper.look(sold.payment)
    assert seen["why"] == f"It made order {sold.order}."
    assert (seen["status"], seen["outcome"], seen["order_id"]) == ("captured", "order", sold.order)
    assert (seen["checkout_id"], seen["checkout_status"]) == (sold.checkout, "confirmed")
    assert [(one["kind"], one["state"], one["handed"]) for one in seen["events"]] == [
        ("captured", "settled", "to_checkout")
    ]
    assert (seen["refunds"], seen["by_hand"], seen["refunded"], seen["refund_status"]) == ([], None, 0, None)
    assert seen["workflows"] == [f"checkout/{DEMO}/{sold.checkout}"]
    assert "body" not in seen["events"][0]

    await keeper.refund(sold.order, 400)
    seen = await keeper.until_refunded(sold.payment)
    assert seen["why"] == f"It made order {sold.order}. Of it, 400 (minor units) was given back."
    assert [(one["amount"], one["status"]) for one in seen["refunds"]] == [(400, "refunded")]
    assert seen["workflows"] == [f"checkout/{DEMO}/{sold.checkout}", f"refund/{DEMO}/{sold.order}"]


async def test_a_payment_that_made_no_order_says_why_and_which_run_gave_it_back(system: System) -> None:
    held, payment = await refunded_as_second(system)
    seen = await Operator.of(system).look(payment)
    assert seen["why"] == (
        "It cannot make an order: another payment had made the order before. All of it was given back."
    )
    assert (seen["outcome"], seen["reason"], seen["refund_status"]) == ("refund", "second_payment", "refunded")
    assert seen["refund_id"].startswith("ref_")
    assert seen["workflows"] == [f"checkout/{DEMO}/{held['id']}", f"late-payment/{DEMO}/sandbox/{payment}"]


async def test_a_payment_that_was_declined_or_never_paid_says_so(system: System) -> None:
    buyer, keeper = system.buyer(), Operator.of(system)
    held = await buyer.hold((await system.product(), 1))
    payment = await system.payment(held)
    await system.gateway.decline(payment)
    await system.gateway.settled(payment)
    seen = await keeper.look(payment)
    assert (seen["status"], seen["outcome"], seen["why"]) == (
        "failed", None, "It was declined; the buyer may try again.",
    )  # fmt: skip


async def test_payments_are_listed_newest_first_in_pages(system: System) -> None:
    keeper = Operator.of(system)
    made = [(await sell(system, (await system.product(), 1))).payment for _ in range(3)]
    first = await keeper.payments(limit=2)
    assert ids(first) == made[:0:-1]
    second = await keeper.payments(limit=2, before=first["next_before"])
    assert ids(second)[0] == made[0]
    assert not set(ids(first)) & set(ids(second))
    every: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = await keeper.payments(limit=1, **before)
        every += ids(page)
        if page["next_before"] is None:
            break
        before = {"before": page["next_before"]}
    assert len(every) == len(set(every))
    assert every[:3] == made[::-1]


async def test_payments_are_found_by_what_became_of_them(system: System) -> None:
    keeper = Operator.of(system)
    held, second = await refunded_as_second(system)
    sold = await sell(system, (await system.product(), 1))
    buyer = system.buyer()
    wrong = await buyer.hold((await system.product(), 1))
    odd = await system.payment(wrong, amount=1)
    await system.gateway.pay(odd)
    await buyer.until_refunded(wrong["id"], odd)

    async def found(**query: Any) -> set[str]:
        return set(ids(await keeper.payments(limit=100, **query)))

    assert {second, odd} <= await found(outcome="refund")
    assert sold.payment not in await found(outcome="refund")
    assert sold.payment in await found(outcome="order", status="captured")
    assert odd in await found(quarantined="true")
    assert second not in await found(quarantined="true")
    assert {second, odd} <= await found(refund_status="refunded")
    assert await found(refund_status="intended") == set()
    assert second in await found(checkout=held["id"])
    assert len(await found(checkout=held["id"])) == 2
    assert await found(checkout=held["id"], outcome="refund") == {second}


async def test_what_is_still_owed_is_found(system: System) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    await system.gateway.fail(refund="down")
    await keeper.refund(sold.order, 1)
    assert ids(await keeper.payments(refund_status="intended")) == [sold.payment]
    await system.gateway.fail()
    await keeper.until_refunded(sold.payment)
    assert ids(await keeper.payments(refund_status="intended")) == []


async def test_nobody_sees_another_tenants_payments(system: System) -> None:
    sold, stranger = await sell(system, (await system.product(), 1)), Operator.of(system, OTHER)
    assert (await stranger.payments())["items"] == []
    for path in (f"sandbox/{sold.payment}", "sandbox/nothing", f"nowhere/{sold.payment}", "sandbox/%01"):
        answer = await stranger.get(f"/v1/ops/payments/{path}")
        assert (answer.status_code, code(answer)) == (404, "not_found"), path


@pytest.mark.parametrize(
    "query",
    ["status=paid", "outcome=x", "quarantined=perhaps", "refund_status=x", "checkout=x", "limit=0", "limit=101",
     "before=x", "before=MjAyNnwxfDI=", "before=fHx8", "who=me"],
)  # fmt: skip
async def test_a_bad_query_is_a_422(system: System, query: str) -> None:
    keeper = Operator.of(system)
    answer = await keeper.who.http.get(f"/v1/ops/payments?{query}", headers=dict(keeper.who.headers))
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text
