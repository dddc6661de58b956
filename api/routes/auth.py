"""Login."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field, StringConstraints
from structlog import stdlib
from structlog.contextvars import bind_contextvars

from api.deps import Wired
from api.hosts import tenant_of_host
from api.models import Answer, StrictModel
from api.problems import documented
from api.requests import StrictRoute
from api.tokens import Scope
from db.users import find_account
from domain.errors import (
    BadJson,
    BodyTooSlow,
    Invalid,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

router = APIRouter(route_class=StrictRoute, tags=["auth"])
_log = stdlib.get_logger("auth")


class Login(StrictModel):
    """Who logs in. The tenant is the host name's (`<tenant>.<domain>`), or the installation's default."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=254)] = Field(
        description="Name or e-mail, in any case.", examples=["ana"]
    )
    password: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(examples=["holdfast-demo"])


class AccessToken(Answer):
    """A token for the Authorization header."""

    access_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.c2lnbmF0dXJl"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # a scheme, not a secret
    expires_in: int = Field(description="Seconds.", examples=[900])


@router.post(
    "/v1/auth/token",
    operation_id="login",
    summary="Log in",
    responses=documented(Unauthorized, BadJson, BodyTooSlow, TooLarge, UnsupportedMediaType, Invalid, Unavailable),
)
async def login(body: Login, request: Request, response: Response, services: Wired) -> AccessToken:
    """Exchange name (or e-mail) and password for an access token."""
    tenant = await tenant_of_host(services.db, request.headers.get("host", ""), services.default_tenant)
    bind_contextvars(tenant=tenant)
    account = await find_account(services.db, tenant, body.username)
    matches = await services.passwords.match(account.password_hash if account else None, body.password)
    if account is None or not matches:
        _log.info("login_refused")
        raise Unauthorized("Name or password is wrong.")
    _log.info("login", user=str(account.id))
    scopes = {Scope(name) for name in account.scopes if name in frozenset(Scope)}
    seconds = services.access_token_seconds
    response.headers["cache-control"] = "no-store"
    return AccessToken(access_token=services.tokens.issue(tenant, str(account.id), scopes, seconds), expires_in=seconds)
