"""Money that is not what was asked for, and one event many times at once, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from api.tokens import Scope
from tests.e2e.test_unmatched import outcome, until_refunded
from tests.e2e.test_webhooks import captured, paid_quietly, post, stored
from tests.support.buyers import code
from tests.support.system import DEMO, OTHER, System

pytestmark = pytest.mark.asyncio(loop_scope="module")
OWN = "whsec_" + "b3duLXNlY3JldC1vZi10aGUtc2hvcC0wMDAwMDAwMQ=="


async def own_gateway(system: System) -> None:
    """The shop has an account of its own, at a gateway of the generic kind: here the sandbox stands for it."""
    headers = dict(system.buyer(DEMO, None, Scope.ADMIN).headers)
    for name, secret in (("url", system.gateway.url), ("api-key", "k" * 20), ("webhooks", OWN)):
        answer = await system.http.put(
            f"/v1/admin/tenant/secrets/gateway/standard/{name}", json={"secret": secret}, headers=headers
        )
        assert answer.status_code == 204, answer.text


async def told_by_own(system: System, event: dict[str, Any]) -> httpx.Response:
    """The event, signed with the shop's own secret, at the address of its own gateway."""
    body, at = json.dumps(event), datetime.now(UTC)
    headers = {
        "webhook-id": event["id"],
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(OWN).sign(event["id"], at, body),
    }
    return await system.http.post(f"/v1/webhooks/{DEMO}/standard", content=body.encode(), headers=headers)


async def test_money_in_our_account_that_names_another_tenant_goes_back_at_once_and_is_quarantined(
    system: System,
) -> None:
    await own_gateway(system)
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held, OTHER)
    system.unmatched.add(payment)  # The sandbox's ledger has it under the other tenant's name.
    event = captured(await system.gateway.pay(payment, drop=True))
    answers = await asyncio.gather(*(told_by_own(system, event) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert "to_late_payment" in {answer.json()["status"] for answer in answers}
    await until_refunded(system, payment)
    assert await outcome(system, payment) == ("refund", "wrong_tenant", True, "refunded")
    movements = [one["kind"] for one in await system.gateway.ledger(OTHER) if one["payment_id"] == payment]
    assert movements == ["capture", "refund"]
    view = await buyer.read(held["id"])
    assert (view["status"], view["payments"]) == ("held", [])


async def test_a_payment_made_for_another_checkout_confirms_that_one_only(system: System) -> None:
    buyer, theirs, payment = await paid_quietly(system)
    coffee = await system.product()
    mine = await buyer.hold((coffee, 1))
    refused = await buyer.confirm(mine["id"], payment["id"])
    assert (refused.status_code, code(refused)) == (409, "payment_mismatch")
    assert (await post(system.http, captured(payment))).status_code == 200
    refused = await buyer.confirm(mine["id"], payment["id"])
    assert (refused.status_code, code(refused)) == (409, "payment_mismatch")
    await buyer.until(theirs["id"], "confirmed")
    assert (await buyer.read(mine["id"]))["status"] == "held"
    assert await outcome(system, payment["id"]) == ("order", None, False, None)


@pytest.mark.parametrize("copies", [50])
async def test_fifty_copies_of_one_event_at_once_have_one_effect(system: System, copies: int) -> None:
    buyer, held, payment = await paid_quietly(system)
    event = captured(payment)
    answers = await asyncio.gather(*(post(system.http, event) for _ in range(copies)))
    assert Counter(answer.status_code for answer in answers) == {200: copies}
    await buyer.until(held["id"], "confirmed")
    assert len(await buyer.orders()) == 1
    assert [name for name, _ in await stored(system, payment["id"])] == [event["id"]]


async def test_wrong_amount_wrong_currency_and_two_right_ones_at_once_make_one_order(system: System) -> None:
    coffee, buyer = await system.product(stock=5), system.buyer()
    held = await buyer.hold((coffee, 1))
    payments = [
        await system.payment(held),
        await system.payment(held),
        await system.payment(held, amount=held["total"] - 1),
        await system.payment(held, currency="USD"),
    ]
    paid = [await system.gateway.pay(payment, drop=True) for payment in payments]
    answers = await asyncio.gather(*(post(system.http, captured(one)) for one in paid for _ in range(3)))
    assert {answer.status_code for answer in answers} == {200}
    await buyer.until(held["id"], "confirmed")
    for payment in payments[2:]:
        await until_refunded(system, payment)
    ended = [await outcome(system, payment) for payment in payments]
    assert ended[2:] == [("refund", "wrong_amount", True, "refunded"), ("refund", "wrong_currency", True, "refunded")]
    loser = payments[1] if ended[0] == ("order", None, False, None) else payments[0]
    await until_refunded(system, loser)
    assert await outcome(system, loser) == ("refund", "second_payment", False, "refunded")
    assert await system.stock(coffee) == (4, 0, 1)
