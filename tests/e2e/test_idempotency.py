"""The same request sent again: it happens once, and every copy hears the truth."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest

from local.ports import free_port
from tests.support.buyers import code
from tests.support.system import QUICK, System, second_api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_repeated_start_gets_its_201_again_with_the_time_left_now(system: System) -> None:
    coffee, buyer, key = await system.product(stock=5), system.buyer(), uuid.uuid4().hex
    first = await buyer.start((coffee, 2), key=key)
    await asyncio.sleep(1.1)
    again = await buyer.start((coffee, 2), key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["expires_at"] == first.json()["expires_at"]
    assert 1 <= first.json()["remaining_seconds"] - again.json()["remaining_seconds"] <= 3
    assert again.headers["location"] == first.headers["location"]
    assert await system.stock(coffee) == (3, 2, 0)


async def test_a_repeated_start_tells_what_became_of_the_checkout(system: System) -> None:
    coffee, buyer = await system.product(), system.buyer()
    keys = [uuid.uuid4().hex for _ in range(2)]
    cancelled, paid = [await buyer.hold((coffee, 1), key=key) for key in keys]
    await buyer.cancel(cancelled["id"])
    await system.gateway.pay(await system.payment(paid))
    await buyer.until(paid["id"], "confirmed")
    answers = [await buyer.start((coffee, 1), key=key) for key in keys]
    assert [(one.status_code, one.json()["status"]) for one in answers] == [(201, "cancelled"), (201, "confirmed")]
    assert [one.json()["remaining_seconds"] for one in answers] == [0, 0]
    assert (await system.stock(coffee)) == (9, 0, 1)


async def test_an_expired_start_is_told_so_and_takes_nothing_again(system: System) -> None:
    coffee, buyer, key = await system.product(stock=1, tenant=QUICK), system.buyer(QUICK), uuid.uuid4().hex
    held = await buyer.hold((coffee, 1), key=key)
    await buyer.until(held["id"], "expired", seconds=6)
    again = await buyer.start((coffee, 1), key=key)
    assert (again.status_code, again.json()["status"]) == (201, "expired")
    assert await system.stock(coffee, QUICK) == (1, 0, 0)


async def test_the_winner_of_the_last_unit_repeats_its_start_and_gets_its_201_again(system: System) -> None:
    coffee, winner, key = await system.product(stock=1), system.buyer(), uuid.uuid4().hex
    held = await winner.hold((coffee, 1), key=key)
    assert (await system.buyer().start((coffee, 1))).status_code == 409
    again = await winner.start((coffee, 1), key=key)
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (201, held["id"], "held")


async def test_the_same_key_with_another_body_is_a_422(system: System) -> None:
    coffee, buyer, key = await system.product(), system.buyer(), uuid.uuid4().hex
    await buyer.hold((coffee, 1), key=key)
    for other in (
        await buyer.start((coffee, 2), key=key),
        await buyer.start((coffee, 1), key=key, expected_total=1000),
    ):
        assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    assert await system.stock(coffee) == (9, 1, 0)


async def test_the_same_key_of_another_buyer_is_another_checkout(system: System) -> None:
    coffee, key = await system.product(), uuid.uuid4().hex
    ids = {(await system.buyer().hold((coffee, 1), key=key))["id"] for _ in range(3)}
    assert len(ids) == 3
    assert (await system.stock(coffee))[1] == 3


async def test_eight_starts_at_once_with_one_key_reserve_once(system: System) -> None:
    coffee, buyer, key = await system.product(stock=20), system.buyer(), uuid.uuid4().hex
    answers = await asyncio.gather(*(buyer.start((coffee, 2), key=key) for _ in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 8}, [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await system.stock(coffee) == (18, 2, 0)


async def test_eight_starts_at_once_with_one_key_for_the_last_unit_all_win(system: System) -> None:
    coffee, buyer, key = await system.product(stock=1), system.buyer(), uuid.uuid4().hex
    answers = await asyncio.gather(*(buyer.start((coffee, 1), key=key) for _ in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 8}, [answer.text for answer in answers]


async def test_eight_starts_at_once_with_one_key_and_two_bodies_never_mix(system: System) -> None:
    coffee, buyer, key = await system.product(stock=20), system.buyer(), uuid.uuid4().hex
    answers = await asyncio.gather(*(buyer.start((coffee, 1 + number % 2), key=key) for number in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 4, 422: 4}, [answer.text for answer in answers]
    held = {answer.json()["lines"][0]["quantity"] for answer in answers if answer.status_code == 201}
    assert (await system.stock(coffee))[1] == held.pop()
    assert not held


async def test_a_refused_start_may_try_again_with_its_key_once_there_is_stock(system: System) -> None:
    coffee, buyer, key = await system.product(stock=1), system.buyer(), uuid.uuid4().hex
    other = system.buyer()
    held = await other.hold((coffee, 1))
    assert (await buyer.start((coffee, 1), key=key)).status_code == 409
    await other.cancel(held["id"])
    assert (await buyer.start((coffee, 1), key=key)).status_code == 201


async def test_an_extend_with_one_key_extends_once(system: System) -> None:
    coffee, buyer = await system.product(tenant=QUICK), system.buyer(QUICK)
    held = await buyer.hold((coffee, 1))
    await asyncio.sleep(0.5)
    first = await buyer.extend(held["id"], key="one")
    await asyncio.sleep(0.5)
    again = await buyer.extend(held["id"], key="one")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["expires_at"] == again.json()["expires_at"]
    later = await buyer.extend(held["id"], key="two")
    assert datetime.fromisoformat(later.json()["expires_at"]) > datetime.fromisoformat(first.json()["expires_at"])
    other = await buyer.extend(held["id"], minutes=1, key="one")
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("path", ["/v1/checkouts", "/{id}/extend", "/{id}/cancel", "/{id}/confirm"])
async def test_a_write_without_a_key_is_a_400_and_does_nothing(system: System, path: str) -> None:
    coffee, buyer = await system.product(), system.buyer()
    held = await buyer.hold((coffee, 1))
    address = path.replace("/{id}", f"/v1/checkouts/{held['id']}")
    bodies = {"/v1/checkouts": {"lines": [{"product_id": coffee}]}, "/{id}/confirm": {"payment_id": "pay_1"}}
    answer = await system.http.post(address, json=bodies.get(path), headers=buyer.headers)
    assert (answer.status_code, code(answer)) == (400, "idempotency_key_missing")
    assert await system.stock(coffee) == (9, 1, 0)
    assert (await buyer.read(held["id"]))["expires_at"] == held["expires_at"]


@pytest.mark.parametrize("key", ["", "x" * 256, "ñ", "a b"], ids=repr)
async def test_a_key_that_is_no_good_is_refused(system: System, key: str) -> None:
    coffee, buyer = await system.product(), system.buyer()
    headers = [*buyer.headers.items(), ("idempotency-key", key.encode())]
    answer = await system.http.post("/v1/checkouts", json={"lines": [{"product_id": coffee}]}, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code in (400, 422)
    assert (await system.stock(coffee))[1] == 0


async def test_a_start_that_no_worker_takes_is_a_503_within_its_deadline_and_the_same_key_succeeds_later(
    system: System,
) -> None:
    coffee, buyer, key = await system.product(stock=1), system.buyer(), uuid.uuid4().hex
    await system.worker.stop()
    began = time.monotonic()
    answer = await buyer.start((coffee, 1), key=key)
    assert (answer.status_code, code(answer)) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - began < 6
    await system.worker.start()
    again = await buyer.start((coffee, 1), key=key)
    assert again.status_code == 201, again.text
    assert await system.stock(coffee) == (0, 1, 0)


async def test_a_start_that_came_too_late_wrote_nothing_and_its_stored_answer_is_not_believed(system: System) -> None:
    coffee, buyer, key = await system.product(stock=1), system.buyer(), uuid.uuid4().hex
    await system.worker.stop()
    assert (await buyer.start((coffee, 1), key=key)).status_code == 503
    await asyncio.sleep(0.5)
    await system.worker.start()
    await until_no_run_is_open(system)
    assert await system.stock(coffee) == (1, 0, 0)
    for _ in range(2):
        again = await buyer.start((coffee, 1), key=key)
        assert (again.status_code, again.json()["status"]) == (201, "held"), again.text
    assert await system.stock(coffee) == (0, 1, 0)


async def test_a_client_that_never_comes_back_leaves_no_hold_behind(system: System) -> None:
    coffee, buyer = await system.product(stock=1), system.buyer()
    await system.worker.stop()
    assert (await buyer.start((coffee, 1))).status_code == 503
    await asyncio.sleep(0.3)
    await system.worker.start()
    await until_no_run_is_open(system)
    assert await system.stock(coffee) == (1, 0, 0)


async def test_a_start_while_temporal_is_down_is_a_503_and_the_same_key_succeeds_later(system: System) -> None:
    coffee, buyer, key = await system.product(stock=1), system.buyer(), uuid.uuid4().hex
    async with second_api(system, f"127.0.0.1:{free_port()}") as http:
        began = time.monotonic()
        answer = await replace(buyer, http=http).start((coffee, 1), key=key)
        assert (answer.status_code, code(answer)) == (503, "unavailable")
        assert answer.headers["retry-after"]
        assert time.monotonic() - began < 6
    assert (await buyer.start((coffee, 1), key=key)).status_code == 201


async def test_a_temporal_that_takes_connections_and_says_nothing_is_a_503_in_time(system: System) -> None:
    coffee, buyer = await system.product(stock=1), system.buyer()
    held = await buyer.hold((coffee, 1))
    tea = await system.product(stock=1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with second_api(system, f"127.0.0.1:{silent.getsockname()[1]}") as http:
            late = replace(buyer, http=http)
            began = time.monotonic()
            answers = await asyncio.gather(late.start((tea, 1)), late.extend(held["id"]), late.cancel(held["id"]))
            assert [answer.status_code for answer in answers] == [503, 503, 503]
            assert time.monotonic() - began < 7
    assert (await buyer.read(held["id"]))["status"] == "held"


async def until_no_run_is_open(system: System) -> None:
    """Wait until the worker has closed every run but those of held checkouts."""
    async with asyncio.timeout(10):
        while True:
            cursor = await system.admin.execute("SELECT count(*) FROM checkouts WHERE status = 'held'")
            [held] = await cursor.fetchone() or [0]
            if (await system.client.count_workflows("ExecutionStatus = 'Running'")).count <= held:
                return
            await asyncio.sleep(0.05)
