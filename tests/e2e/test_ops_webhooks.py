"""The inbox as operators see it: listed, shown with its body, and handed over again, over HTTP and by command."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx
import pytest

from api.tokens import Scope
from domain.ids import BuyerKey, checkout_id_for
from local.ports import free_port
from tests.e2e.test_webhooks import captured, paid_quietly, post, stored
from tests.support.buyers import Buyer, as_json, code
from tests.support.command import CommandLine
from tests.support.system import DEMO, OTHER, System, second_api

pytestmark = pytest.mark.asyncio(loop_scope="module")
EVENTS = "/v1/ops/webhook-events"


def operator(system: System) -> Buyer:
    return system.buyer(DEMO, None, Scope.OPERATOR)


async def ask(system: System, path: str = "", **query: Any) -> httpx.Response:
    return await system.http.get(EVENTS + path, params=query, headers=dict(operator(system).headers))


async def do(system: System, path: str, body: Any = None) -> httpx.Response:
    return await system.http.post(EVENTS + path, json=body, headers=dict(operator(system).headers))


async def left_behind(system: System) -> tuple[Buyer, dict[str, Any], dict[str, Any]]:
    """(buyer, held checkout, the event of its payment), which was stored while the engine was away."""
    buyer, held, payment = await paid_quietly(system)
    event = captured(payment)
    async with second_api(system, f"127.0.0.1:{free_port()}") as http:
        assert (await post(http, event)).status_code == 503
    return buyer, held, event


async def test_an_event_is_listed_and_shown_with_its_body_and_what_became_of_it(system: System) -> None:
    buyer, held, payment = await paid_quietly(system)
    event = captured(payment)
    await post(system.http, event)
    await buyer.until(held["id"], "confirmed")
    for query in ({"payment": payment["id"]}, {"checkout": held["id"]}, {"state": "settled", "gateway": "sandbox"}):
        [entry] = [one for one in as_json(await ask(system, **query))["items"] if one["event_id"] == event["id"]]
        told = {name: entry[name] for name in ("kind", "state", "handed", "outcome", "amount", "checkout_id")}
        assert told == {
            "kind": "captured", "state": "settled", "handed": "to_checkout", "outcome": "order",
            "amount": held["total"], "checkout_id": held["id"],
        }  # fmt: skip
        shown = as_json(await ask(system, f"/sandbox/{event['id']}"))
        assert json.loads(shown.pop("body")) == event
        assert shown == entry


async def test_the_list_goes_from_page_to_page_and_ends(system: System) -> None:
    made = []
    for _ in range(5):
        _, _, payment = await paid_quietly(system)
        event = captured(payment)
        assert (await post(system.http, event)).status_code == 200
        made.append(event["id"])
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = as_json(await ask(system, **query))
        seen += [one["event_id"] for one in page["items"]]
        if page["next_before"] is None:
            break
        query["before"] = page["next_before"]
    assert seen[:5] == made[::-1]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    "query",
    [
        {"state": "lost"},
        {"limit": 0},
        {"before": "x"},
        {"before": "WzEsMiwzXQ=="},
        {"before": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgImEiLCAiXHUwMDAwIl0="},
        {"checkout": "1"},
        {"payment": "a\x07"},
        {"gateway": "A B"},
        {"unknown": "1"},
    ],
    ids=str,
)
async def test_a_bad_question_is_a_422(system: System, query: dict[str, Any]) -> None:
    answer = await ask(system, **query)
    assert (answer.status_code, code(answer)) == (422, "invalid")


async def test_buyers_see_nothing_and_operators_of_another_tenant_not_this_ones(system: System) -> None:
    _, _, payment = await paid_quietly(system)
    event = captured(payment)
    await post(system.http, event)
    address = f"{EVENTS}/sandbox/{event['id']}"
    as_buyer = await system.http.get(address, headers=dict(system.buyer().headers))
    assert (as_buyer.status_code, code(as_buyer)) == (403, "forbidden")
    elsewhere = dict(system.buyer(OTHER, None, Scope.OPERATOR).headers)
    assert (await system.http.get(address, headers=elsewhere)).status_code == 404
    assert (await system.http.post(f"{address}/replay", headers=elsewhere)).status_code == 404


async def test_an_event_that_was_left_behind_is_handed_over_by_its_replay_and_again_harmlessly(system: System) -> None:
    buyer, held, event = await left_behind(system)
    assert (await buyer.read(held["id"]))["status"] == "held"
    replayed = await do(system, f"/sandbox/{event['id']}/replay")
    assert (replayed.status_code, replayed.json()) == (200, {"status": "to_checkout"})
    view = await buyer.until(held["id"], "confirmed")
    for _ in range(3):
        assert (await do(system, f"/sandbox/{event['id']}/replay")).json() == {"status": "nothing_to_do"}
    assert await buyer.read(held["id"]) == view
    cursor = await system.admin.execute(
        "SELECT count(*) FROM audit_log WHERE action = 'webhook.replay' AND subject = %s AND actor LIKE 'user:%%'",
        (f"payment_event:sandbox/{event['id']}",),
    )
    assert await cursor.fetchone() == (4,)
    missing = await do(system, "/sandbox/evt_nowhere/replay")
    assert (missing.status_code, code(missing)) == (404, "not_found")


async def test_a_batch_says_what_is_left_and_what_waits_for_its_checkout(system: System) -> None:
    waiting = await system.gateway.create(DEMO, checkout_id_for(DEMO, BuyerKey("user:x"), secrets.token_hex(8)), 9)
    await system.gateway.decline(waiting["id"])
    await system.gateway.settled(waiting["id"])
    left = [await left_behind(system) for _ in range(3)]
    body = {"state": "received", "older_than_seconds": 0, "limit": 2}
    first = as_json(await do(system, "/replay", body))
    assert first == {"replayed": 2, "handed": {"to_checkout": 2}, "left": 1, "waiting": 1}
    second = as_json(await do(system, "/replay", body))
    assert second == {"replayed": 1, "handed": {"to_checkout": 1}, "left": 0, "waiting": 1}
    for buyer, held, _ in left:
        await buyer.until(held["id"], "confirmed")
    assert as_json(await do(system, "/replay", body)) == {"replayed": 0, "handed": {}, "left": 0, "waiting": 1}
    none = as_json(await do(system, "/replay", {"state": "received", "older_than_seconds": 10**8}))
    assert none == {"replayed": 0, "handed": {}, "left": 0, "waiting": 0}
    odd = await do(system, "/replay", {"state": "settled"})
    assert (odd.status_code, code(odd)) == (422, "invalid")


async def test_the_command_line_lists_shows_and_replays(system: System) -> None:
    buyer, held, event = await left_behind(system)
    holdfast = CommandLine(system.settings.database_url.get_secret_value())
    engine = {"TEMPORAL_ADDRESS": system.client.service_client.config.target_host}
    engine |= {"TEMPORAL_NAMESPACE": system.client.namespace, "HOLDFAST_TASK_QUEUE": system.settings.task_queue}
    listed = await holdfast.run("webhooks", "list", "--checkout", held["id"])
    assert (listed.code, listed.err) == (0, "")
    assert "1 event\n" in listed.out
    assert "received" in listed.out
    shown = await holdfast.run("webhooks", "show", event["id"])
    assert json.loads(shown.out.splitlines()[-1]) == event
    assert f"sandbox/{event['id']}" in shown.out
    replayed = await holdfast.run("webhooks", "replay", event["id"], **engine)
    assert (replayed.code, replayed.out) == (0, f"{event['id']}: to_checkout\n"), replayed.err
    await buyer.until(held["id"], "confirmed")
    buyer, held, event = await left_behind(system)
    away = await holdfast.run("webhooks", "replay", event["id"], TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    assert (away.code, away.out) == (1, "")
    assert "engine" in away.err
    batch = await holdfast.run("webhooks", "replay", "--older-than", "0", **engine)
    assert batch.out.startswith("1 handed over again, 0 left, "), batch.err
    await buyer.until(held["id"], "confirmed")
    unknown = await holdfast.run("webhooks", "show", "evt_nowhere")
    assert (unknown.code, unknown.err) == (1, "holdfast: gateway 'sandbox' has sent no event of this id\n")
    assert [state for _, state in await stored(system, event["data"]["payment_id"])] == ["settled"]
