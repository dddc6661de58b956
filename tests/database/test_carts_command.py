"""`holdfast carts`, run as a program on real PostgreSQL."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace

import pytest

from db.cart_admin import cart_state
from db.carts import set_quantities
from db.database import Database
from db.reserve import reserve
from domain.cart import CartStatus
from domain.ids import BuyerKey, TenantId
from tests.support import shop
from tests.support.checkouts import a_start
from tests.support.command import CommandLine

ME = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
ANA = "ana@example.com"


@pytest.fixture
async def demo(admin: shop.Connection) -> TenantId:
    """The tenant that commands mean when they name none."""
    return await shop.make_tenant(admin, "demo")


@pytest.fixture
async def ana(admin: shop.Connection, db: Database, demo: TenantId) -> BuyerKey:
    """A user with two units of product 1 in her cart."""
    owner = BuyerKey(f"user:{await shop.make_user(admin, demo)}")
    await set_quantities(db, demo, owner, {await shop.make_product(admin, demo): 2})
    return owner


@pytest.fixture
def holdfast(database_url: str) -> CommandLine:
    return CommandLine(database_url)


async def test_a_status_is_shown_and_set(holdfast: CommandLine, db: Database, demo: TenantId, ana: BuyerKey) -> None:
    cart = (await cart_state(db, demo, ANA)).cart_id
    shown = await holdfast.run("carts", "status", ANA)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"cart {cart} is available\n1 line, last changed 20")
    set_ = await holdfast.run("carts", "status", ANA, "processing")
    assert set_.out.startswith(f"cart {cart} is processing\n")
    assert (await cart_state(db, demo, ANA)).status is CartStatus.PROCESSING

    unknown = await holdfast.run("carts", "status", "nobody@example.com", "available")
    assert (unknown.code, unknown.out, unknown.err) == (1, "", "holdfast: There is no user with this e-mail.\n")
    odd = await holdfast.run("carts", "status", ANA, "broken")
    assert odd.code == 2
    assert "the status is one of available, processing" in odd.err
    nowhere = await holdfast.run("carts", "status", ANA, "--tenant", "nowhere")
    assert (nowhere.code, nowhere.err) == (1, "holdfast: there is no tenant 'nowhere'\n")


async def test_a_held_cart_is_not_freed_and_its_checkout_is_named(
    holdfast: CommandLine, db: Database, demo: TenantId, ana: BuyerKey
) -> None:
    start = replace(a_start(demo, {}, buyer=ana), from_cart=True)
    await reserve(db, start)
    refused = await holdfast.run("carts", "status", ANA, "available")
    assert (refused.code, refused.err) == (1, "holdfast: A live checkout holds this cart: cancel it.\n")
    shown = await holdfast.run("carts", "status", ANA)
    assert f"is processing, held by checkout {start.checkout_id}\n" in shown.out


async def test_cleaning_says_how_many_carts_and_lines_and_why(
    holdfast: CommandLine, admin: shop.Connection, demo: TenantId, ana: BuyerKey
) -> None:
    await admin.execute("DELETE FROM products")
    cleaned = await holdfast.run("carts", "clean")
    assert (cleaned.code, cleaned.err) == (0, "")
    assert cleaned.out == "1 cart cleaned, 1 line removed\n       1 gone\n"
    assert (await holdfast.run("carts", "clean")).out == "0 carts cleaned, 0 lines removed\n"


async def test_the_audit_log_is_shown_newest_first_and_filtered(
    holdfast: CommandLine, db: Database, admin: shop.Connection, demo: TenantId, ana: BuyerKey
) -> None:
    await admin.execute("DELETE FROM products")
    await holdfast.run("carts", "clean")
    cart = (await cart_state(db, demo, ANA)).cart_id
    every = await holdfast.run("carts", "audit")
    assert (every.code, every.err) == (0, "")
    assert every.out.index(ME) < every.out.index(ana)
    assert every.out.endswith("\n2 entries\n")
    mine = await holdfast.run("carts", "audit", "--by", ME, "--cart", cart, "--since", "2020-01-01")
    assert ana not in mine.out
    assert mine.out.endswith("\n1 entry\n")
    assert (await holdfast.run("carts", "audit", "--until", "2020-01-01")).out == "0 entries\n"
    assert (await holdfast.run("carts", "audit", "--limit", "1")).out.endswith(
        "1 entry, and there may be more: see --limit and --until\n"
    )
    assert (await holdfast.run("carts", "audit", "--cart", "x")).code == 2
