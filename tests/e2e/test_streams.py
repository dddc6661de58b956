"""Streams of a checkout's events over real HTTP: what comes, what comes again, who may watch, and when it ends."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest

from api.app import create_app, tokens_from
from api.streams import LOOK_EVERY, MOST_WAITING, End, Listener
from api.tokens import ALGORITHM, Scope
from db.extend import extend
from db.fulfilment_steps import begin_step, end_step
from db.order_documents import keep_tickets
from domain.fulfilment import Step, StepRequest, StepStatus
from domain.ids import CheckoutId, OrderId
from domain.messages import CheckoutRef, ExtendRequest
from tests.support.api import serving
from tests.support.event_source import Message, kinds, watching
from tests.support.system import DEMO, OTHER, QUICK, System
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
SUBSCRIBERS = 50


@asynccontextmanager
async def an_api(system: System, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Another API of the same system, with settings of its own."""
    async with serving(create_app(system.settings.model_copy(update=changes), client=system.client)) as http:
        yield http


async def make_tickets(system: System, order: str) -> None:
    """What the fulfilment's first step does with a PDF that is ready."""
    pdf = StepRequest(DEMO, OrderId(order), Step.PDF)
    await begin_step(system.database, pdf)
    await keep_tickets(system.database, DEMO, pdf.order_id, b"%PDF", 1)
    await end_step(system.database, pdf, StepStatus.DONE)


async def more_time(system: System, checkout: str) -> None:
    """An extension, by the row itself."""
    request = ExtendRequest(CheckoutRef(DEMO, CheckoutId(checkout)), uuid.uuid4().hex)
    assert (await extend(system.database, request)).remaining_ms > 0


async def test_a_buyer_sees_his_checkout_from_the_hold_to_the_tickets(system: System) -> None:
    buyer, coffee = system.buyer(), await system.product()
    held = await buyer.hold((coffee, 2))
    async with watching(system.http, held["id"], buyer.headers) as stream:
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.response.headers["x-accel-buffering"] == "no"
        first = await stream.next()
        assert stream.retry == 3000
        assert first is not None
        assert (first.event, first.id) == ("held", "1")
        assert first.data["checkout_id"] == held["id"]
        assert 890 <= first.data["remaining_seconds"] <= 900
        await buyer.extend(held["id"])
        await buyer.post(f"/v1/checkouts/{held['id']}/lines", {"lines": [{"product_id": coffee}]}, None)
        paying = await buyer.pay(held["id"])
        await system.gateway.decline(paying["payment_id"])
        await stream.until("payment_declined")
        await system.gateway.pay(paying["payment_id"])
        [*_, confirmed] = await stream.until("confirmed")
        assert (confirmed.data["total"], confirmed.data["payment_id"]) == (3000, paying["payment_id"])
        await make_tickets(system, confirmed.data["order_id"])
        assert kinds(await stream.rest()) == ["tickets_ready", "end"]
    async with watching(system.http, held["id"], buyer.headers, follow="false") as stream:
        all_of_it = await stream.rest()
    assert kinds(all_of_it)[0] == "held"
    assert {"extended", "lines_changed", "payment_started", "payment_declined"} <= set(kinds(all_of_it))
    assert [one.id for one in all_of_it] == [str(number) for number in range(1, len(all_of_it) + 1)]


async def test_who_comes_again_gets_exactly_what_he_missed_and_at_the_end_a_204(system: System) -> None:
    buyer, got = system.buyer(), list[Message]()
    held = await buyer.hold((await system.product(), 1))
    for number in range(6):  # Each time another way to say where one was, and two events while nobody listens.
        last = got[-1].id if got else ""
        headers = {**buyer.headers, **({"last-event-id": last or ""} if number % 2 else {})}
        params = {} if number % 2 else {"last_event_id": last}
        async with watching(system.http, held["id"], headers, **params) as stream:
            for _ in range(1 if not got else 3):
                message = await stream.next()
                assert message is not None
                got.append(message)
                if len(got) % 3 == 0:
                    await more_time(system, held["id"])
        while (await last_number(system, held["id"])) < len(got) + 2:
            await more_time(system, held["id"])
    assert [one.id for one in got] == [str(number) for number in range(1, len(got) + 1)]
    await buyer.cancel(held["id"])
    async with an_api(system, stream_linger_seconds=0.0) as http:
        async with watching(http, held["id"], buyer.headers, last_event_id=got[-1].id) as stream:
            rest = await stream.rest()
        assert kinds(rest)[-2:] == ["cancelled", "end"]
        assert rest[-1].id is None, "an EventSource keeps the id of the last event"
        assert rest[-1].data == {"reason": "over"}
        async with watching(http, held["id"], buyer.headers, last_event_id=rest[-2].id) as stream:
            assert (stream.response.status_code, await stream.response.aread()) == (204, b"")


async def last_number(system: System, checkout: str) -> int:
    cursor = await system.admin.execute("SELECT max(seq) FROM checkout_events WHERE checkout_id = %s", (checkout,))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_an_id_that_is_none_is_refused(system: System) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    for odd in ("x", "-1", "1.5", "9" * 20, "²"):
        answer = await system.http.get(
            f"/v1/checkouts/{held['id']}/events", headers=dict(buyer.headers), params={"last_event_id": odd}
        )
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Last-Event-ID")


async def test_a_hold_that_ends_unpaid_ends_its_stream_after_a_while(system: System) -> None:
    buyer = system.buyer(QUICK)
    held = await buyer.hold((await system.product(tenant=QUICK), 1))
    async with (
        an_api(system, stream_linger_seconds=0.5) as http,
        watching(http, held["id"], buyer.headers) as stream,
    ):
        await stream.until("expired")
        began = time.monotonic()
        assert kinds(await stream.rest()) == ["end"]
        assert 0.3 < time.monotonic() - began < 5


async def test_fifty_see_the_same_and_the_database_is_asked_no_more_often_than_for_one(system: System) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    app = create_app(
        system.settings.model_copy(update={"max_streams_per_buyer": SUBSCRIBERS, "stream_linger_seconds": 0.0}),
        client=system.client,
    )
    async with serving(app) as http:
        streams = app.state.services.watching.streams

        async def one() -> list[Message]:
            async with watching(http, held["id"], buyer.headers) as stream:
                return await stream.rest()

        await asyncio.sleep(4 * LOOK_EVERY)
        assert streams.looks == 0, "nobody listens yet"
        everybody = [asyncio.create_task(one()) for _ in range(SUBSCRIBERS)]
        began = time.monotonic()
        for _ in range(5):
            await more_time(system, held["id"])
            await asyncio.sleep(0.2)
        await buyer.cancel(held["id"])
        got = await asyncio.gather(*everybody)
        assert streams.looks <= (time.monotonic() - began) / LOOK_EVERY + 1
        looks = streams.looks
        await asyncio.sleep(4 * LOOK_EVERY)
        assert streams.looks <= looks + 1, "nobody listens any more"
    assert {tuple(kinds(messages)) for messages in got} == {("held", *["extended"] * 5, "cancelled", "end")}
    assert {tuple(one.id for one in messages[:-1]) for messages in got} == {tuple("1234567")}


async def test_a_silent_stream_shows_signs_of_life(system: System) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    async with (
        an_api(system, stream_keep_alive_seconds=0.2) as http,
        watching(http, held["id"], buyer.headers) as stream,
    ):
        await stream.until("held")
        with pytest.raises(TimeoutError):
            await stream.next(1.1)
        assert 3 <= len(stream.comments) <= 6


async def test_more_streams_than_one_may_have_are_429_and_than_the_process_has_503(system: System) -> None:
    buyer, coffee = system.buyer(), await system.product()
    mine, also_mine = await buyer.hold((coffee, 1)), await buyer.hold((coffee, 1))
    somebody = system.buyer()
    theirs = await somebody.hold((coffee, 1))
    async with an_api(system, max_streams_per_buyer=2, max_streams=3) as http, AsyncExitStack() as open_streams:
        for held in (mine, also_mine):
            await open_streams.enter_async_context(watching(http, held["id"], buyer.headers))
        async with watching(http, mine["id"], buyer.headers) as stream:
            refused = await problem(stream.response)
            assert (stream.response.status_code, refused["code"], refused["limit"]) == (
                429, "too_many_requests", "streams",
            )  # fmt: skip
            assert stream.response.headers["retry-after"] == "5"
        await open_streams.enter_async_context(watching(http, theirs["id"], somebody.headers))
        async with watching(http, theirs["id"], somebody.headers) as stream:
            assert (stream.response.status_code, (await problem(stream.response))["code"]) == (503, "unavailable")
            assert stream.response.headers["retry-after"] == "5"
        await open_streams.aclose()
        async with asyncio.timeout(5):
            while True:  # The places are free again as soon as the server has seen that they are left.
                async with watching(http, mine["id"], buyer.headers) as stream:
                    if stream.response.status_code == 200:
                        break
                await asyncio.sleep(0.05)


async def problem(response: httpx.Response) -> dict[str, Any]:
    await response.aread()
    document: dict[str, Any] = response.json()
    return document


async def test_a_services_streams_are_counted_by_checkout(system: System) -> None:
    service, coffee = system.buyer(DEMO, "storefront", Scope.SERVICE), await system.product()
    async with an_api(system, max_streams_per_buyer=1) as http, AsyncExitStack() as open_streams:
        many = [await service.hold((coffee, 1)) for _ in range(3)]
        for held in many:
            stream = await open_streams.enter_async_context(watching(http, held["id"], service.headers))
            assert stream.response.status_code == 200
        async with watching(http, many[0]["id"], service.headers) as stream:
            assert stream.response.status_code == 429


async def test_a_stream_ends_with_its_token(system: System) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    short = tokens_from(system.settings).issue(DEMO, buyer.subject, [Scope.BUYER], 2)
    async with watching(system.http, held["id"], {"authorization": f"Bearer {short}"}) as stream:
        began = time.monotonic()
        assert kinds(await stream.rest()) == ["held", "end"]
        assert time.monotonic() - began < 4
    assert (await watch_token(system, held["id"], {"authorization": f"Bearer {short}"})).status_code in (200, 401)


async def watch_token(system: System, checkout: str, headers: Any) -> httpx.Response:
    return await system.http.post(f"/v1/checkouts/{checkout}/events/token", headers=dict(headers))


async def test_a_logout_ends_the_streams_of_its_token(system: System) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    made = (await watch_token(system, held["id"], buyer.headers)).json()
    async with an_api(system, stream_keep_alive_seconds=0.3) as http, AsyncExitStack() as both:
        streams = [
            await both.enter_async_context(watching(http, held["id"], buyer.headers)),
            await both.enter_async_context(watching(http, held["id"], None, token=made["token"])),
        ]
        for stream in streams:
            await stream.until("held")
        assert (await system.http.post("/v1/auth/logout", headers=dict(buyer.headers))).status_code == 204
        for stream in streams:
            [end] = await stream.rest(5)
            assert end.data == {"reason": "token_over"}
    async with watching(system.http, held["id"], None, token=made["token"]) as stream:
        assert stream.response.status_code == 401


async def test_a_stream_token_is_good_for_one_checkouts_events_and_nothing_else(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    buyer, coffee = system.buyer(), await system.product()
    held, other = await buyer.hold((coffee, 1)), await buyer.hold((coffee, 1))
    answer = await watch_token(system, held["id"], buyer.headers)
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert 0 < made["expires_in"] <= 900
    async with watching(system.http, held["id"], None, token=made["token"]) as stream:
        assert kinds([one for one in [await stream.next()] if one]) == ["held"]
    bearer = {"authorization": f"Bearer {made['token']}"}
    for path in (f"/v1/checkouts/{held['id']}", f"/v1/checkouts/{held['id']}/events", "/v1/cart", "/v1/orders"):
        assert (await system.http.get(path, headers=bearer)).status_code == 401, path
    access = buyer.headers["authorization"].removeprefix("Bearer ")
    refused = [
        (other["id"], made["token"]), (held["id"], access), (held["id"], "x"), (held["id"], ""),
        (held["id"], altered(system, made["token"], exp=int(time.time()) - 60)),
        (held["id"], altered(system, made["token"], aud="holdfast-api")),
        (held["id"], altered(system, made["token"], checkout=other["id"])),
        (held["id"], altered(system, made["token"], key="another-secret-of-at-least-32-bytes-here")),
        (held["id"], altered(system, made["token"], tenant=OTHER)),
    ]  # fmt: skip
    for checkout, token in refused:
        async with watching(system.http, checkout, None, token=token) as stream:
            assert stream.response.status_code in (401, 404), token
            assert stream.response.status_code == 401 or token == refused[-1][1]
    shown = capsys.readouterr()
    assert "request" in shown.out
    assert made["token"] not in shown.out + shown.err, "what stands in an address must not stand in a log"


def altered(system: System, token: str, *, key: str | None = None, **claims: Any) -> str:
    """The token with other claims, signed by our own secret unless another is given."""
    ours = jwt.decode(token, options={"verify_signature": False})
    secret = key or system.settings.jwt_secret.get_secret_value()
    return jwt.encode({**ours, **claims}, secret, ALGORITHM, headers={"typ": "stream+jwt"})


async def test_a_stranger_gets_no_token_and_no_events(system: System) -> None:
    held = await system.buyer().hold((await system.product(), 1))
    for stranger in (system.buyer(), system.buyer(OTHER), system.buyer(DEMO, None, Scope.SERVICE)):
        assert (await watch_token(system, held["id"], stranger.headers)).status_code == 404
        async with watching(system.http, held["id"], stranger.headers) as stream:
            assert stream.response.status_code == 404


async def test_who_reads_too_slowly_is_let_go_and_finds_the_rest_when_he_comes_again(system: System) -> None:
    """The listener's buffer is full before anything was taken from it."""
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    app = create_app(system.settings, client=system.client)
    async with serving(app) as http:
        streams = app.state.services.watching.streams
        with streams.listening("slow", DEMO, CheckoutId(held["id"]), 1) as listener:
            for _ in range(MOST_WAITING + 6):
                await more_time(system, held["id"])
            await eventually(lambda: ended(listener))
            assert listener.ended is End.TOO_SLOW
            assert await listener.next(0.1) is None
        async with watching(http, held["id"], buyer.headers, last_event_id="1") as stream:
            again = [await stream.next() for _ in range(MOST_WAITING + 6)]
    assert [one.id for one in again if one] == [str(number) for number in range(2, MOST_WAITING + 8)]


async def ended(listener: Listener) -> bool:
    return listener.ended is not None
