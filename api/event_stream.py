"""The answer that is a stream of a checkout's events (text/event-stream, as the HTML standard has it)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from structlog import stdlib

from api.caller import Caller
from api.jws import RefusedToken
from api.revocations import Revocations
from api.stream_models import CheckoutEventOut, StreamEndOut
from api.streams import End, Listener, Streams
from db.checkout_events import CheckoutEvent, Progress
from domain.checkout import CheckoutStatus
from domain.checkout_events import OVER, CheckoutEventKind
from domain.errors import Unavailable
from domain.messages import CheckoutRef

_log = stdlib.get_logger("streams")
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Neither kept nor collected on the way (the second is nginx's)."""
RETRY_MS = 3_000
"""How long an EventSource waits before it comes again."""
SEND_SECONDS = 20.0
"""How long a client may take to take a piece."""
_STATUS_OVER = frozenset({CheckoutStatus.CONFIRMED, CheckoutStatus.CANCELLED, CheckoutStatus.EXPIRED})


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """Seconds: how long a stream goes on after its checkout's end, and between two signs of life."""

    linger: float = 60.0
    keep_alive: float = 15.0


def left_to_come(progress: Progress, times: StreamTimes) -> float:
    """For how many seconds something may yet come that is worth waiting for; infinite while it is held."""
    if progress.status not in _STATUS_OVER:
        return float("inf")
    if progress.ended_at is None or (progress.has_tickets and progress.status is CheckoutStatus.CONFIRMED):
        return 0.0
    return max(0.0, (progress.ended_at + timedelta(seconds=times.linger) - progress.now).total_seconds())


def frame(event: CheckoutEvent) -> bytes:
    """The event as it goes over the wire."""
    data = CheckoutEventOut.of(event).model_dump_json(exclude_none=True)
    return format_sse_event(data_str=data, event=event.kind.value, id=str(event.seq))


def end_frame(why: End) -> bytes:
    """The last word of a stream. Without an id, so that who comes again still names the last event."""
    return format_sse_event(data_str=StreamEndOut(reason=why).model_dump_json(), event="end")


class Events(StreamingResponse):
    """A stream of events. Not FastAPI's own class, which is for routes that yield: they could answer nothing else."""

    media_type = "text/event-stream"


class EventStream(Events):
    """What has happened, and then what happens, until nothing more is to come, the token is over, or we stop."""

    def __init__(
        self, streams: Streams, who: str, ref: CheckoutRef, progress: Progress, after: int, watch: Watch
    ) -> None:
        super().__init__(_nothing(), headers=HEADERS)
        self._streams, self._who, self._ref, self._progress, self._watch = streams, who, ref, progress, watch
        self._seq = progress.events[-1].seq if progress.events else after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what `Streams.listening` raises before anything is sent: it is then answered as a problem."""
        with self._streams.listening(self._who, self._ref.tenant, self._ref.checkout_id, self._seq) as listener:
            self.body_iterator = self._watch.frames(self._progress, listener)
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        async def bounded(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            await super().stream_response(bounded)
        except TimeoutError:  # Nobody reads: the connection is closed without the end of the answer.
            _log.info("stream_dropped", checkout=self._ref.checkout_id, reason=End.TOO_SLOW)


class Watch:
    """One caller's watching: what to send, and until when."""

    def __init__(self, caller: Caller, revocations: Revocations, times: StreamTimes) -> None:
        self._caller, self._revocations, self._times = caller, revocations, times
        self._closes_at = float("inf")

    async def frames(self, progress: Progress, listener: Listener) -> AsyncIterator[bytes]:
        """The pieces of the stream, from `retry` to `end`."""
        began = time.monotonic()
        self._closes_at = began + left_to_come(progress, self._times)
        token_until = began + self._caller.expires_at - time.time()
        yield format_sse_event(retry=RETRY_MS)
        for event in progress.events:
            if self._closes_at == float("inf"):  # The row was read as live, and ended before its events were.
                self._note(event)
            yield frame(event)
        sign_at = time.monotonic() + self._times.keep_alive
        while True:
            news = await listener.next(min(sign_at, self._closes_at, token_until) - time.monotonic())
            if news is not None:
                self._note(news)
                yield frame(news)
            elif (why := self._over(listener, token_until)) is not None:
                yield end_frame(why)
                return
            elif time.monotonic() >= sign_at:
                if await self._revoked():
                    token_until = time.monotonic()
                yield KEEPALIVE_COMMENT
                sign_at = time.monotonic() + self._times.keep_alive

    def _note(self, event: CheckoutEvent) -> None:
        if event.kind in OVER:
            self._closes_at = time.monotonic() + self._times.linger
        if event.kind is CheckoutEventKind.TICKETS_READY:
            self._closes_at = time.monotonic()

    def _over(self, listener: Listener, token_until: float) -> End | None:
        if listener.ended is not None:
            return listener.ended
        if time.monotonic() >= self._closes_at:
            return End.OVER
        return End.TOKEN_OVER if time.monotonic() >= token_until else None

    async def _revoked(self) -> bool:
        try:
            await self._revocations.check(self._caller)
        except RefusedToken:
            return True
        except Unavailable:
            return False  # It cannot be known now: what was good goes on until it can.
        return False


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece
