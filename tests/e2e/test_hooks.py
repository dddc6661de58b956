"""Tenants' webhooks through the whole system: from an administrator's request and a sale to a real receiver."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks import Webhook
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from activities.hooks import relay as relaying
from activities.hooks.sender import message_id
from api.tokens import Scope
from db import hook_relay
from db.hook_deliveries import begin_try
from db.keyring import KeyRing
from domain.hooks import HookRef
from domain.ids import HookDeliveryId
from domain.naming import hook_workflow_id
from tests.support.buyers import Buyer
from tests.support.receiver import Receiver, receiving
from tests.support.system import DEMO, OTHER, QUICK, System
from tests.support.waiting import eventually
from worker import hooks_running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hooks(shared_system: System) -> AsyncIterator[None]:
    """What the worker does for webhooks, in this process."""
    ring = KeyRing.parse(shared_system.settings.secret_keys.get_secret_value())
    async with hooks_running(shared_system.settings, shared_system.database, ring, shared_system.client):
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def admin(system: System) -> Buyer:
    return system.buyer(DEMO, None, Scope.ADMIN)


async def an_endpoint(admin: Buyer, url: str, *kinds: str) -> tuple[dict[str, Any], str]:
    """An endpoint for what this test sends; with its secret."""
    answer = await admin.post("/v1/admin/webhooks", {"url": url, "kinds": list(kinds)}, None)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    return made["webhook"], made["secret"]


def path(receiver: Receiver) -> str:
    return f"{receiver.url}/v1/webhooks/demo/{uuid.uuid4().hex[:8]}"


async def deliveries(admin: Buyer, hook: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    answer = await admin.http.get(
        f"/v1/admin/webhooks/{hook['id']}/deliveries", params=query, headers=dict(admin.headers)
    )
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


async def until(admin: Buyer, hook: dict[str, Any], status: str, seconds: float = 30.0) -> dict[str, Any]:
    """The endpoint's newest delivery, once it stands so."""

    async def stands() -> bool:
        return bool(found := await deliveries(admin, hook)) and found[0]["status"] == status

    await eventually(stands, seconds)
    return (await deliveries(admin, hook))[0]


async def delete(admin: Buyer, hook: dict[str, Any]) -> None:
    """So that the next test's sales are not told to this test's receiver."""
    answer = await admin.http.delete(f"/v1/admin/webhooks/{hook['id']}", headers=dict(admin.headers))
    assert answer.status_code == 204, answer.text


async def test_whatever_dies_between_the_sale_and_its_run_the_message_is_sent(
    system: System, admin: Buyer, receiver: Receiver
) -> None:
    """A worker that starts later finds it; two relays at once start one run; what was lost is found again.

    The first test, because no worker sends webhooks yet.
    """
    hook, _ = await an_endpoint(admin, path(receiver), "hold.cancelled")
    buyer = system.buyer()
    await buyer.cancel((await buyer.hold((await system.product(), 1)))["id"])
    [waiting] = await deliveries(admin, hook)
    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
    ring = KeyRing.parse(system.settings.secret_keys.get_secret_value())
    ref = HookRef(DEMO, HookDeliveryId(waiting["id"]))
    await begin_try(system.database, ring, ref)  # By a worker that died, and the run is lost.
    await system.admin.execute("UPDATE hook_deliveries SET wake_at = now() - interval '1 s'")
    relays = [relaying.Relay(system.admin_url, system.client, system.settings.task_queue) for _ in range(2)]
    connections = [await hook_relay.connect(system.admin_url) for _ in relays]
    assert all(
        await asyncio.gather(*(one.once(connection) for one, connection in zip(relays, connections, strict=True)))
    )
    for connection in connections:
        await connection.close()
    async with hooks_running(system.settings, system.database, ring, system.client):
        done = await until(admin, hook, "delivered")
    assert (done["attempts"], len(receiver.got)) == (2, 1)
    await delete(admin, hook)


@pytest.mark.usefixtures("hooks")
async def test_a_sale_is_told_to_a_real_receiver_which_verifies_it(
    system: System, admin: Buyer, receiver: Receiver
) -> None:
    hook, secret = await an_endpoint(admin, path(receiver), "order.confirmed", "hold.cancelled")
    buyer, coffee = system.buyer(), await system.product()
    held = await buyer.hold((coffee, 2))
    payment = await system.payment(held)
    await system.gateway.pay(payment)
    view = await buyer.until(held["id"], "confirmed")
    [got] = await receiver.wait_for(1, 30)
    told = Webhook(secret).verify(got.body, dict(got.headers))
    assert told["type"] == "order.confirmed"
    assert told["data"] == {
        "checkout_id": held["id"], "order_id": view["order_id"], "total": 2000, "currency": "COP",
        "gateway": "sandbox", "payment_id": payment,
    }  # fmt: skip
    done = await until(admin, hook, "delivered")
    assert (done["attempts"], done["answer"], done["error"]) == (1, 200, None)
    assert got.headers["webhook-id"] == message_id(HookDeliveryId(done["id"]))
    run = system.client.get_workflow_handle(hook_workflow_id(DEMO, HookDeliveryId(done["id"]), 0))
    history = str((await run.fetch_history()).to_json())
    assert receiver.url not in history
    assert payment not in history
    await delete(admin, hook)


@pytest.mark.usefixtures("hooks")
async def test_a_receiver_that_fails_is_tried_again_with_the_same_message_until_it_takes_it(
    system: System, admin: Buyer, receiver: Receiver
) -> None:
    receiver.answer = lambda earlier: 500 if earlier < 1 else 200
    hook, secret = await an_endpoint(admin, path(receiver), "hold.cancelled")
    buyer = system.buyer()
    await buyer.cancel((await buyer.hold((await system.product(), 1)))["id"])
    first, second = await receiver.wait_for(2, 40)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert second.at - first.at > 5, "not at once"
    Webhook(secret).verify(second.body, dict(second.headers))
    done = await until(admin, hook, "delivered")
    assert (done["attempts"], done["answer"]) == (2, 200)
    await delete(admin, hook)


@pytest.mark.usefixtures("hooks")
async def test_after_days_of_failure_it_is_given_up_and_can_be_sent_once_more(
    system: System, admin: Buyer, receiver: Receiver
) -> None:
    """In virtual time: the pauses of three days are skipped."""
    receiver.answer = lambda _: 503
    hook, _ = await an_endpoint(admin, path(receiver), "hold.expired")
    skipper = TimeSkipper(system.client, config=TimeSkippingConfig(enabled=False))
    answer = await admin.post(f"/v1/admin/webhooks/{hook['id']}/test", None, None)
    delivery = answer.json()["delivery_id"]
    run = system.client.get_workflow_handle(hook_workflow_id(DEMO, HookDeliveryId(delivery), 0))
    await receiver.wait_for_some()
    for _ in range(60):
        if (await deliveries(admin, hook))[0]["status"] != "pending":
            break
        await skipper.fast_forward(run, timedelta(hours=7))
        await asyncio.sleep(0.3)
    failed = await until(admin, hook, "failed")
    assert failed["error"] == "tried_for_days"
    assert failed["attempts"] >= 8
    assert failed["attempts"] == len(receiver.got)
    receiver.answer = lambda _: 200
    assert (await admin.post(f"/v1/admin/webhooks/{hook['id']}/replay", None, None)).json() == {"replayed": 1}
    done = await until(admin, hook, "delivered")
    assert (done["id"], done["replays"]) == (failed["id"], 1)
    assert len({one.headers["webhook-id"] for one in receiver.got}) == 1
    one_more = f"/v1/admin/webhooks/{hook['id']}/deliveries/{done['id']}/replay"
    seen = len(receiver.got)
    assert (await admin.post(one_more, None, None)).status_code == 202
    await eventually(lambda: more_than(receiver, seen), 30)
    await delete(admin, hook)


async def more_than(receiver: Receiver, count: int) -> bool:
    return len(receiver.got) > count


@pytest.mark.usefixtures("hooks")
async def test_a_receiver_that_is_down_or_redirects_gets_nothing_and_the_delivery_says_why(
    system: System, admin: Buyer, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 307
    down, _ = await an_endpoint(admin, "http://127.0.0.1:1/hooks", "refund.made")
    moved, _ = await an_endpoint(admin, path(receiver), "refund.made")
    for hook, error in ((down, "no_connection"), (moved, "answer")):
        await admin.post(f"/v1/admin/webhooks/{hook['id']}/test", None, None)
        await eventually(lambda hook=hook: tried(admin, hook), 30)  # type: ignore[misc]
        [seen] = await deliveries(admin, hook)
        assert (seen["status"], seen["error"]) == ("pending", error)
        now = await admin.http.get(f"/v1/admin/webhooks/{hook['id']}", headers=dict(admin.headers))
        assert now.json()["failing_since"] is not None
        await delete(admin, hook)


async def tried(admin: Buyer, hook: dict[str, Any]) -> bool:
    [seen] = await deliveries(admin, hook)
    return seen["error"] is not None


@pytest.mark.usefixtures("hooks")
async def test_an_endpoint_that_answers_410_is_disabled_and_gets_no_more(
    system: System, admin: Buyer, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 410
    hook, _ = await an_endpoint(admin, path(receiver), "hold.cancelled")
    await admin.post(f"/v1/admin/webhooks/{hook['id']}/test", None, None)
    gone = await until(admin, hook, "failed")
    assert (gone["error"], gone["answer"]) == ("gone", 410)
    again = await admin.post(f"/v1/admin/webhooks/{hook['id']}/replay", None, None)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    buyer = system.buyer()
    await buyer.cancel((await buyer.hold((await system.product(), 1)))["id"])
    assert len(await deliveries(admin, hook)) == 1
    patched = await admin.http.patch(
        f"/v1/admin/webhooks/{hook['id']}", json={"enabled": True}, headers=dict(admin.headers)
    )
    assert (patched.json()["enabled"], patched.json()["disabled_because"]) == (True, None)
    await delete(admin, hook)


@pytest.mark.usefixtures("hooks")
async def test_a_hold_that_expires_is_told_with_a_new_secret_and_the_old_one(
    system: System, receiver: Receiver
) -> None:
    admin = system.buyer(QUICK, None, Scope.ADMIN)
    hook, first = await an_endpoint(admin, path(receiver), "hold.expired")
    rotated = (await admin.post(f"/v1/admin/webhooks/{hook['id']}/secret", None, None)).json()
    assert rotated["webhook"]["previous_until"] is not None
    buyer = system.buyer(QUICK)
    held = await buyer.hold((await system.product(tenant=QUICK), 1))
    [got] = await receiver.wait_for(1, 40)
    for secret in (first, rotated["secret"]):
        assert Webhook(secret).verify(got.body, dict(got.headers))["data"]["checkout_id"] == held["id"]
    await delete(admin, hook)


async def test_an_endpoint_is_checked_before_it_is_stored(system: System, admin: Buyer) -> None:
    good = {"url": "https://hooks.example.com/a", "kinds": ["refund.made"]}
    for body, field in (
        ({**good, "url": "https://10.0.0.1/"}, "url"),
        ({**good, "url": "https://[::ffff:127.0.0.1]/"}, "url"),
        ({**good, "url": "http://hooks.example.com/"}, "url"),
        ({**good, "url": "https://localhost/"}, "url"),
        ({**good, "url": "x" * 600}, "url"),
        ({**good, "kinds": []}, "kinds"),
        ({**good, "kinds": ["webhook.test"]}, "kinds"),
        ({**good, "kinds": ["everything"]}, "kinds"),
        ({**good, "secret": "mine"}, "body"),
        ({**good, "description": "d" * 201}, "description"),
    ):
        answer = await admin.post("/v1/admin/webhooks", body, None)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), body
        assert answer.json()["errors"][0]["field"].startswith(field)
        assert "10.0.0.1" not in answer.text
    hook, secret = await an_endpoint(admin, good["url"], "refund.made")  # type: ignore[arg-type]
    for where in (f"/v1/admin/webhooks/{hook['id']}", "/v1/admin/webhooks"):
        shown = await admin.http.get(where, headers=dict(admin.headers))
        assert hook["id"] in shown.text
        assert secret not in shown.text
    stranger = system.buyer(OTHER, None, Scope.ADMIN)
    assert (await stranger.http.get("/v1/admin/webhooks", headers=dict(stranger.headers))).json() == {"webhooks": []}
    await delete(admin, hook)
