"""A login that names an anonymous session: cart, holds and orders become the user's, whatever is on its way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.adoption import adopt_session
from db.cart_view import CartView
from db.carts import read_cart, set_quantities
from db.checkouts import read_checkout
from db.database import Database
from db.orders import list_orders
from db.reserve import reserve
from db.settle import settle
from domain.cart import NoticeReason
from domain.checkout import CheckoutStatus
from domain.errors import Invalid, Unauthorized
from domain.ids import BuyerKey, ProductId, SessionId, TenantId, session_key
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, cancel, confirm, expire, opened
from tests.support.races import deadlocks

SESSION = SessionId("9f2b6c1e")
ANONYMOUS = session_key(SESSION)
USER = BuyerKey("user:ana")


@pytest.fixture
async def session(admin: shop.Connection, tenant: TenantId) -> SessionId:
    return await make_session(admin, tenant, SESSION)


@pytest.fixture
async def coffee(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=10)


@pytest.fixture
async def mug(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=10)


async def make_session(admin: shop.Connection, tenant: TenantId, name: str) -> SessionId:
    await admin.execute(
        "INSERT INTO sessions (tenant_id, id, expires_at) VALUES (%s, %s, %s)",
        (tenant, name, datetime.now(UTC) + timedelta(hours=1)),
    )
    return SessionId(name)


def from_cart(tenant: TenantId, buyer: BuyerKey) -> StartCheckout:
    return replace(a_start(tenant, {}, buyer=buyer), from_cart=True)


def contents(cart: CartView) -> tuple[str, str | None, dict[Any, int]]:
    return cart.status.value, cart.checkout_id, dict(cart.lines)


async def test_quantities_add_up_and_the_sessions_cart_is_gone(
    db: Database, rows: Rows, tenant: TenantId, session: SessionId, coffee: ProductId, mug: ProductId
) -> None:
    await set_quantities(db, tenant, USER, {coffee: 2})
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 3, mug: 1})
    assert (await adopt_session(db, tenant, session, USER)).notices == []
    assert contents(await read_cart(db, tenant, USER)) == ("available", None, {coffee: 5, mug: 1})
    assert (await read_cart(db, tenant, ANONYMOUS)).lines == {}
    with pytest.raises(Unauthorized, match="taken this session over"):
        await set_quantities(db, tenant, ANONYMOUS, {coffee: 1})
    assert await rows.value("SELECT count(*) FROM carts") == 1


async def test_repeating_it_changes_nothing(
    db: Database, tenant: TenantId, session: SessionId, coffee: ProductId
) -> None:
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 3})
    await adopt_session(db, tenant, session, USER)
    assert (await adopt_session(db, tenant, session, USER)).notices == []
    assert (await read_cart(db, tenant, USER)).lines == {coffee: 3}


async def test_at_once_it_happens_once(db: Database, tenant: TenantId, session: SessionId, coffee: ProductId) -> None:
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 2})
    await asyncio.gather(*(adopt_session(db, tenant, session, USER) for _ in range(6)))
    assert (await read_cart(db, tenant, USER)).lines == {coffee: 2}


async def test_what_stock_cannot_give_is_cut_and_said(
    db: Database, tenant: TenantId, session: SessionId, coffee: ProductId
) -> None:
    await set_quantities(db, tenant, USER, {coffee: 7})
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 6})
    [notice] = (await adopt_session(db, tenant, session, USER)).notices
    assert (notice.product_id, notice.reason, notice.before, notice.after) == (coffee, NoticeReason.REDUCED, 13, 10)
    assert (await read_cart(db, tenant, USER)).lines == {coffee: 10}


async def test_a_session_that_is_somebody_elses_or_unknown_is_refused_and_nothing_moves(
    db: Database, tenant: TenantId, session: SessionId, coffee: ProductId
) -> None:
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 1})
    await adopt_session(db, tenant, session, BuyerKey("user:luis"))
    for wanted in (session, SessionId("unknown")):
        with pytest.raises(Invalid, match="leave `session_token` out"):
            await adopt_session(db, tenant, wanted, USER)
    assert (await read_cart(db, tenant, USER)).lines == {}
    assert (await read_cart(db, tenant, BuyerKey("user:luis"))).lines == {coffee: 1}


async def test_a_live_hold_is_kept_and_is_the_users(
    db: Database, rows: Rows, tenant: TenantId, session: SessionId, coffee: ProductId, mug: ProductId
) -> None:
    await set_quantities(db, tenant, USER, {mug: 2})
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 3})
    start = from_cart(tenant, ANONYMOUS)
    total = (await reserve(db, start)).total
    await adopt_session(db, tenant, session, USER)
    assert (await rows.checkout(start.ref))["status"] == "held"
    assert await read_checkout(db, tenant, start.checkout_id, buyer=USER) is not None
    assert await read_checkout(db, tenant, start.checkout_id, buyer=ANONYMOUS) is None
    assert contents(await read_cart(db, tenant, USER)) == ("processing", start.checkout_id, {mug: 2, coffee: 3})
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    await settle(db, confirm(start.ref, a_capture(start.checkout_id, total)))
    assert contents(await read_cart(db, tenant, USER)) == ("available", None, {mug: 2})
    assert len(await list_orders(db, tenant, buyer=USER, limit=5)) == 1


async def test_all_units_in_the_sessions_own_hold_do_not_count_against_its_cart(
    db: Database, tenant: TenantId, session: SessionId, coffee: ProductId
) -> None:
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 10})
    start = from_cart(tenant, ANONYMOUS)
    await reserve(db, start)
    assert (await adopt_session(db, tenant, session, USER)).notices == []
    await settle(db, cancel(start.ref))
    assert contents(await read_cart(db, tenant, USER)) == ("available", None, {coffee: 10})


async def test_with_two_live_holds_the_cart_is_free_when_both_are_over(
    db: Database, tenant: TenantId, session: SessionId, coffee: ProductId, mug: ProductId
) -> None:
    await set_quantities(db, tenant, USER, {mug: 2})
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 3, mug: 1})
    own, other = from_cart(tenant, USER), from_cart(tenant, ANONYMOUS)
    await reserve(db, own)
    total = (await reserve(db, other)).total
    await adopt_session(db, tenant, session, USER)
    assert contents(await read_cart(db, tenant, USER)) == ("processing", own.checkout_id, {mug: 3, coffee: 3})
    await settle(db, cancel(own.ref))
    assert contents(await read_cart(db, tenant, USER))[:2] == ("processing", other.checkout_id)
    await settle(db, confirm(other.ref, a_capture(other.checkout_id, total)))
    assert contents(await read_cart(db, tenant, USER)) == ("available", None, {mug: 2})


async def test_orders_and_ended_checkouts_come_along(
    db: Database, tenant: TenantId, session: SessionId, coffee: ProductId
) -> None:
    paid, late = (a_start(tenant, {coffee: 1}, buyer=ANONYMOUS) for _ in range(2))
    total = (await reserve(db, paid)).total
    await settle(db, confirm(paid.ref, a_capture(paid.checkout_id, total)))
    await reserve(db, late)
    await settle(db, cancel(late.ref))
    await adopt_session(db, tenant, session, USER)
    assert len(await list_orders(db, tenant, buyer=USER, limit=5)) == 1
    assert await list_orders(db, tenant, buyer=ANONYMOUS, limit=5) == []
    assert await read_checkout(db, tenant, late.checkout_id, buyer=USER) is not None


async def test_a_start_that_was_on_its_way_is_the_users(
    db: Database, tenant: TenantId, session: SessionId, coffee: ProductId
) -> None:
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 1})
    await adopt_session(db, tenant, session, USER)
    start = from_cart(tenant, ANONYMOUS)
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    assert await read_checkout(db, tenant, start.checkout_id, buyer=USER) is not None
    assert contents(await read_cart(db, tenant, USER))[:2] == ("processing", start.checkout_id)


async def test_a_change_of_the_sessions_cart_is_wholly_the_users_or_refused(
    db: Database, admin: shop.Connection, tenant: TenantId, coffee: ProductId
) -> None:
    """Thirty logins, each beside a change: what was answered as done is in the user's cart."""
    total = 0
    await admin.execute("UPDATE stock_items SET total = 10000")
    for number in range(30):
        session = await make_session(admin, tenant, f"beside-{number}")
        changed, _ = await asyncio.gather(
            set_quantities(db, tenant, session_key(session), {coffee: 1}),
            adopt_session(db, tenant, session, USER),
            return_exceptions=True,
        )
        assert isinstance(changed, CartView | Unauthorized)
        total += isinstance(changed, CartView)
    assert (await read_cart(db, tenant, USER)).lines == ({coffee: total} if total else {})


@pytest.mark.parametrize("wish", [cancel, expire, confirm])
async def test_in_any_order_with_starts_and_ends_nothing_is_left_behind_and_nothing_deadlocks(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, coffee: ProductId, wish: Any
) -> None:
    """Ten sessions of one user: each starts from its cart, ends its hold and is taken over, all at once."""
    names = [await make_session(admin, tenant, f"s{number}") for number in range(10)]

    async def buy(db: Database, name: SessionId) -> None:
        start = from_cart(tenant, session_key(name))
        total = (await reserve(db, start)).total
        await settle(db, wish(start.ref, *([a_capture(start.checkout_id, total)] if wish is confirm else [])))

    async with opened(database_url, size=20) as db:
        for name in names:
            await set_quantities(db, tenant, session_key(name), {coffee: 1})
        takeovers = (adopt_session(db, tenant, name, USER) for name in names)
        await asyncio.gather(*(buy(db, name) for name in names), *takeovers)
    assert await deadlocks(rows) == 0
    assert await rows.value("SELECT count(*) FROM carts") == 1
    assert await rows.value("SELECT count(*) FROM checkouts WHERE buyer_key <> %s", USER) == 0
    assert await rows.value("SELECT count(*) FROM orders WHERE buyer_key <> %s", USER) == 0


async def test_the_merge_is_in_the_audit_log(
    db: Database, rows: Rows, tenant: TenantId, session: SessionId, coffee: ProductId, mug: ProductId
) -> None:
    await set_quantities(db, tenant, USER, {coffee: 2})
    await set_quantities(db, tenant, ANONYMOUS, {coffee: 3, mug: 1})
    await adopt_session(db, tenant, session, USER)
    [noted] = await rows.all("SELECT * FROM audit_log WHERE action = 'cart.merged'")
    assert noted["actor"] == USER
    assert noted["before"]["own"] == {str(coffee): 2}
    assert noted["before"]["session"] == {str(coffee): 3, str(mug): 1}
    assert noted["after"] == {"lines": {str(coffee): 5, str(mug): 1}}
