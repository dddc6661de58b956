"""Who may see and change what: every route of the API's own document, for everybody it must keep out.

The routes, the scopes they take and so the callers they refuse come from the document, which has the scopes from the
list that is enforced. How to address a route stands in tests/support/visits.py; one without an entry there fails here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api.tokens import Scope
from tests.support.isolation import assert_kept_out, changes_in, nothing_moves, same_body, unchanged
from tests.support.routes import Route, routes
from tests.support.strangers import BAD_TOKENS, bad_headers, lacking, of_buyers, strangers
from tests.support.system import DEMO, OTHER, System
from tests.support.visits import OPEN, VISITS, World, make_world, missing_ids, visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECURED = [route for route in routes() if route.secured]
BUYERS = [route for route in SECURED if of_buyers(route)]
KNOWN = [route for route in SECURED if route.operation in VISITS]
"""Those that can be addressed: all of them, as the first test shows."""
LACKING = [(route, kind) for route in KNOWN for kind in lacking(route)]
ALLOWED = [(route, scope) for route in KNOWN for scope in sorted({Scope.BUYER} & route.scopes or route.scopes or Scope)]
"""Each route with the scopes of those whose things it is about."""
ODD_IDS = ["1", "x", "A" * 36, "00000000-0000-0000-0000-00000000000G", "%2e%2e", "a" * 5000]
STRANGERS = [(route, kind) for route in KNOWN for kind in strangers(route)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared_system: System) -> AsyncIterator[World]:
    """A user's things, which no test here may change."""
    made = await make_world(shared_system)
    await nothing_moves(shared_system)
    yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anonymous_world(shared_system: System) -> AsyncIterator[World]:
    """An anonymous session's things, likewise."""
    made = await make_world(shared_system, anonymous=True)
    await nothing_moves(shared_system)
    yield made


async def test_every_route_is_either_open_or_has_an_entry_that_says_how_to_address_it() -> None:
    operations = {route.operation: route for route in routes()}
    assert {name for name, route in operations.items() if not route.secured} == OPEN
    assert {name for name, route in operations.items() if route.secured} == set(VISITS)
    assert {name: operations[name].scopes for name in VISITS} == {name: how.takes for name, how in VISITS.items()}
    assert {name for route in SECURED for name in route.parameters} <= set(missing_ids())


async def test_there_is_something_to_show() -> None:
    assert len(SECURED) >= 23
    assert len(BUYERS) >= 12
    assert len(STRANGERS) >= 6 * len(BUYERS)
    assert len(LACKING) >= 3 * len([route for route in SECURED if route.scopes])


@pytest.mark.parametrize("kind", BAD_TOKENS)
@pytest.mark.parametrize("route", KNOWN, ids=str)
async def test_a_bad_token_is_a_401(shared_system: System, world: World, route: Route, kind: str) -> None:
    headers = await bad_headers(shared_system, world, kind)
    async with unchanged(shared_system):
        answer = await visit(route, world, headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("route", "kind"), LACKING, ids=str)
async def test_a_token_without_the_scope_is_a_403(shared_system: System, world: World, route: Route, kind: str) -> None:
    caller = await lacking(route)[kind](shared_system, world)
    async with unchanged(shared_system):
        answer = await visit(route, world, caller)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(("route", "kind"), STRANGERS, ids=str)
async def test_a_stranger_sees_and_changes_nothing(
    shared_system: System, world: World, route: Route, kind: str
) -> None:
    await assert_kept_out(shared_system, world, route, await strangers(route)[kind](shared_system, world))


@pytest.mark.parametrize(("route", "kind"), [one for one in STRANGERS if one[0] in BUYERS], ids=str)
async def test_a_stranger_sees_and_changes_nothing_of_an_anonymous_session(
    shared_system: System, anonymous_world: World, route: Route, kind: str
) -> None:
    caller = await strangers(route)[kind](shared_system, anonymous_world)
    await assert_kept_out(shared_system, anonymous_world, route, caller)


@pytest.mark.parametrize(("route", "scope"), ALLOWED, ids=str)
async def test_who_may_gets_through_with_the_very_same_request(
    shared_system: System, route: Route, scope: Scope
) -> None:
    """Else a stranger might be kept out by nothing but a bad address."""
    world = await make_world(shared_system)
    buyers = scope is Scope.BUYER
    caller = world.owner if buyers else shared_system.buyer(DEMO, None, scope)
    how = VISITS[route.operation]
    if how.before:
        await how.before(shared_system)
    async with changes_in(shared_system) as changed:
        answer = await visit(route, world, caller)
    assert 200 <= answer.status_code < 300, answer.text
    if how.effect:
        shown = [secret for secret in world.tenant_secrets if secret in answer.text]
        assert shown if route.method == "GET" else changed, answer.text


@pytest.mark.parametrize("route", [route for route in KNOWN if route.textual], ids=str)
@pytest.mark.parametrize("odd", ODD_IDS)
async def test_an_id_that_is_none_is_a_404_like_a_missing_one(
    shared_system: System, world: World, route: Route, odd: str
) -> None:
    caller = world.owner if of_buyers(route) else shared_system.buyer(DEMO, None, *route.scopes)
    answer = await visit(route, world, caller, **dict.fromkeys(route.textual, odd))
    missing = await visit(route, world, caller, **missing_ids())
    assert (answer.status_code, missing.status_code) == (404, 404)
    assert same_body(answer, missing)


async def test_a_buyer_cannot_hold_another_tenants_product(shared_system: System, world: World) -> None:
    answer = await shared_system.buyer(OTHER, world.owner.subject).start((world.spare, 1))
    assert (answer.status_code, answer.json()["shortages"][0]["reason"]) == (409, "gone")


async def test_a_service_sees_what_it_started_for_its_buyers(shared_system: System, world: World) -> None:
    service, again, buyer = (
        shared_system.buyer(DEMO, "storefront", *scopes) for scopes in ([Scope.SERVICE], [Scope.SERVICE], [])
    )
    held = await service.hold((world.spare, 1))
    assert (await again.read(held["id"]))["id"] == held["id"]
    assert (await buyer.look(held["id"])).status_code == 404


async def test_after_all_this_the_owners_have_what_they_had(
    system: System, world: World, anonymous_world: World
) -> None:
    for each in (world, anonymous_world):
        assert (await each.owner.read(each.held))["status"] == "held"
        assert [one["id"] for one in await each.owner.orders()] == [each.order]
        cart = await system.http.get("/v1/cart", headers=dict(each.owner.headers))
        assert [(one["product_id"], one["quantity"]) for one in cart.json()["lines"]] == [(each.product, 2)]
