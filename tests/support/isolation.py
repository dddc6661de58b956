"""What "kept out" means: nothing is shown, nothing is touched, and what is hidden looks like what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.support.buyers import Buyer
from tests.support.routes import Route
from tests.support.snapshot import Snapshot
from tests.support.system import DEMO, System
from tests.support.visits import VISITS, World, missing_ids, visit


async def assert_kept_out(system: System, world: World, route: Route, stranger: Buyer) -> None:
    """Send the route's request about the owner's things as a stranger with a good token and a scope that it takes.

    One of the owner's tenant may make rows of its own and reserve from the same stock; one of another may do nothing.
    """
    same_tenant, how = stranger.tenant == DEMO, VISITS[route.operation]
    if how.before:
        await how.before(system)
    before = await Snapshot.take(system.admin, DEMO, others_reserve=same_tenant)
    answer = await visit(route, world, stranger)
    after = await Snapshot.take(system.admin, DEMO, others_reserve=same_tenant)
    assert after.gone_since(before) == []
    made = after.new_since(before)
    assert same_tenant or made == []
    secrets = {*(world.secrets if same_tenant else world.tenant_secrets)} - {stranger.subject}
    for told in (answer.text, str(answer.headers), *made):
        assert not [secret for secret in secrets if secret in told], told
    if route.parameters and not how.own:
        missing = await visit(route, world, stranger, **missing_ids())
        assert (answer.status_code, missing.status_code) == (404, 404), answer.text
        assert same_body(answer, missing)
    else:  # About the caller's own things, of which there may be none.
        assert answer.status_code // 100 == 2 or answer.status_code in (404, 409), answer.text
    assert (await system.http.get("/v1/cart", headers=dict(world.owner.headers))).status_code == 200


def same_body(one: httpx.Response, other: httpx.Response) -> bool:
    """Whether two problems differ in nothing but the id of their request."""
    first, second = one.json(), other.json()
    return {**first, "request_id": ""} == {**second, "request_id": ""}


@asynccontextmanager
async def changes_in(system: System) -> AsyncIterator[list[str]]:
    """Fills with the rows of the owner's tenant that the block has made, changed or removed."""
    changed: list[str] = []
    before = await Snapshot.take(system.admin, DEMO)
    yield changed
    after = await Snapshot.take(system.admin, DEMO)
    changed += [*after.gone_since(before), *after.new_since(before)]


@asynccontextmanager
async def unchanged(system: System) -> AsyncIterator[None]:
    """The block must leave every row of the owner's tenant as it is, and add none."""
    async with changes_in(system) as changed:
        yield
    assert changed == []


async def nothing_moves(system: System, for_seconds: float = 1.0) -> None:
    """Until what follows a sale by itself (tickets, e-mail, refunds) is done, and no row has changed for so long."""
    async with asyncio.timeout(30):
        before = await Snapshot.take(system.admin, DEMO)
        while True:
            await asyncio.sleep(for_seconds)
            now = await Snapshot.take(system.admin, DEMO)
            if not now.gone_since(before) and not now.new_since(before):
                return
            before = now
