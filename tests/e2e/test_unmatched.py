"""Payment events that come before their checkout, or without one, over the whole system."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client

from activities.delivery import Delivery
from api.checkout_models import StartIn
from api.engine import Engine, Outlook
from api.fair_places import FairPlaces
from api.fingerprint import fingerprint
from domain.checkout import CheckoutStatus
from domain.errors import Unavailable
from domain.ids import BuyerKey, CheckoutId, ProductId, checkout_id_for
from domain.messages import Line, Repaired, StartCheckout
from local.ports import free_port
from tests.e2e.test_webhooks import captured, post, stored
from tests.support.buyers import Buyer, code
from tests.support.system import DEMO, System, repair_of, second_api
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


def to_be(buyer: Buyer, key: str) -> str:
    """The id of the checkout that this buyer's start with this key will make."""
    return checkout_id_for(DEMO, BuyerKey(f"user:{buyer.subject}"), key)


async def paid_early(system: System, checkout: str | None, amount: int = 1000) -> dict[str, Any]:
    """A captured payment that the gateway has told of, whose checkout is not there."""
    payment = await system.gateway.create(DEMO, checkout, amount)
    paid = await system.gateway.pay(payment["id"], drop=True)
    answer = await post(system.http, captured(paid))
    assert (answer.status_code, answer.json()["status"]) == (200, "unmatched")
    return paid


async def repair(system: System, **times: float) -> Repaired:
    """The consistency check's work on DEMO; `times` in seconds."""
    delivery = Delivery(system.database, system.client, system.settings.task_queue)
    return await repair_of(system, delivery).repair_tenant(DEMO, event_grace=0, **times)


async def outcome(system: System, payment: str) -> tuple[Any, ...] | None:
    """(kind, reason, quarantined, refund_status)."""
    cursor = await system.admin.execute(
        "SELECT kind, reason, quarantined, refund_status FROM payment_outcomes WHERE payment_id = %s", (payment,)
    )
    return await cursor.fetchone()


async def until_refunded(system: System, payment: str) -> None:
    async def made() -> bool:
        found = await outcome(system, payment)
        return found is not None and found[3] == "refunded"

    await eventually(made)
    there = await system.gateway.payment(payment)
    assert (there["status"], there["refunded_amount"]) == ("refunded", there["amount"])


async def test_a_payment_that_came_before_its_checkout_confirms_it_as_soon_as_it_starts(system: System) -> None:
    coffee, buyer, key = await system.product(), system.buyer(), secrets.token_hex(8)
    payment = await paid_early(system, to_be(buyer, key))
    held = await buyer.hold((coffee, 1), key=key)
    assert held["id"] == to_be(buyer, key)
    await buyer.until(held["id"], "confirmed", seconds=5)
    assert await outcome(system, payment["id"]) == ("order", None, False, None)


async def test_a_payment_for_a_checkout_that_is_refused_goes_back(system: System) -> None:
    coffee, buyer, key = await system.product(stock=1), system.buyer(), secrets.token_hex(8)
    payment = await paid_early(system, to_be(buyer, key), 2000)
    assert await started_elsewhere(system, buyer, key, coffee, 2) is CheckoutStatus.REFUSED
    answer = await buyer.start((coffee, 2), key=key)
    assert (answer.status_code, code(answer)) == (409, "insufficient_stock")
    await until_refunded(system, payment["id"])
    assert await outcome(system, payment["id"]) == ("refund", "late", False, "refunded")


async def test_a_payment_whose_start_died_before_it_looked_is_found_by_the_check(system: System) -> None:
    coffee, buyer, key = await system.product(), system.buyer(), secrets.token_hex(8)
    await paid_early(system, to_be(buyer, key))
    assert await started_elsewhere(system, buyer, key, coffee, 1) is CheckoutStatus.HELD
    assert (await buyer.read(to_be(buyer, key)))["status"] == "held"
    assert (await repair(system)).events_delivered == 1
    await buyer.until(to_be(buyer, key), "confirmed")


async def started_elsewhere(
    system: System, buyer: Buyer, key: str, product: ProductId, quantity: int
) -> CheckoutStatus:
    """A start whose API process looked at nothing before it, and died as soon as it was made."""
    body = StartIn.model_validate({"lines": [{"product_id": product, "quantity": quantity}]})
    now = datetime.now(UTC)
    start = StartCheckout(
        DEMO, CheckoutId(to_be(buyer, key)), BuyerKey(f"user:{buyer.subject}"), [Line(product, quantity)],
        fingerprint(body), now + timedelta(seconds=5),
    )  # fmt: skip
    engine = Engine(system.client, system.settings.task_queue, b"k" * 32, FairPlaces(8))
    return (await engine.start(start, Outlook(start.lines, 1000 * quantity, "COP", now))).status


async def test_what_a_start_left_because_the_engine_was_gone_its_repeat_hands_over(system: System) -> None:
    coffee, buyer, key = await system.product(), system.buyer(), secrets.token_hex(8)
    payment = await system.gateway.create(DEMO, to_be(buyer, key), 1000)
    paid = await system.gateway.pay(payment["id"], drop=True)
    await buyer.hold((coffee, 1), key=key)
    async with second_api(system, f"127.0.0.1:{free_port()}") as http:
        assert (await post(http, captured(paid))).status_code == 503
        away = Buyer(http, DEMO, buyer.subject, buyer.headers)
        assert (await away.start((coffee, 1), key=key)).status_code == 201, "a start stands, whatever waits for it"
    assert [state for _, state in await stored(system, paid["id"])] == ["received"]
    again = await buyer.start((coffee, 1), key=key)
    assert again.status_code == 201
    await buyer.until(to_be(buyer, key), "confirmed")


async def test_an_unmatched_event_is_told_of_once_and_given_back_in_the_end(system: System) -> None:
    payment = await paid_early(system, checkout_id_for(DEMO, BuyerKey("user:x"), secrets.token_hex(8)), 777)
    with capture_logs() as logs:
        assert (await repair(system)).events_unmatched == 0
        assert (await repair(system, alert_after=0)).events_unmatched == 1
        assert (await repair(system, alert_after=0)).events_unmatched == 0
    told = [line for line in logs if line["event"] == "event_unmatched"]
    assert [(line["log_level"], line["payment"], line["amount"]) for line in told] == [("warning", payment["id"], 777)]
    assert await outcome(system, payment["id"]) is None
    assert (await repair(system, keep_unmatched=0)).unmatched_refunded == 1
    await until_refunded(system, payment["id"])
    assert await outcome(system, payment["id"]) == ("refund", "unmatched", False, "refunded")
    assert (await repair(system, keep_unmatched=0)) == Repaired()
    assert (await post(system.http, captured(payment))).json()["status"] == "nothing_to_do"


async def test_money_that_names_no_checkout_is_kept_as_long_and_given_back(system: System) -> None:
    payment = await paid_early(system, None, 700)
    assert (await repair(system, alert_after=0)).events_unmatched == 1
    assert (await repair(system, keep_unmatched=0)).unmatched_refunded == 1
    await until_refunded(system, payment["id"])


async def test_a_decline_whose_checkout_never_comes_is_settled_quietly(system: System) -> None:
    payment = await system.gateway.create(DEMO, checkout_id_for(DEMO, BuyerKey("user:x"), secrets.token_hex(8)), 5)
    await system.gateway.decline(payment["id"])
    await system.gateway.settled(payment["id"])
    assert [state for _, state in await stored(system, payment["id"])] == ["received"]
    assert (await repair(system, keep_unmatched=0)).unmatched_refunded == 0
    assert [state for _, state in await stored(system, payment["id"])] == ["settled"]
    assert await outcome(system, payment["id"]) is None


async def test_a_refund_whose_start_was_lost_is_started_by_the_check(system: System) -> None:
    """The intent is stored first: the engine is gone just then."""
    payment = await paid_early(system, None, 800)
    lost = Delivery(system.database, await unreachable(system), system.settings.task_queue)
    with pytest.raises(Unavailable):
        await repair_of(system, lost).repair_tenant(DEMO, event_grace=0, keep_unmatched=0)
    assert await outcome(system, payment["id"]) == ("refund", "unmatched", False, "intended")
    assert (await repair(system)).refunds_started == 1
    await until_refunded(system, payment["id"])


async def unreachable(system: System) -> Client:
    """A Temporal client that nobody answers."""
    return await Client.connect(f"127.0.0.1:{free_port()}", namespace=system.client.namespace, lazy=True)
