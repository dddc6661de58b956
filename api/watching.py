"""Who may watch a checkout: its buyer by his access token, or by a stream token that he asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, SecurityScopes
from structlog import stdlib
from structlog.contextvars import bind_contextvars

from api.addresses import address_of
from api.caller import Caller, CallerKind, Scope
from api.deps import Services, Wired, bearer, caller_of
from api.event_stream import EventStream, StreamTimes, Watch
from api.jws import RefusedToken
from api.limits import Limit
from api.stream_tokens import StreamTokens
from api.streams import Streams
from db.checkout_events import Progress, read_progress
from db.database import Database
from domain.checkout import CheckoutStatus
from domain.errors import CheckoutRefused, Forbidden, NotFound, Unauthorized
from domain.ids import CheckoutId
from domain.messages import CheckoutRef

_security = stdlib.get_logger("security")
_SCOPES = [Scope.BUYER.value, Scope.SERVICE.value]


@dataclass(frozen=True, slots=True)
class Watching:
    """What watching needs, wired by the app factory."""

    streams: Streams
    tokens: StreamTokens
    times: StreamTimes


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who watches. `checkout`: the only one that his token is good for; None: any of his own."""

    caller: Caller
    checkout: CheckoutId | None = None

    async def progress(self, db: Database, ref: CheckoutRef, after: int) -> Progress:
        """How the checkout stands. Raises NotFound, also for somebody else's; CheckoutRefused."""
        progress = await read_progress(db, ref.tenant, ref.checkout_id, after)
        if progress is None or progress.status is CheckoutStatus.NEW:
            raise NotFound
        if self.checkout is None and progress.buyer != self.caller.buyer_key:
            raise NotFound
        if progress.refusal is not None:
            raise CheckoutRefused("It was refused at its start and holds nothing.", refusal=progress.refusal)
        return progress

    def name(self, ref: CheckoutRef, progress: Progress) -> str:
        """For whom streams are counted: the buyer; a service speaks for many, so there it is the checkout."""
        one = ref.checkout_id if progress.buyer.startswith(f"{CallerKind.SERVICE}:") else progress.buyer
        return f"{ref.tenant}/{one}"


async def _watcher(
    request: Request,
    services: Wired,
    wanted: SecurityScopes,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    checkout_id: str,
    token: Annotated[
        str | None,
        Query(max_length=4096, description="A stream token, instead of the Authorization header.", examples=[None]),
    ] = None,
) -> Watcher:
    if token is not None:
        return await _by_stream_token(request, services, token, checkout_id)
    caller = await caller_of(request, services, credentials)
    if caller.scopes.isdisjoint(wanted.scopes):
        raise Forbidden(f"This needs the scope {' or '.join(wanted.scopes)}.")
    return Watcher(caller)


async def _by_stream_token(request: Request, services: Services, token: str, checkout_id: str) -> Watcher:
    address = address_of(request.scope)
    await services.limits.check(Limit.REFUSED_TOKENS, address)
    try:
        grant = services.watching.tokens.verify(token)
        if grant.checkout != checkout_id:
            raise RefusedToken("checkout")
        await services.verifier.revocations.check(grant.caller)
    except Unauthorized as error:
        if isinstance(error, RefusedToken):
            _security.warning("stream_token_refused", rule=error.rule)
        await services.limits.hit(Limit.REFUSED_TOKENS, address)
        raise
    bind_contextvars(tenant=grant.caller.tenant)
    await services.limits.hit_by(grant.caller, request.method)
    return Watcher(grant.caller, grant.checkout)


AnyWatcher = Annotated[Watcher, Security(_watcher, scopes=_SCOPES)]
"""A buyer, a service, or who has a stream token."""


def stream_of(services: Services, watcher: Watcher, ref: CheckoutRef, progress: Progress, after: int) -> EventStream:
    """The stream itself."""
    watch = Watch(watcher.caller, services.verifier.revocations, services.watching.times)
    return EventStream(services.watching.streams, watcher.name(ref, progress), ref, progress, after, watch)
