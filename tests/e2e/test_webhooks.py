"""The gateway's webhooks, well-behaved and not, from the sandbox gateway to the order."""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from activities.delivery import Delivery
from domain.ids import checkout_id_for
from domain.messages import Repaired
from local.ports import free_port
from tests.support.buyers import code
from tests.support.gateway import SECRET
from tests.support.system import DEMO, OTHER, System, repair_of, second_api

pytestmark = pytest.mark.asyncio(loop_scope="module")
ADDRESS = f"/v1/webhooks/{DEMO}/sandbox"


async def post(
    http: httpx.AsyncClient, event: dict[str, Any], *, secret: str = SECRET, age: float = 0, address: str = ADDRESS
) -> httpx.Response:
    """The event, signed by the Standard Webhooks specification as if `age` seconds ago."""
    body, at = json.dumps(event), datetime.now(UTC) - timedelta(seconds=age)
    headers = {
        "webhook-id": event["id"],
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(event["id"], at, body),
        "content-type": "application/json",
    }
    return await http.post(address, content=body.encode(), headers=headers)


def captured(payment: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The event with which the sandbox gateway tells of a capture."""
    data = {
        **{name: payment[name] for name in ("checkout_id", "tenant", "amount", "currency")},
        "payment_id": payment["id"],
        "status": "captured",
        "refunded_amount": 0,
        **changes,
    }
    now = datetime.now(UTC).isoformat()
    return {"id": f"evt_{secrets.token_hex(8)}", "type": "payment.captured", "created_at": now, "data": data}


async def stored(system: System, payment: str) -> list[tuple[str, str]]:
    """(event id, state) of what the inbox has of a payment."""
    cursor = await system.admin.execute(
        "SELECT event_id, state FROM payment_events WHERE payment_id = %s ORDER BY received_at", (payment,)
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def paid_quietly(system: System) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """(buyer, held checkout, its captured payment), of which no webhook was sent."""
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held)
    return buyer, held, await system.gateway.pay(payment, drop=True)


async def test_twenty_duplicates_make_one_order(system: System) -> None:
    coffee, buyer = await system.product(stock=5), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held)
    await system.gateway.pay(payment, duplicate=20)
    await buyer.until(held["id"], "confirmed")
    copies = await system.gateway.settled(payment)
    assert [copy["last_status"] for copy in copies] == [200] * 21
    assert len(await stored(system, payment)) == 1
    assert await system.stock(coffee) == (4, 0, 1)
    assert len(await buyer.orders()) == 1


async def test_two_events_of_one_payment_make_one_order(system: System) -> None:
    buyer, held, payment = await paid_quietly(system)
    answers = await asyncio.gather(*(post(system.http, captured(payment)) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    await buyer.until(held["id"], "confirmed")
    assert len(await buyer.orders()) == 1


async def test_a_delayed_webhook_confirms_when_it_comes(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    await system.gateway.pay(await system.payment(held), delay_ms=700)
    await asyncio.sleep(0.4)
    assert (await buyer.read(held["id"]))["status"] == "held"
    await buyer.until(held["id"], "confirmed")


async def test_a_failure_that_comes_after_the_success_changes_nothing(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    payment = await system.payment(held)
    await system.gateway.decline(payment, reorder=True)
    await system.gateway.pay(payment)
    view = await buyer.until(held["id"], "confirmed")
    copies = await system.gateway.settled(payment)
    assert [copy["type"] for copy in copies] == ["payment.failed", "payment.captured"]
    assert [state for _, state in await stored(system, payment)] == ["settled", "settled"]
    assert (await stored(system, payment))[0][0] == copies[1]["event_id"], "the success came first"
    assert await buyer.read(held["id"]) == view


async def test_a_dropped_webhook_confirms_once_it_is_sent_again(system: System) -> None:
    buyer, held, payment = await paid_quietly(system)
    await asyncio.sleep(0.3)
    assert (await buyer.read(held["id"]))["status"] == "held"
    [dropped] = await system.gateway.webhooks(payment["id"])
    await system.gateway.resend(dropped["event_id"])
    await buyer.until(held["id"], "confirmed")


async def test_a_forged_webhook_is_a_401_that_stores_nothing(system: System) -> None:
    buyer, held, payment = await paid_quietly(system)
    forged = await post(system.http, captured(payment), secret="whsec_" + "A" * 32)
    assert (forged.status_code, code(forged)) == (401, "invalid_signature")
    assert await stored(system, payment["id"]) == []
    other = await system.payment(held)
    await system.gateway.decline(other, forge=True)
    copies = await system.gateway.settled(other)
    assert [(copy["forged"], copy["state"]) for copy in copies] == [(True, "refused"), (False, "delivered")]
    assert (await buyer.read(held["id"]))["status"] == "held"
    assert (await post(system.http, captured(payment))).status_code == 200


async def test_a_signature_over_other_bytes_is_a_401(system: System) -> None:
    buyer, held, payment = await paid_quietly(system)
    event = captured(payment)
    at = datetime.now(UTC)
    headers = {
        "webhook-id": event["id"],
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(event["id"], at, json.dumps(event)),
    }
    event["data"]["amount"] += 1
    answer = await system.http.post(ADDRESS, content=json.dumps(event).encode(), headers=headers)
    assert answer.status_code == 401
    assert await stored(system, payment["id"]) == []
    assert (await buyer.confirm(held["id"], payment["id"])).status_code == 200


@pytest.mark.parametrize("age", [301, 100_000, -301], ids=str)
async def test_a_stale_webhook_is_a_401_that_stores_nothing(system: System, age: float) -> None:
    buyer, held, payment = await paid_quietly(system)
    answer = await post(system.http, captured(payment), age=age)
    assert (answer.status_code, code(answer)) == (401, "invalid_signature")
    assert await stored(system, payment["id"]) == []
    assert (await post(system.http, captured(payment), age=250)).status_code == 200
    await buyer.until(held["id"], "confirmed")


async def test_an_event_that_could_not_be_handed_over_is_kept_and_handed_over_by_its_repeat(system: System) -> None:
    buyer, held, payment = await paid_quietly(system)
    event = captured(payment)
    async with second_api(system, f"127.0.0.1:{free_port()}") as http:
        for _ in range(2):
            answer = await post(http, event)
            assert (answer.status_code, code(answer)) == (503, "unavailable")
            assert answer.headers["retry-after"]
    assert await stored(system, payment["id"]) == [(event["id"], "received")]
    assert (await buyer.read(held["id"]))["status"] == "held"
    again = await post(system.http, event)
    assert (again.status_code, again.json()["status"]) == (200, "to_checkout")
    await buyer.until(held["id"], "confirmed")
    assert (await post(system.http, event)).json()["status"] == "nothing_to_do"


async def test_a_webhook_is_taken_while_no_worker_runs_and_decided_when_one_does(system: System) -> None:
    buyer, held, payment = await paid_quietly(system)
    await system.worker.stop()
    answer = await post(system.http, captured(payment))
    assert (answer.status_code, answer.json()["status"]) == (200, "to_checkout")
    assert (await buyer.read(held["id"]))["status"] == "held"
    await system.worker.start()
    await buyer.until(held["id"], "confirmed")


async def test_an_event_of_an_unknown_checkout_is_kept_and_matched_when_the_checkout_is_there(system: System) -> None:
    coffee, buyer, key = await system.product(), system.buyer(), secrets.token_hex(8)
    future = checkout_id_for(DEMO, buyer_key(buyer.subject), key)
    payment = await system.gateway.create(DEMO, future, 1000)
    await system.gateway.pay(payment["id"], drop=True)
    answer = await post(system.http, captured(payment))
    assert (answer.status_code, answer.json()["status"]) == (200, "unmatched")
    assert [state for _, state in await stored(system, payment["id"])] == ["received"]
    held = await buyer.hold((coffee, 1), key=key)
    assert held["id"] == future
    await buyer.until(held["id"], "confirmed")


async def test_a_payment_without_any_checkout_is_kept(system: System) -> None:
    payment = await system.gateway.create(DEMO, None, 700)
    system.unmatched.add(payment["id"])
    await system.gateway.pay(payment["id"])
    [copy] = await system.gateway.settled(payment["id"])
    assert copy["last_status"] == 200
    assert [state for _, state in await stored(system, payment["id"])] == ["received"]


async def test_a_payment_at_another_tenant_does_not_touch_this_ones_checkout(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    foreign = await system.payment(held, OTHER)
    system.unmatched.add(foreign)
    await system.gateway.pay(foreign)
    await system.gateway.settled(foreign)
    view = await buyer.read(held["id"])
    assert (view["status"], view["payments"]) == ("held", [])


async def test_an_event_sent_to_another_tenants_address_is_refused(system: System) -> None:
    buyer, held, payment = await paid_quietly(system)
    answer = await post(system.http, captured(payment), address=f"/v1/webhooks/{OTHER}/sandbox")
    assert (answer.status_code, code(answer)) == (422, "invalid")
    assert await stored(system, payment["id"]) == []
    assert (await buyer.confirm(held["id"], payment["id"])).status_code == 200


@pytest.mark.parametrize("address", ["/v1/webhooks/demo/stripe", "/v1/webhooks/demo/SANDBOX", "/v1/webhooks/D/sandbox"])
async def test_an_unknown_gateway_is_a_404(system: System, address: str) -> None:
    event = captured({"id": "pay_1", "checkout_id": None, "tenant": "demo", "amount": 1, "currency": "COP"})
    answer = await post(system.http, event, address=address)
    assert (answer.status_code, code(answer)) == (404, "not_found")


async def test_an_unknown_tenant_is_a_404_like_an_unknown_gateway(system: System) -> None:
    event = captured({"id": "pay_1", "checkout_id": None, "tenant": "nobody", "amount": 1, "currency": "COP"})
    answer = await post(system.http, event, address="/v1/webhooks/nobody/sandbox")
    assert (answer.status_code, code(answer)) == (404, "not_found")


async def test_an_event_lost_by_its_run_is_delivered_again_by_the_repair(system: System) -> None:
    buyer, held, payment = await paid_quietly(system)
    await system.worker.stop()
    assert (await post(system.http, captured(payment))).json()["status"] == "to_checkout"
    await system.terminate(held["id"])
    await system.worker.start()
    assert [state for _, state in await stored(system, payment["id"])] == ["delivered"]
    assert (await repair(system)).events_delivered == 1
    await buyer.until(held["id"], "confirmed")


async def repair(system: System) -> Repaired:
    """The consistency check's work on DEMO, without its graces."""
    delivery = Delivery(system.database, system.client, system.settings.task_queue)
    return await repair_of(system, delivery).repair_tenant(DEMO, hold_grace=0, event_grace=0)


def buyer_key(subject: str) -> Any:
    """As the API derives it from a buyer's token."""
    return f"user:{subject}"
