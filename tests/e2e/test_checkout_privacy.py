"""I10: no token, password, name or e-mail in Temporal's histories, ids and search attributes, nor in our logs."""

from __future__ import annotations

import uuid
from base64 import b64encode
from typing import Any

import pytest
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload

from tests.support import shop
from tests.support.api import log_in
from tests.support.buyers import Buyer
from tests.support.gateway import SECRET
from tests.support.system import DEMO, QUICK, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_neither_logs_nor_histories_hold_a_secret_or_a_person(
    system: System, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    name = f"ana{uuid.uuid4().hex[:8]}"
    await shop.make_user(system.admin, DEMO, name)
    headers = await log_in(system.http, f"{name}@example.com", shop.PASSWORD)
    key = f"key-{uuid.uuid4().hex}"
    await walk_everything(system, Buyer(system.http, DEMO, name, headers), key)
    logs = capfd.readouterr()
    text = "\n".join((logs.out, logs.err, caplog.text))
    assert "webhook" in text, "the logs are looked at"
    assert "/v1/checkouts" in text
    histories = await everything_in_temporal(system)
    assert histories.count("EVENT_TYPE_WORKFLOW_EXECUTION_STARTED") >= 3, "the histories are looked at"
    token = headers["authorization"].split()[1]
    signature = token.rpartition(".")[2]
    for secret in (name, "example.com", shop.PASSWORD, token, signature, SECRET, key):
        for form in (secret, b64encode(secret.encode()).decode().rstrip("=")):
            assert form.lower() not in text.lower(), "in a log"
            assert form.lower() not in histories.lower(), "in Temporal"


async def walk_everything(system: System, buyer: Buyer, key: str) -> None:
    """Paid by webhook and by confirm, refused, extended, cancelled, expired and paid too late, refunded."""
    coffee = await system.product(name="Ana's own blend")
    await buyer.start((coffee, 99))
    for number in range(2):
        held = await buyer.hold((coffee, 1), key=f"{key}-{number}")
        payment = await system.payment(held)
        await system.gateway.fail(fetch="down" if number else None)  # type: ignore[arg-type]
        await system.gateway.pay(payment, drop=not number)
        await buyer.confirm(held["id"], payment, key=key)
        await system.gateway.fail()
        await buyer.until(held["id"], "confirmed")
    held = await buyer.hold((coffee, 1))
    await buyer.extend(held["id"], key=key)
    await buyer.cancel(held["id"], key=key)
    quick = system.buyer(QUICK)
    late = await quick.hold((await system.product(tenant=QUICK), 1))
    await quick.until(late["id"], "expired", seconds=6)
    payment = await system.payment(late, QUICK)
    await system.gateway.pay(payment)
    await quick.until_refunded(late["id"], payment)


async def everything_in_temporal(system: System) -> str:
    """Every run's description and history, payloads decoded, as one text."""
    parts = []
    async for run in system.client.list_workflows():
        handle = system.client.get_workflow_handle(run.id, run_id=run.run_id)
        history = await handle.fetch_history()
        parts += [str(run.raw_info), str((await handle.describe()).raw_description), history.to_json()]
        parts += [payload.data.decode(errors="replace") for event in history.events for payload in payloads_in(event)]
    return "\n".join(parts)


def payloads_in(message: Any) -> list[Payload]:
    """Every payload anywhere below a protobuf message."""
    found = []
    for _, value in message.ListFields() if isinstance(message, Message) else ():
        for one in each(value):
            found += [one] if isinstance(one, Payload) else payloads_in(one)
    return found


def each(value: Any) -> list[Any]:
    if hasattr(value, "values"):
        return list(value.values())
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str | bytes) else [value]
