"""Webhooks as a receiving server sees them: signed, retried, and misbehaving when the gateway is told to."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from activities.gateways.sandbox import SandboxGateway
from domain.errors import InvalidSignature
from domain.gateway import PaymentEvent
from domain.ids import TenantId
from local.gateway.app import config_from
from local.gateway.config import GatewayConfig
from settings import Settings
from tests.support.gateway import SECRET, RunningGateway, running_gateway
from tests.support.receiver import Received, Receiver, receiving

DEMO = TenantId("demo")
CHECKOUT = "0b5c1f5e-6d0e-5c57-9f0e-2a8f6f3f1c11"


@pytest.fixture
def shop() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sandbox(tmp_path: Path, shop: Receiver) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path, shop.url) as running:
        yield running


async def new_payment(sandbox: RunningGateway) -> str:
    return str((await sandbox.create("demo", CHECKOUT, 5500))["id"])


@functools.cache
def adapter(secret: str) -> SandboxGateway:
    return SandboxGateway("http://gateway.invalid", [secret], httpx.AsyncClient())


async def verified(webhook: Received, secret: str = SECRET) -> PaymentEvent:
    event = await adapter(secret).parse_webhook(DEMO, webhook.headers, webhook.body, datetime.now(UTC))
    assert event is not None
    return event


async def test_a_capture_arrives_signed_at_the_tenants_address(sandbox: RunningGateway, shop: Receiver) -> None:
    payment_id = await new_payment(sandbox)
    await sandbox.pay(payment_id)
    (webhook,) = await shop.wait_for(1)
    event = await verified(webhook)
    assert webhook.path == "/v1/webhooks/demo/sandbox"
    assert (event.payment_id, event.checkout_id, event.amount, event.kind) == (payment_id, CHECKOUT, 5500, "captured")
    (record,) = await sandbox.settled(payment_id)
    assert (record["event_id"], record["state"], record["attempts"]) == (event.event_id, "delivered", 1)


async def test_every_step_of_a_payment_is_told_in_order(sandbox: RunningGateway, shop: Receiver) -> None:
    new = {"tenant": "demo", "amount": 5500, "currency": "COP", "announce": True}
    payment_id = (await sandbox.call("POST", "/payments", new))["id"]
    await sandbox.process(payment_id)
    await sandbox.decline(payment_id)
    await sandbox.pay(payment_id)
    await sandbox.refund(payment_id, 1500)
    await sandbox.refund(payment_id)
    steps = ["created", "processing", "failed", "captured", "refunded", "refunded"]
    assert [(await verified(webhook)).kind for webhook in await shop.wait_for(6)] == steps


async def test_nothing_is_sent_twice_without_being_asked(sandbox: RunningGateway, shop: Receiver) -> None:
    payment_id = await new_payment(sandbox)
    await sandbox.pay(payment_id)
    await sandbox.pay(payment_id)
    await sandbox.settled(payment_id)
    await asyncio.sleep(0.3)
    assert len(shop.got) == 1


async def test_a_refused_delivery_is_tried_again_with_growing_pauses_and_a_fresh_signature(
    sandbox: RunningGateway, shop: Receiver
) -> None:
    shop.answer = lambda before: [503, 500, 401, 302][before] if before < 4 else 204
    payment_id = await new_payment(sandbox)
    await sandbox.pay(payment_id)
    got = await shop.wait_for(5)
    assert {(await verified(webhook)).event_id for webhook in got} == {got[0].event["id"]}
    pauses = [later.at - earlier.at for earlier, later in pairwise(got)]
    assert [pause >= floor for pause, floor in zip(pauses, [0.05, 0.1, 0.2, 0.4], strict=True)] == [True] * 4
    (record,) = await sandbox.settled(payment_id)
    assert (record["attempts"], record["last_status"], record["last_error"]) == (5, 204, None)


def test_webhooks_go_to_the_api_on_this_machine_unless_the_settings_say_otherwise() -> None:
    here = Settings(env="development", api_port=8765)
    assert config_from(here).target_url == "http://127.0.0.1:8765"
    elsewhere = here.model_copy(update={"sandbox_webhook_url": "http://api:8000"})
    assert config_from(elsewhere).target_url == "http://api:8000"


def test_pauses_double_from_half_a_second_to_an_hour() -> None:
    config = GatewayConfig(Path("unused"), [SECRET], "http://shop.invalid")
    assert [config.pause_after(n) for n in (1, 2, 3, 4, 5)] == [0.5, 1, 2, 4, 8]
    assert config.pause_after(13) == 2048
    assert config.pause_after(14) == config.pause_after(10_000) == 3600


async def test_duplicates_are_the_same_event_at_the_same_time(sandbox: RunningGateway, shop: Receiver) -> None:
    payment_id = await new_payment(sandbox)
    await sandbox.pay(payment_id, duplicate=4)
    got = await shop.wait_for(5)
    assert len({(await verified(webhook)).event_id for webhook in got}) == 1
    assert shop.most_at_once > 1


async def test_a_delayed_webhook_comes_late_and_others_do_not_wait(sandbox: RunningGateway, shop: Receiver) -> None:
    late, prompt = await new_payment(sandbox), await new_payment(sandbox)
    started = time.monotonic()
    await sandbox.pay(late, delay_ms=700)
    await sandbox.pay(prompt)
    first, second = await shop.wait_for(2)
    assert [first.event["data"]["payment_id"], second.event["data"]["payment_id"]] == [prompt, late]
    assert 0.7 <= second.at - started < 5


async def test_a_reordered_failure_comes_after_the_capture(sandbox: RunningGateway, shop: Receiver) -> None:
    payment_id = await new_payment(sandbox)
    await sandbox.decline(payment_id, reorder=True)
    await sandbox.pay(payment_id)
    captured, failed = [await verified(webhook) for webhook in await shop.wait_for(2)]
    assert [captured.kind, failed.kind] == ["captured", "failed"]
    assert failed.occurred_at < captured.occurred_at


async def test_a_reordered_event_that_nothing_follows_still_comes(sandbox: RunningGateway, shop: Receiver) -> None:
    payment_id = await new_payment(sandbox)
    started = time.monotonic()
    await sandbox.pay(payment_id, reorder=True)
    (webhook,) = await shop.wait_for(1)
    assert webhook.at - started >= 1.9


async def test_a_dropped_webhook_never_comes_until_it_is_resent(sandbox: RunningGateway, shop: Receiver) -> None:
    payment_id = await new_payment(sandbox)
    await sandbox.pay(payment_id, drop=True)
    (record,) = await sandbox.settled(payment_id)
    await asyncio.sleep(0.3)
    assert (record["state"], shop.got) == ("dropped", [])
    await sandbox.resend(record["event_id"])
    (webhook,) = await shop.wait_for(1)
    assert (await verified(webhook)).event_id == record["event_id"]


async def test_a_delivered_webhook_can_be_resent(sandbox: RunningGateway, shop: Receiver) -> None:
    payment_id = await new_payment(sandbox)
    await sandbox.pay(payment_id)
    (record,) = await sandbox.settled(payment_id)
    await sandbox.resend(record["event_id"])
    first, again = await shop.wait_for(2)
    assert first.body == again.body
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        await sandbox.resend("evt_unknown")


async def test_a_forged_webhook_comes_with_the_true_one_and_only_one_verifies(
    sandbox: RunningGateway, shop: Receiver
) -> None:
    shop.answer = lambda before: 401 if before == 0 else 200
    payment_id = await new_payment(sandbox)
    await sandbox.pay(payment_id, forge=True)
    records = await sandbox.settled(payment_id)
    verdicts = []
    for webhook in await shop.wait_for(2):
        try:
            verdicts.append((await verified(webhook)).kind.value)
        except InvalidSignature:
            verdicts.append("forged")
    assert sorted(verdicts) == ["captured", "forged"]
    assert [record["forged"] for record in records] == [True, False]


async def test_a_refused_forgery_is_not_tried_again(sandbox: RunningGateway, shop: Receiver) -> None:
    shop.answer = lambda _: 401
    payment_id = await new_payment(sandbox)
    await sandbox.pay(payment_id, forge=True, drop=True)
    forged, true = await sandbox.settled(payment_id)
    await asyncio.sleep(0.3)
    assert (forged["state"], forged["attempts"], forged["last_status"]) == ("refused", 1, 401)
    assert (true["state"], len(shop.got)) == ("dropped", 1)


async def test_a_default_behaviour_holds_for_actions_that_do_not_say(sandbox: RunningGateway, shop: Receiver) -> None:
    await sandbox.behave(duplicate=2)
    payment_id = await new_payment(sandbox)
    await sandbox.decline(payment_id)
    await shop.wait_for(3)
    await sandbox.decline(payment_id, duplicate=0)
    await sandbox.settled(payment_id)
    await shop.wait_for(4)
    await sandbox.behave()
    await sandbox.decline(payment_id)
    await sandbox.settled(payment_id)
    await shop.wait_for(5)


async def test_while_a_secret_is_replaced_webhooks_verify_with_either(tmp_path: Path, shop: Receiver) -> None:
    other = "whsec_YW5vdGhlci1zZWNyZXQtb2YtMzItYnl0ZXMtMDAwMDA="
    async with running_gateway(tmp_path, shop.url, f"{SECRET} {other}") as sandbox:
        await sandbox.pay(await new_payment(sandbox))
        (webhook,) = await shop.wait_for(1)
    assert await verified(webhook, SECRET) == await verified(webhook, other)
