"""How the sandbox adapter reads the gateway's answers: which failures are asked again, and which are final."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import activities.gateways.calls as module
from activities.gateways.options import GatewayOptions
from activities.gateways.registry import gateways_from
from activities.gateways.sandbox import SANDBOX, SandboxGateway
from activities.gateways.standard import NAME as STANDARD
from activities.gateways.stripe import NAME as STRIPE
from domain.errors import GatewayRefused, GatewayUnavailable
from domain.ids import PaymentId, TenantId
from tests.unit.test_standard_webhooks import NEW, OLD

DEMO, PAYMENT = TenantId("demo"), PaymentId("pay_1")
ANSWER = {
    "id": "pay_1",
    "tenant": "demo",
    "checkout_id": None,
    "amount": 5500,
    "currency": "COP",
    "status": "captured",
    "refunded_amount": 0,
}


class Calls:
    """A gateway that answers everything alike and remembers what it was asked."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.seen: list[httpx.Request] = []
        self._answer = answer
        self.gateway = SandboxGateway("http://gateway.invalid/", [NEW], httpx.AsyncClient(transport=self.transport))

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._take)

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return self._answer(request)


def answering(status: int, content: Any) -> Calls:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Calls(lambda _: httpx.Response(status, content=raw))


def raising(error: Exception) -> Calls:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return Calls(answer)


async def test_a_payment_is_read_and_nothing_is_sent_but_its_id() -> None:
    calls = answering(200, ANSWER)
    found = await calls.gateway.fetch(DEMO, PAYMENT)
    assert found is not None
    assert (found.payment_id, found.amount, found.status, found.tenant) == ("pay_1", 5500, "captured", "demo")
    assert str(calls.seen[0].url) == "http://gateway.invalid/payments/pay_1"


async def test_a_payment_that_the_gateway_does_not_know_is_none() -> None:
    assert await answering(404, {}).gateway.fetch(DEMO, PAYMENT) is None


@pytest.mark.parametrize(
    "payment_id", ["", "..", "../ledger", "a/b", "a?b", "a#b", "a b", "é", "\x00", "\ud800", "x" * 201]
)
async def test_an_id_that_cannot_be_the_gateways_is_never_sent(payment_id: str) -> None:
    calls = answering(200, ANSWER)
    assert await calls.gateway.fetch(DEMO, PaymentId(payment_id)) is None
    with pytest.raises(GatewayRefused):
        await calls.gateway.refund(DEMO, PaymentId(payment_id), 1, "key")
    assert calls.seen == []


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408, 401, 403, 301, 204])
async def test_a_gateway_in_trouble_is_asked_again_later(status: int) -> None:
    calls = answering(status, b"")
    with pytest.raises(GatewayUnavailable):
        await calls.gateway.fetch(DEMO, PAYMENT)
    with pytest.raises(GatewayUnavailable):
        await calls.gateway.refund(DEMO, PAYMENT, 1, "key")


@pytest.mark.parametrize("status", [400, 402, 409, 422])
async def test_a_gateway_that_says_no_is_not_asked_again(status: int) -> None:
    calls = answering(status, {"code": "conflict"})
    with pytest.raises(GatewayRefused):
        await calls.gateway.fetch(DEMO, PAYMENT)
    with pytest.raises(GatewayRefused):
        await calls.gateway.refund(DEMO, PAYMENT, 1, "key")


async def test_a_refund_of_a_payment_it_does_not_know_is_refused() -> None:
    with pytest.raises(GatewayRefused):
        await answering(404, {}).gateway.refund(DEMO, PAYMENT, 1, "key")


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("no"),
        httpx.ReadTimeout("slow"),
        httpx.ConnectTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
        httpx.PoolTimeout("busy"),
        httpx.ReadError("reset"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_broken_connection_is_asked_again_later(error: Exception) -> None:
    with pytest.raises(GatewayUnavailable):
        await raising(error).gateway.fetch(DEMO, PAYMENT)
    with pytest.raises(GatewayUnavailable):
        await raising(error).gateway.refund(DEMO, PAYMENT, 1, "key")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"\xff",
        b"[]",
        b"null",
        {},
        ANSWER | {"amount": "5500"},
        ANSWER | {"amount": -1},
        ANSWER | {"status": "stolen"},
        ANSWER | {"currency": 1},
        ANSWER | {"id": "pay_2"},
        ANSWER | {"tenant": 5},
    ],
)
async def test_an_answer_that_makes_no_sense_is_asked_again_later(content: Any) -> None:
    with pytest.raises(GatewayUnavailable):
        await answering(200, content).gateway.fetch(DEMO, PAYMENT)


@pytest.mark.parametrize("content", [b"", b"{", {}, {"id": "ref_1", "status": "eaten", "amount": 5}, {"id": 1}])
async def test_a_refund_answered_with_nonsense_is_asked_again_with_the_same_key(content: Any) -> None:
    with pytest.raises(GatewayUnavailable):
        await answering(200, content).gateway.refund(DEMO, PAYMENT, 5, "key")


async def test_a_refund_carries_its_key_and_amount() -> None:
    made = {"id": "ref_1", "status": "succeeded", "amount": 5}
    calls = Calls(lambda request: httpx.Response(200, json=ANSWER if request.method == "GET" else made))
    result = await calls.gateway.refund(DEMO, PAYMENT, 5, "late-payment/demo/pay_1")
    assert (result.refund_id, result.status, result.amount) == ("ref_1", "succeeded", 5)
    assert [request.method for request in calls.seen] == ["GET", "POST"], "whose it is was looked at first"
    assert calls.seen[1].headers["idempotency-key"] == "late-payment/demo/pay_1"
    assert json.loads(calls.seen[1].content) == {"amount": 5}


async def test_every_call_waits_three_seconds_at_most_for_each_step() -> None:
    calls = answering(200, ANSWER)
    await calls.gateway.fetch(DEMO, PAYMENT)
    assert calls.seen[0].extensions["timeout"] == {"connect": 3.0, "read": 3.0, "write": 3.0, "pool": 3.0}


async def test_an_answer_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trickle(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(30)
            raise AssertionError("nobody waits that long")

    monkeypatch.setattr(module, "WHOLE_CALL_SECONDS", 0.05)
    gateway = SandboxGateway("http://gateway.invalid", [NEW], httpx.AsyncClient(transport=Trickle()))
    with pytest.raises(GatewayUnavailable):
        await gateway.fetch(DEMO, PAYMENT)


def test_the_registry_takes_several_secrets_while_one_is_replaced() -> None:
    found = gateways_from(GatewayOptions("http://gateway.invalid", f"{OLD} {NEW}"), httpx.AsyncClient())
    assert list(found) == [SANDBOX, STANDARD, STRIPE]
    with pytest.raises(ValueError, match="whsec_"):
        gateways_from(GatewayOptions("http://gateway.invalid", f"{OLD} oh-no"), httpx.AsyncClient())
    with pytest.raises(ValueError, match="at least one"):
        gateways_from(GatewayOptions("http://gateway.invalid", ""), httpx.AsyncClient())
