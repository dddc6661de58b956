"""What routes ask for: the services they use, and who calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from structlog.contextvars import bind_contextvars
from temporalio.client import Client

from activities.delivery import Delivery
from activities.fulfilment.starting import Fulfilling
from activities.gateways.interface import Gateway
from activities.gateways.secrets import TenantSecrets
from api.access import Access
from api.addresses import address_of
from api.confirming import Confirming
from api.engine import Engine
from api.fresh import Fresh
from api.limits import Limit, Limits
from api.paying import Paying
from api.tokens import Caller, Scope
from api.validation import IDEMPOTENCY_HEADER
from api.verification import Verifier
from db.database import Database
from db.events import Zone
from db.keyring import KeyRing
from domain.errors import Forbidden, Unauthorized
from domain.ids import GatewayName, TenantId

if TYPE_CHECKING:  # It asks for callers itself.
    from api.watching import Watching


@dataclass(frozen=True)
class Services:
    """What the app factory wired. Routes never read settings."""

    db: Database
    temporal: Client
    gateways: Mapping[GatewayName, Gateway]
    known_secrets: Mapping[str, Callable[[str], object]]
    """Every secret that a tenant may have of its own, by name, with what reads it."""
    verifier: Verifier
    access: Access
    default_tenant: TenantId
    versioned: bool
    engine: Engine
    delivery: Delivery
    fulfilling: Fulfilling
    confirming: Confirming
    paying: Paying
    limits: Limits
    keys: KeyRing
    secrets: TenantSecrets
    zones: Fresh[list[Zone] | None]
    """The zones of events, with what is available."""
    watching: Watching
    """Streams of checkouts' events."""
    checked_hook_url: Callable[[str], str]
    """Raises ValueError for where no webhook may go."""


async def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


Wired = Annotated[Services, Depends(_services)]


async def _db(services: Wired) -> Database:
    return services.db


async def _temporal(services: Wired) -> Client:
    return services.temporal


Db = Annotated[Database, Depends(_db)]
Temporal = Annotated[Client, Depends(_temporal)]

bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", scheme_name="bearer", description="POST /v1/auth/token")


async def caller_of(
    request: Request, services: Wired, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """Who calls, by his access token."""
    if credentials is None:
        raise Unauthorized
    token, address = credentials.credentials, address_of(request.scope)
    if not services.verifier.remembers(token):  # Else who guesses could shut out the others behind the same address.
        await services.limits.check(Limit.REFUSED_TOKENS, address)
    try:
        caller = await services.verifier.verify(token)
    except Unauthorized:
        await services.limits.hit(Limit.REFUSED_TOKENS, address)
        raise
    bind_contextvars(tenant=caller.tenant)
    await services.limits.hit_by(caller, request.method)
    return caller


AnyCaller = Annotated[Caller, Depends(caller_of)]
"""Any verified token."""


async def _permitted(caller: AnyCaller, wanted: SecurityScopes) -> Caller:
    if caller.scopes.isdisjoint(wanted.scopes):
        raise Forbidden(f"This needs the scope {' or '.join(wanted.scopes)}.")
    return caller


def _having(*scopes: Scope) -> Any:
    """One of these scopes. The OpenAPI document's `security` is made from the same list that is enforced here."""
    return Security(_permitted, scopes=[scope.value for scope in scopes])


Buyer = Annotated[Caller, _having(Scope.BUYER, Scope.SERVICE)]
"""A buyer, or a service that sells for buyers."""
Admin = Annotated[Caller, _having(Scope.ADMIN)]
Operator = Annotated[Caller, _having(Scope.OPERATOR)]
Administration = Annotated[Caller, _having(Scope.ADMIN, Scope.OPERATOR)]
"""Somebody who looks after the tenant, in either role."""

IdempotencyKey = Annotated[
    str,
    Header(
        alias=IDEMPOTENCY_HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Names this request: send the same key when you try it again, and it happens once.",
        examples=["9b2f6c1e-cart-42"],
    ),
]
"""1 to 255 visible ASCII characters. Missing: 400 `idempotency_key_missing`; not so: 422."""
