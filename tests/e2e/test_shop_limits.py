"""A shop's limits over real HTTP: which one, how much it allows, and when it frees."""

from __future__ import annotations

from datetime import datetime

import pytest

from api.tokens import Scope
from domain.ids import TenantId
from tests.support import shop
from tests.support.buyers import code
from tests.support.system import System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def limited(system: System, **limits: int) -> TenantId:
    """A new tenant with these limits."""
    tenant = await shop.make_tenant(system.admin)
    for name, value in limits.items():
        await system.admin.execute(f"UPDATE tenants SET {name} = %s WHERE id = %s", (value, tenant))
    return tenant


async def test_one_buyers_live_checkouts_are_limited_until_one_ends(system: System) -> None:
    tenant = await limited(system, max_checkouts_per_owner=1)
    coffee, buyer = await system.product(tenant=tenant), system.buyer(tenant)
    checkout = await buyer.hold((coffee, 1))
    answer = await buyer.start((coffee, 1))
    assert (answer.status_code, code(answer)) == (429, "limit_reached")
    body = answer.json()
    assert (body["limit"], body["most"]) == ("checkouts_per_owner", 1)
    assert datetime.fromisoformat(body["frees_at"]) == datetime.fromisoformat(checkout["expires_at"])
    assert 800 < int(answer.headers["retry-after"]) <= 900
    await buyer.cancel(checkout["id"])
    await buyer.hold((coffee, 1))


async def test_one_addresss_live_checkouts_are_limited_but_not_a_services(system: System) -> None:
    tenant = await limited(system, max_checkouts_per_address=2)
    coffee = await system.product(tenant=tenant)
    for _ in range(2):
        await system.buyer(tenant).hold((coffee, 1))
    answer = await system.buyer(tenant).start((coffee, 1))
    assert (answer.status_code, answer.json()["limit"]) == (429, "checkouts_per_address")
    for _ in range(3):
        await system.buyer(tenant, "storefront", Scope.SERVICE).hold((coffee, 1))


async def test_a_cooldown_follows_an_expiry(system: System) -> None:
    tenant = await limited(system, hold_seconds=1, cooldown_seconds=30)
    coffee, buyer = await system.product(tenant=tenant), system.buyer(tenant)
    checkout = await buyer.hold((coffee, 1))
    await buyer.until(checkout["id"], "expired")
    answer = await buyer.start((coffee, 1))
    assert (answer.status_code, answer.json()["limit"], answer.json()["most"]) == (429, "cooldown", None)
    assert 20 < int(answer.headers["retry-after"]) <= 30


async def test_too_many_lines_are_refused_and_no_wait_is_named(system: System) -> None:
    tenant = await limited(system, max_lines=1)
    buyer = system.buyer(tenant)
    answer = await buyer.start(*[(await system.product(tenant=tenant), 1) for _ in range(2)])
    assert (answer.status_code, answer.json()["limit"], answer.json()["frees_at"]) == (429, "lines", None)
    assert "retry-after" not in answer.headers
