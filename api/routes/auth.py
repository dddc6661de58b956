"""Login, refresh, logout, and anonymous sessions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, status
from structlog.contextvars import bind_contextvars

from api.auth_models import Login, Refresh, SessionToken, TokenPair, session_token, token_pair
from api.deps import AnyCaller, Services, Wired
from api.hosts import tenant_of_host
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from domain.errors import (
    BadRequest,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
)
from domain.ids import TenantId

router = APIRouter(route_class=StrictRoute, tags=["auth"])
_BODY = (*JSON_BODY, Invalid)


@router.post(
    "/v1/auth/token",
    operation_id="login",
    summary="Log in",
    responses=documented(Unauthorized, *_BODY, Unavailable),
)
async def login(body: Login, request: Request, response: Response, services: Wired) -> TokenPair:
    """Exchange name (or e-mail) and password for tokens.

    With `session_token`, the anonymous session's cart and holds become the user's, and that token is over; the same
    user may send it again when the answer was lost.
    """
    tenant = await _tenant(request, services)
    _keep_private(response)
    return token_pair(await services.access.log_in(tenant, body.username, body.password, body.session_token))


@router.post(
    "/v1/auth/refresh",
    operation_id="refreshToken",
    summary="Get the next tokens",
    responses=documented(Unauthorized, *_BODY, Unavailable),
)
async def refresh(body: Refresh, response: Response, services: Wired) -> TokenPair:
    """Exchange a refresh token for an access token and the next refresh token.

    Each is good once. A second use ends the whole login, because one of the two who used it stole it: so let one
    request at a time refresh, store the new token before using it, and log in again when the answer was lost.
    """
    _keep_private(response)
    return token_pair(await services.access.refresh(body.refresh_token))


@router.post(
    "/v1/auth/logout",
    operation_id="logout",
    summary="Log out",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=documented(BadRequest, Unauthorized, Unavailable),
)
async def logout(caller: AnyCaller, services: Wired) -> None:
    """End the login that the token is of: its access and refresh tokens are refused from now on.

    An anonymous session's token ends the session; a program's token ends itself. A repeat is 401: the token is revoked.
    """
    await services.access.log_out(caller)


@router.post(
    "/v1/sessions",
    operation_id="openSession",
    summary="Buy without logging in",
    status_code=status.HTTP_201_CREATED,
    responses=documented(BadRequest, NotFound, Unavailable),
)
async def open_session(request: Request, response: Response, services: Wired) -> SessionToken:
    """A token for an anonymous buyer, with a cart and holds of its own. It outlives the longest hold."""
    tenant = await _tenant(request, services)
    _keep_private(response)
    return session_token(await services.access.open_session(tenant))


async def _tenant(request: Request, services: Services) -> TenantId:
    tenant = await tenant_of_host(services.db, request.headers.get("host", ""), services.default_tenant)
    bind_contextvars(tenant=tenant)
    return tenant


def _keep_private(response: Response) -> None:
    response.headers["cache-control"] = "no-store"
