"""Who is kept out of a route, by what the document says of it: bad tokens, lacking scopes, and everybody else's."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import jwt

from api.app import tokens_from
from api.tokens import ALGORITHM, HEADER, Scope
from tests.support import shop
from tests.support.buyers import Buyer, as_json
from tests.support.routes import Route
from tests.support.system import DEMO, OTHER, System
from tests.support.visits import World, session

Headers = dict[str, str]
Make = Callable[[System, World], Awaitable[Buyer]]

BAD_TOKENS = (
    "no token",
    "expired",
    "wrong audience",
    "wrong issuer",
    "another key",
    "not ours",
    "logged out",
    "login over",
)
_CLEAR = (
    "DELETE FROM cart_lines WHERE cart_id IN (SELECT id FROM carts WHERE owner_key = %s)",
    "DELETE FROM carts WHERE owner_key = %s",
)


async def bad_headers(system: System, world: World, kind: str) -> Headers:
    """The owner's own Authorization header, and one thing wrong with the token, which else has every scope."""
    if kind == "no token":
        return {}
    if kind == "login over":
        return await _of_a_login_that_is_over(system, world)
    good = tokens_from(system.settings).issue(DEMO, world.owner.subject, set(Scope), 900)
    if kind == "logged out":
        headers = {"authorization": f"Bearer {good}"}
        assert (await system.http.post("/v1/auth/logout", headers=headers)).status_code == 204
        return headers
    claims = jwt.decode(good, options={"verify_signature": False})
    now = int(time.time())
    wrong: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - 60, "iat": now - 600},
        "wrong audience": {"aud": "somebody-else"},
        "wrong issuer": {"iss": "somebody-else"},
    }
    claims |= wrong.get(kind, {})
    secret = system.settings.jwt_secret.get_secret_value()
    key = "another-secret-of-at-least-32-bytes-here" if kind == "another key" else secret
    header = {"typ": "JWT"} if kind == "not ours" else {"typ": HEADER["typ"]}
    return {"authorization": f"Bearer {jwt.encode(claims, key, ALGORITHM, headers=header)}"}


async def _of_a_login_that_is_over(system: System, world: World) -> Headers:
    """The second access token of the owner's login, which has logged out with the first."""
    login = await system.http.post("/v1/auth/token", json={"username": world.email, "password": shop.PASSWORD})
    first = as_json(login)
    refreshed = await system.http.post("/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
    second = {"authorization": f"Bearer {as_json(refreshed)['access_token']}"}
    assert (await system.http.get("/v1/cart", headers=second)).status_code == 200
    out = {"authorization": f"Bearer {first['access_token']}"}
    assert (await system.http.post("/v1/auth/logout", headers=out)).status_code == 204
    return second


def lacking(route: Route) -> dict[str, Make]:
    """Callers of the owner's own name and tenant whose token has none of the route's scopes, by what they are."""
    if not route.scopes:
        return {}
    made = {scope.value: _token(DEMO, scope, same_subject=True) for scope in sorted(set(Scope) - route.scopes)}
    made["no scope"] = _token(DEMO, None, same_subject=True)
    if Scope.BUYER not in route.scopes:
        made["anonymous session"] = _session(DEMO)
    return made


def strangers(route: Route) -> dict[str, Make]:
    """Callers with a scope that the route takes, who are not those whose things it is about, by what they are."""
    made: dict[str, Make] = {}
    for scope in sorted(route.scopes or set(Scope)):
        made[f"{scope} of another tenant"] = _token(OTHER, scope)
        made[f"{scope} of another tenant, named like the owner"] = _token(OTHER, scope, same_subject=True)
    if Scope.BUYER in (route.scopes or set(Scope)):
        made["anonymous session of another tenant"] = _session(OTHER)
    if of_buyers(route):
        made["another buyer"] = _token(DEMO, Scope.BUYER)
        made["another's anonymous session"] = _session(DEMO)
        made["a service"] = _token(DEMO, Scope.SERVICE)
        made["a service named like the owner"] = _namesake_service
    return made


def of_buyers(route: Route) -> bool:
    """Whether the route is about one buyer's things. Else its things are the tenant's, for all who have the scope."""
    return Scope.BUYER in route.scopes


def _token(tenant: Any, scope: Scope | None, *, same_subject: bool = False) -> Make:
    async def make(system: System, world: World) -> Buyer:
        subject = world.owner.subject if same_subject else uuid.uuid4().hex[:12]
        token = tokens_from(system.settings).issue(tenant, subject, {scope} if scope else set(), 900)
        return Buyer(system.http, tenant, subject, {"authorization": f"Bearer {token}"})

    return make


async def _namesake_service(system: System, world: World) -> Buyer:
    """Without the cart that it may have from an earlier test: only what others have is to stay as it is."""
    for statement in _CLEAR:
        await system.admin.execute(statement, (f"service:{world.owner.subject}",))
    return await _token(DEMO, Scope.SERVICE, same_subject=True)(system, world)


def _session(tenant: Any) -> Make:
    async def make(system: System, _: World) -> Buyer:
        return await session(system, tenant)

    return make
