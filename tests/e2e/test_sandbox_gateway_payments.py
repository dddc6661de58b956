"""The sandbox gateway's payments, refunds and ledger, through our own adapter over real HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities.gateways.interface import Gateway
from activities.gateways.options import GatewayOptions
from activities.gateways.registry import gateways_from
from activities.gateways.sandbox import SANDBOX
from domain.errors import GatewayRefused, GatewayUnavailable
from domain.gateway import GatewayPayment, PaymentStatus, PaymentToStart, RefundStatus
from domain.ids import CheckoutId, PaymentId, TenantId
from tests.support.gateway import SECRET, RunningGateway, running_gateway

DEMO = TenantId("demo")
CHECKOUT = "0b5c1f5e-6d0e-5c57-9f0e-2a8f6f3f1c11"
LONG_AGO, FAR_AHEAD = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9"  # The discard port: nobody listens, and these tests look at no webhook.


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path, NOWHERE) as running:
        yield running


@pytest.fixture
async def adapter(sandbox: RunningGateway) -> AsyncIterator[Gateway]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield gateways_from(GatewayOptions(sandbox.url, SECRET), client)[SANDBOX]


async def captured(sandbox: RunningGateway, amount: int = 5500) -> PaymentId:
    payment_id = PaymentId((await sandbox.create("demo", CHECKOUT, amount))["id"])
    await sandbox.pay(payment_id)
    return payment_id


async def fetched(adapter: Gateway, payment_id: PaymentId) -> GatewayPayment:
    found = await adapter.fetch(DEMO, payment_id)
    assert found is not None
    return found


async def test_a_payment_goes_from_created_to_captured(sandbox: RunningGateway, adapter: Gateway) -> None:
    payment_id = PaymentId((await sandbox.create("demo", CHECKOUT, 5500))["id"])
    assert (await fetched(adapter, payment_id)).status is PaymentStatus.CREATED
    await sandbox.process(payment_id)
    assert (await fetched(adapter, payment_id)).status is PaymentStatus.PROCESSING
    await sandbox.pay(payment_id)
    paid = await fetched(adapter, payment_id)
    assert paid == GatewayPayment(
        SANDBOX, payment_id, paid.checkout_id, PaymentStatus.CAPTURED, 5500, "COP", refunded_amount=0, tenant="demo"
    )
    assert paid.checkout_id == CHECKOUT


async def test_a_payment_that_was_never_made_is_none(adapter: Gateway) -> None:
    assert await adapter.fetch(DEMO, PaymentId("pay_unknown")) is None


async def test_a_declined_payment_can_be_paid_after_all(sandbox: RunningGateway, adapter: Gateway) -> None:
    payment_id = PaymentId((await sandbox.create("demo", CHECKOUT, 5500))["id"])
    for _ in range(5):
        await sandbox.decline(payment_id)
    assert (await fetched(adapter, payment_id)).status is PaymentStatus.FAILED
    await sandbox.pay(payment_id)
    assert (await fetched(adapter, payment_id)).status is PaymentStatus.CAPTURED


async def test_paying_twice_at_once_takes_the_money_once(sandbox: RunningGateway) -> None:
    payment_id = (await sandbox.create("demo", CHECKOUT, 5500))["id"]
    await asyncio.gather(*[sandbox.pay(payment_id) for _ in range(8)])
    assert [entry["kind"] for entry in await sandbox.ledger("demo")] == ["capture"]


async def test_a_refund_asked_again_with_its_key_is_the_same_refund(sandbox: RunningGateway, adapter: Gateway) -> None:
    payment_id = await captured(sandbox)
    results = await asyncio.gather(*[adapter.refund(DEMO, payment_id, 2000, "key-1") for _ in range(8)])
    assert len(set(results)) == 1
    assert (results[0].amount, results[0].status) == (2000, RefundStatus.SUCCEEDED)
    assert (await fetched(adapter, payment_id)).refunded_amount == 2000
    assert [(e["kind"], e["amount"]) for e in await sandbox.ledger()] == [("capture", 5500), ("refund", 2000)]


async def test_refunds_in_parts_make_a_refunded_payment(sandbox: RunningGateway, adapter: Gateway) -> None:
    payment_id = await captured(sandbox)
    await adapter.refund(DEMO, payment_id, 2000, "key-1")
    assert (await fetched(adapter, payment_id)).status is PaymentStatus.CAPTURED
    await adapter.refund(DEMO, payment_id, 3500, "key-2")
    assert (await fetched(adapter, payment_id)).status is PaymentStatus.REFUNDED


async def test_never_more_goes_back_than_came_in(sandbox: RunningGateway, adapter: Gateway) -> None:
    payment_id = await captured(sandbox)
    asked = [adapter.refund(DEMO, payment_id, 2000, f"key-{n}") for n in range(8)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(outcome, GatewayRefused) for outcome in outcomes) == 6
    assert (await fetched(adapter, payment_id)).refunded_amount == 4000


async def test_one_key_for_two_refunds_is_refused(sandbox: RunningGateway, adapter: Gateway) -> None:
    payment_id = await captured(sandbox)
    await adapter.refund(DEMO, payment_id, 2000, "key-1")
    with pytest.raises(GatewayRefused):
        await adapter.refund(DEMO, payment_id, 1000, "key-1")


async def test_one_shop_neither_refunds_nor_ends_what_is_anothers(sandbox: RunningGateway, adapter: Gateway) -> None:
    paid, other = await captured(sandbox), TenantId("other")
    with pytest.raises(GatewayRefused):
        await adapter.refund(other, paid, 5500, "key-1")
    assert (await fetched(adapter, paid)).refunded_amount == 0
    live = PaymentId((await sandbox.create("demo", CHECKOUT, 5500))["id"])
    assert await adapter.expire(other, live) is None
    assert (await fetched(adapter, live)).status is PaymentStatus.CREATED


async def test_a_payment_that_is_not_captured_cannot_be_refunded(sandbox: RunningGateway, adapter: Gateway) -> None:
    payment_id = PaymentId((await sandbox.create("demo", CHECKOUT, 5500))["id"])
    with pytest.raises(GatewayRefused):
        await adapter.refund(DEMO, payment_id, 5500, "key-1")
    with pytest.raises(GatewayRefused):
        await adapter.refund(DEMO, PaymentId("pay_unknown"), 5500, "key-1")
    assert await sandbox.ledger() == []


@pytest.mark.parametrize("action", ["pay", "decline", "process"])
async def test_a_refunded_payment_stays_refunded(sandbox: RunningGateway, action: str) -> None:
    payment_id = await captured(sandbox)
    await sandbox.refund(payment_id)
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        await sandbox.call("POST", f"/payments/{payment_id}/{action}")


async def test_an_idempotency_key_makes_one_payment(sandbox: RunningGateway) -> None:
    body = {"tenant": "demo", "checkout_id": CHECKOUT, "amount": 5500, "currency": "COP"}
    async with httpx.AsyncClient(base_url=sandbox.url, headers={"Idempotency-Key": "once"}, trust_env=False) as client:
        answers = await asyncio.gather(*[client.post("/payments", json=body) for _ in range(8)])
        other = await client.post("/payments", json=body | {"amount": 1})
    assert {answer.json()["id"] for answer in answers} == {(await sandbox.payments_of(CHECKOUT))[0]["id"]}
    assert len(await sandbox.payments_of(CHECKOUT)) == 1
    assert other.status_code == 422


def wish(key: str = "start-1", **changes: Any) -> PaymentToStart:
    wanted: dict[str, Any] = {
        "checkout_id": CheckoutId(CHECKOUT),
        "amount": 5500,
        "currency": "COP",
        "idempotency_key": key,
        "ends_at": datetime.now(UTC) + timedelta(minutes=15),
        "description": "Order 7",
    }
    return PaymentToStart(**(wanted | changes))


async def test_a_started_payment_has_its_own_page_on_which_its_buyer_pays(
    sandbox: RunningGateway, adapter: Gateway
) -> None:
    started = await adapter.start(DEMO, wish(return_url="https://shop.example.com/<back>"))
    assert (started.status, started.url) == (PaymentStatus.CREATED, f"{sandbox.url}/pay/{started.payment_id}")
    assert (await fetched(adapter, started.payment_id)).checkout_id == CHECKOUT
    async with httpx.AsyncClient(base_url=sandbox.url, follow_redirects=True, trust_env=False) as client:
        page = (await client.get(f"/pay/{started.payment_id}")).text
        assert "55.00 COP" in page
        assert "Order 7" in page
        assert 'href="https://shop.example.com/&lt;back&gt;"' in page
        declined = await client.post(f"/pay/{started.payment_id}/decline")
        assert (declined.status_code, declined.url.path) == (200, f"/pay/{started.payment_id}")
        paid = await client.post(f"/pay/{started.payment_id}/pay")
        assert "<button" not in paid.text
        assert (await client.post(f"/pay/{started.payment_id}/refund")).status_code == 422
        assert (await client.get("/pay/pay_unknown")).status_code == 404
    assert (await fetched(adapter, started.payment_id)).status is PaymentStatus.CAPTURED


async def test_asking_again_with_the_same_key_starts_one_payment_also_when_the_end_has_moved(
    sandbox: RunningGateway, adapter: Gateway
) -> None:
    made = await asyncio.gather(
        *[adapter.start(DEMO, wish(ends_at=datetime.now(UTC) + timedelta(minutes=n))) for n in range(8)]
    )
    assert len({one.payment_id for one in made}) == len(await sandbox.payments_of(CHECKOUT)) == 1
    with pytest.raises(GatewayRefused):
        await adapter.start(DEMO, wish(amount=5600))


@pytest.mark.parametrize("status", ["created", "failed"])
async def test_an_expired_payment_can_be_paid_no_more_and_a_repeat_says_the_same(
    sandbox: RunningGateway, adapter: Gateway, status: str
) -> None:
    payment_id = (await adapter.start(DEMO, wish())).payment_id
    if status == "failed":
        await sandbox.decline(payment_id)
    for _ in range(2):
        ended = await adapter.expire(DEMO, payment_id)
        assert ended is not None
        assert ended.status is PaymentStatus.EXPIRED
    for action in ("pay", "process", "decline"):
        with pytest.raises(httpx.HTTPStatusError, match="409"):
            await sandbox.call("POST", f"/payments/{payment_id}/{action}")
    kinds = [copy["type"] for copy in await sandbox.webhooks(payment_id)]
    assert kinds.count("payment.expired") == 1


async def test_a_payment_that_the_buyer_was_quicker_to_make_is_told_as_it_is(
    sandbox: RunningGateway, adapter: Gateway
) -> None:
    payment_id = (await adapter.start(DEMO, wish())).payment_id
    for act, status in ((sandbox.process, "processing"), (sandbox.pay, "captured"), (sandbox.refund, "refunded")):
        await act(payment_id)
        found = await adapter.expire(DEMO, payment_id)
        assert found is not None
        assert found.status == status
    assert await adapter.expire(DEMO, PaymentId("pay_unknown")) is None


async def test_expiring_and_paying_at_once_end_in_one_of_both(sandbox: RunningGateway, adapter: Gateway) -> None:
    for number in range(10):
        payment_id = (await adapter.start(DEMO, wish(f"start-{number}"))).payment_id
        ended, _ = await asyncio.gather(
            adapter.expire(DEMO, payment_id), sandbox.pay(payment_id), return_exceptions=True
        )
        assert isinstance(ended, GatewayPayment)
        assert ended.status in (PaymentStatus.EXPIRED, PaymentStatus.CAPTURED)
        assert (await fetched(adapter, payment_id)).status is ended.status


async def test_every_payment_of_the_tenant_is_listed_over_many_pages_with_what_was_given_back(
    sandbox: RunningGateway, adapter: Gateway
) -> None:
    before = datetime.now(UTC)
    ours = [(await sandbox.create("demo", None, 100 + n))["id"] for n in range(250)]
    await sandbox.create("other", None, 700)
    await sandbox.pay(ours[3])
    await sandbox.refund(ours[3], 50)
    after = datetime.now(UTC) + timedelta(seconds=1)
    listed = [one async for one in adapter.payments(DEMO, before, after)]
    assert [one.payment_id for one in listed] == ours
    assert (listed[3].status, listed[3].refunded_amount) == (PaymentStatus.CAPTURED, 50)
    assert [one async for one in adapter.payments(DEMO, before - timedelta(hours=1), before)] == []
    assert [one async for one in adapter.payments(DEMO, after, after + timedelta(hours=1))] == []


async def test_the_list_holds_what_was_made_from_then_to_then(sandbox: RunningGateway, adapter: Gateway) -> None:
    made = [await sandbox.create("demo", None, 100) for _ in range(3)]
    times = [datetime.fromisoformat(one["created_at"]) for one in made]
    first = [one.payment_id async for one in adapter.payments(DEMO, times[0], times[1])]
    rest = [one.payment_id async for one in adapter.payments(DEMO, times[1], times[2] + timedelta(seconds=1))]
    assert [*first, *rest] == [one["id"] for one in made]
    assert len(first) == 1


@pytest.mark.parametrize("fault", ["down", "slow", "garbage"])
@pytest.mark.parametrize("call", ["start", "expire", "list"])
async def test_each_call_that_fails_is_asked_again_until_it_is_mended(
    sandbox: RunningGateway, adapter: Gateway, call: str, fault: str
) -> None:
    payment_id = (await adapter.start(DEMO, wish())).payment_id
    asked: Callable[[], Awaitable[Any]] = {
        "start": lambda: adapter.start(DEMO, wish("start-2")),
        "expire": lambda: adapter.expire(DEMO, payment_id),
        "list": lambda: anext(adapter.payments(DEMO, LONG_AGO, FAR_AHEAD)),
    }[call]
    await sandbox.fail(**{call: fault})
    with pytest.raises(GatewayUnavailable):
        await asked()
    await sandbox.fail()
    assert await asked() is not None


@pytest.mark.parametrize("call", ["start", "expire"])
async def test_what_was_done_before_the_answer_was_lost_is_done_once(
    sandbox: RunningGateway, adapter: Gateway, call: str
) -> None:
    payment_id = (await adapter.start(DEMO, wish())).payment_id
    await sandbox.fail(**{call: "timeout_after_acting"})
    with pytest.raises(GatewayUnavailable):
        await (adapter.start(DEMO, wish("start-2")) if call == "start" else adapter.expire(DEMO, payment_id))
    await sandbox.fail()
    if call == "start":
        await adapter.start(DEMO, wish("start-2"))
        assert len(await sandbox.payments_of(CHECKOUT)) == 2
    else:
        ended = await adapter.expire(DEMO, payment_id)
        assert ended is not None
        assert ended.status is PaymentStatus.EXPIRED


@pytest.mark.parametrize("fault", ["down", "slow", "garbage"])
async def test_a_gateway_that_fails_is_asked_again_until_it_is_mended(
    sandbox: RunningGateway, adapter: Gateway, fault: str
) -> None:
    payment_id = await captured(sandbox)
    await sandbox.fail(fetch=fault)
    started = time.monotonic()
    with pytest.raises(GatewayUnavailable):
        await adapter.fetch(DEMO, payment_id)
    assert time.monotonic() - started < 3.9
    await sandbox.fail()
    assert (await fetched(adapter, payment_id)).amount == 5500


@pytest.mark.parametrize(("fault", "acted"), [("down", False), ("garbage", False), ("timeout_after_acting", True)])
async def test_a_refund_whose_answer_was_lost_is_made_once(
    sandbox: RunningGateway, adapter: Gateway, fault: str, acted: bool
) -> None:
    payment_id = await captured(sandbox)
    await sandbox.fail(refund=fault)
    with pytest.raises(GatewayUnavailable):
        await adapter.refund(DEMO, payment_id, 5500, "key-1")
    refunds = [entry for entry in await sandbox.ledger() if entry["kind"] == "refund"]
    assert len(refunds) == acted
    await sandbox.fail()
    result = await adapter.refund(DEMO, payment_id, 5500, "key-1")
    assert [e["refund_id"] for e in await sandbox.ledger() if e["kind"] == "refund"] == [result.refund_id]


async def test_a_gateway_that_is_not_there_is_unavailable() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(GatewayUnavailable):
            await gateways_from(GatewayOptions(NOWHERE, SECRET), client)[SANDBOX].fetch(DEMO, PaymentId("pay_1"))


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0},
        {"amount": "5500"},
        {"amount": True},
        {"amount": 10**16},
        {"amount": 10**30},
        {"currency": "pesos"},
        {"tenant": "A B"},
        {"checkout_id": "a\x00b"},
        {"reference": "\ud800"},
        {"surprise": 1},
    ],
)
async def test_the_gateway_refuses_a_payment_that_makes_no_sense(
    sandbox: RunningGateway, change: dict[str, object]
) -> None:
    good = {"tenant": "demo", "checkout_id": CHECKOUT, "amount": 5500, "currency": "COP"}
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        await sandbox.call("POST", "/payments", good | change)
    assert await sandbox.payments_of(CHECKOUT) == []


async def test_the_page_shows_payments_escaped_and_its_buttons_work(sandbox: RunningGateway) -> None:
    new = {"tenant": "demo", "amount": 5500, "currency": "COP", "reference": "<script>alert(1)</script>"}
    payment_id = (await sandbox.call("POST", "/payments", new))["id"]
    async with httpx.AsyncClient(base_url=sandbox.url, follow_redirects=True, trust_env=False) as client:
        page = (await client.get("/")).text
        assert payment_id in page
        assert "55.00 COP" in page
        assert "<script>" not in page
        for button, after in (("decline", "failed"), ("pay", "captured"), ("refund", "refunded")):
            pressed = await client.post(f"/payments/{payment_id}/{button}/form")
            assert (pressed.status_code, pressed.url.path) == (200, "/")
            assert (await sandbox.payment(payment_id))["status"] == after
        again = await client.post(f"/payments/{payment_id}/pay/form")
        assert "not possible any more" in again.text
        other = (await sandbox.call("POST", "/payments", new))["id"]
        assert "expired" in (await client.post(f"/payments/{other}/expire/form")).text
        assert (await sandbox.payment(other))["status"] == "expired"
