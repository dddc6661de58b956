"""A checkout's progress as server-sent events, and the token with which a browser's EventSource asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from api.deps import Buyer, Wired
from api.event_stream import HEADERS, Events, frame, left_to_come
from api.models import as_checkout_id
from api.problems import documented
from api.requests import StrictRoute
from api.routes.checkouts import READING, CheckoutPath
from api.stream_models import StreamTokenOut
from api.watching import AnyWatcher, Watcher, stream_of
from db.checkout_events import CheckoutEvent
from domain.errors import CheckoutRefused, Invalid, TooManyRequests
from domain.messages import CheckoutRef

router = APIRouter(route_class=StrictRoute, tags=["checkouts"])
LastEventId = Annotated[
    str, Header(alias="Last-Event-ID", max_length=20, description="The last event that was had; what follows it comes.")
]
_TEXT = {"type": "string"}
_EVENT = {"type": "object", "properties": {"event": _TEXT, "id": _TEXT, "data": _TEXT}}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events: `event` is the kind, `data` a CheckoutEvent as JSON, `id` its number.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {"description": "Nothing more comes. An EventSource then stops."},
}


@router.get(
    "/v1/checkouts/{checkout_id}/events",
    operation_id="streamCheckout",
    summary="Watch a checkout",
    response_class=Events,
    response_model=None,
    responses={**_EVENTS, **documented(*READING, CheckoutRefused, TooManyRequests)},
)
async def stream(
    checkout_id: CheckoutPath,
    watcher: AnyWatcher,
    services: Wired,
    had: LastEventId = "",
    last_event_id: Annotated[
        str, Query(max_length=20, description="The same, for who cannot send the header.", examples=["3"])
    ] = "",
    *,
    follow: Annotated[bool, Query(description="false: what has happened so far, and no waiting.")] = True,
) -> Response:
    """What it went through and, as it happens, what comes: server-sent events, until nothing more is to come."""
    ref = CheckoutRef(watcher.caller.tenant, as_checkout_id(checkout_id))
    after = _number(had or last_event_id)
    progress = await watcher.progress(services.db, ref, after)
    if not follow:
        return Events(_frames(progress.events), headers=HEADERS)
    if not progress.events and left_to_come(progress, services.watching.times) <= 0:
        return Response(status_code=204, headers=HEADERS)
    return stream_of(services, watcher, ref, progress, after)


@router.post(
    "/v1/checkouts/{checkout_id}/events/token",
    operation_id="createStreamToken",
    summary="Get a token to watch with",
    responses=documented(*READING, CheckoutRefused),
)
async def token(checkout_id: CheckoutPath, caller: Buyer, services: Wired, response: Response) -> StreamTokenOut:
    """For a browser's EventSource, which sends no headers: good for this checkout's events, and for minutes."""
    ref = CheckoutRef(caller.tenant, as_checkout_id(checkout_id))
    await Watcher(caller).progress(services.db, ref, 0)
    made, seconds = services.watching.tokens.issue(caller, ref.checkout_id)
    response.headers["cache-control"] = "no-store"
    return StreamTokenOut(token=made, expires_in=seconds)


def _number(text: str) -> int:
    """The number of an event, 0 when none is named. Raises Invalid."""
    if not text:
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        field = {"field": "Last-Event-ID", "message": "It is not the id of an event", "fix": "Send an `id` as it came"}
        raise Invalid("`Last-Event-ID` is not valid.", errors=[field])
    return int(text)


async def _frames(events: Sequence[CheckoutEvent]) -> AsyncIterator[bytes]:
    for event in events:
        yield frame(event)
