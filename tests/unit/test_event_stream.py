"""A stream and a client that takes nothing: it is let go after a while, and its place is free."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from starlette.types import Message

from api import event_stream
from api.caller import Caller
from api.event_stream import EventStream, StreamTimes, Watch, left_to_come
from api.revocations import Revocations
from api.streams import Streams
from db.checkout_events import CheckoutEvent, Progress
from db.database import Database
from domain.checkout import CheckoutStatus
from domain.checkout_events import CheckoutEventKind
from domain.errors import TooManyRequests
from domain.ids import BuyerKey, CheckoutId, TenantId
from domain.messages import CheckoutRef

NOW = datetime(2026, 11, 22, tzinfo=UTC)
REF = CheckoutRef(TenantId("demo"), CheckoutId("00000000-0000-4000-8000-000000000000"))
NO_DATABASE = Database("postgresql://nowhere")
SCOPE = {"type": "http", "asgi": {"spec_version": "2.3"}, "method": "GET", "path": "/", "headers": []}


def progress(status: CheckoutStatus = CheckoutStatus.HELD, ended: float = 0, *, tickets: bool = False) -> Progress:
    event = CheckoutEvent(REF.checkout_id, 1, CheckoutEventKind.HELD, {"total": 1}, NOW, 10)
    at = datetime.fromtimestamp(NOW.timestamp() - ended, UTC) if status is not CheckoutStatus.HELD else None
    return Progress(status, BuyerKey("user:1"), None, at, tickets, NOW, [event])


async def test_a_client_that_takes_nothing_is_let_go_and_its_place_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "SEND_SECONDS", 0.1)
    streams = Streams(NO_DATABASE, most=2, most_of_one=1)
    watch = Watch(Caller(REF.tenant, "1", frozenset(), 2**33), Revocations(NO_DATABASE), StreamTimes())
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > 2:
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    serving = asyncio.create_task(EventStream(streams, "who", REF, progress(), 0, watch)(SCOPE, receive, send))
    await asyncio.sleep(0.05)
    with pytest.raises(TooManyRequests):
        streams.check("who")
    async with asyncio.timeout(5):
        await serving
    streams.check("who")
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * 2]
    assert all(message.get("more_body", True) for message in sent), "the answer is not shown as whole"


@pytest.mark.parametrize(
    ("status", "ended", "tickets", "left"),
    [
        (CheckoutStatus.HELD, 0, False, float("inf")),
        (CheckoutStatus.CONFIRMED, 0, False, 60),
        (CheckoutStatus.CONFIRMED, 0, True, 0),
        (CheckoutStatus.CONFIRMED, 61, False, 0),
        (CheckoutStatus.EXPIRED, 10, False, 50),
        (CheckoutStatus.CANCELLED, 60, False, 0),
    ],
)
def test_what_may_yet_come(status: CheckoutStatus, ended: float, *, tickets: bool, left: float) -> None:
    assert left_to_come(progress(status, ended, tickets=tickets), StreamTimes(linger=60)) == left


async def test_a_hold_that_ends_between_its_row_and_its_events_ends_the_stream() -> None:
    streams = Streams(NO_DATABASE, most=1, most_of_one=1)
    watch = Watch(Caller(REF.tenant, "1", frozenset(), 2**33), Revocations(NO_DATABASE), StreamTimes(linger=0.05))
    end = CheckoutEvent(REF.checkout_id, 2, CheckoutEventKind.EXPIRED, {}, NOW, 10)
    seen = replace(progress(), events=[*progress().events, end])
    with streams.listening("who", REF.tenant, REF.checkout_id, 2) as listener:
        async with asyncio.timeout(5):
            frames = [frame async for frame in watch.frames(seen, listener)]
    assert b"event: end" in frames[-1]
