"""`holdfast products`, run as a program on real PostgreSQL."""

from __future__ import annotations

import os
import pwd

import pytest

from db.catalogue import Product, find_product
from db.database import Database
from domain.ids import Actor, ProductId, TenantId
from tests.support import shop
from tests.support.catalogue import audit, hold
from tests.support.checkouts import Rows
from tests.support.command import CommandLine, Done

ME = Actor(f"cli:{pwd.getpwuid(os.getuid()).pw_name}")


@pytest.fixture
async def demo(admin: shop.Connection) -> TenantId:
    """The tenant that commands mean when they name none."""
    return await shop.make_tenant(admin, "demo")


@pytest.fixture
def holdfast(database_url: str) -> CommandLine:
    return CommandLine(database_url)


async def found(db: Database, tenant: TenantId, product: int) -> Product:
    read = await find_product(db, tenant, ProductId(product))
    assert read is not None
    return read


def refused(done: Done, message: str) -> bool:
    """Whether it ended with exit code 1, nothing but this on the error output, and no table."""
    return (done.code, done.out, done.err) == (1, "", f"holdfast: {message}\n")


async def test_a_product_is_added_changed_listed_and_deleted(
    holdfast: CommandLine, db: Database, rows: Rows, demo: TenantId
) -> None:
    added = await holdfast.run(
        "products", "add", "Mug [blue]", "--price", "2000", "--stock", "7", "--offer-price", "1500"
    )
    assert (added.code, added.err) == (0, ""), added
    assert "Prices in minor units of COP" in added.out
    assert added.out.endswith("product 1 is added\n")
    made = await found(db, demo, 1)
    assert (made.name, made.price, made.offer_price, made.total, made.available) == ("Mug [blue]", 2000, 1500, 7, True)

    change = ("--no-offer", "--stock", "9", "--unavailable", "--one-per-cart")
    changed = await holdfast.run("products", "set", "1", *change)
    assert (changed.code, changed.err) == (0, "")
    now = await found(db, demo, 1)
    assert (now.offer_price, now.total, now.available, now.one_per_cart, now.name) == (
        None,
        9,
        False,
        True,
        "Mug [blue]",
    )

    listed = await holdfast.run("products", "list")
    line = next(line for line in listed.out.splitlines() if "Mug" in line)
    shown = [cell.strip() for cell in line.strip("│┃ ").split("│")]
    assert shown == ["1", "Mug [blue]", "2000", "-", "9", "0", "0", "9", "not on sale, one per cart"]
    assert listed.out.endswith("1 products\n")

    deleted = await holdfast.run("products", "delete", "1")
    assert (deleted.code, deleted.out, deleted.err) == (0, "product 1 is deleted\n", "")
    actions = [(action, subject) for action, subject, _, _ in await audit(rows, demo, ME)]
    assert actions == [(f"product.{done}", "product:1") for done in ("created", "changed", "deleted")]


async def test_every_page_of_the_list_is_shown(holdfast: CommandLine, admin: shop.Connection, demo: TenantId) -> None:
    for number in range(101):
        await shop.make_product(admin, demo, name=f"Article-{number}")
    listed = await holdfast.run("products", "list")
    assert sum("Article-" in line for line in listed.out.splitlines()) == 101
    assert listed.out.endswith("101 products\n")


async def test_the_tenant_is_the_one_that_is_named(
    holdfast: CommandLine, db: Database, admin: shop.Connection, demo: TenantId
) -> None:
    other = await shop.make_tenant(admin, currency="EUR")
    added = await holdfast.run("products", "add", "Mug", "--price", "5", "--id", "40", "--tenant", other)
    assert "minor units of EUR" in added.out
    assert (await found(db, other, 40)).price == 5
    assert await find_product(db, demo, ProductId(40)) is None
    assert (await holdfast.run("products", "list")).out.endswith("0 products\n")
    assert refused(await holdfast.run("products", "list", "--tenant", "nowhere"), "there is no tenant 'nowhere'")


async def test_what_cannot_be_done_is_one_clear_message_and_exit_code_1(
    holdfast: CommandLine, db: Database, admin: shop.Connection, rows: Rows, demo: TenantId
) -> None:
    product = await shop.make_product(admin, demo, stock=5, price=1000, offer_price=800)
    await hold(db, demo, product, 3)
    run = holdfast.run
    below = "3 units are reserved and 0 sold: stock_total must be at least 3."
    assert refused(await run("products", "set", "1", "--stock", "2"), below)
    assert refused(await run("products", "delete", "1"), "Live holds keep 3 units of it.")
    assert refused(await run("products", "set", "99", "--stock", "2"), "there is no product 99")
    assert refused(await run("products", "delete", "123"), "there is no product 123")
    taken = await run("products", "add", "Mug", "--price", "1", "--id", "1")
    assert refused(taken, "There is a product with this id already.")
    dearer = "The offer price (800) must be below the price (800)."
    assert refused(await run("products", "set", "1", "--price", "800"), dearer)
    assert await audit(rows, demo, ME) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("add", "Mug"), "--price"),
        (("add", " ", "--price", "1"), "the name"),
        (("add", "Mug", "--price", "-1"), "--price"),
        (("add", "Mug", "--price", "12.50"), "--price"),
        (("add", "Mug", "--price", "1", "--stock", "2147483648"), "--stock"),
        (("add", "Mug", "--price", "1", "--id", "0"), "--id"),
        (("set", "1"), "name something to change"),
        (("set", "1", "--offer-price", "0"), "--offer-price"),
        (("set", "1", "--offer-price", "5", "--no-offer"), "exclude each other"),
        (("set", "Mug", "--price", "1"), "ID"),
        (("delete",), "ID"),
    ],
)
async def test_what_makes_no_sense_names_the_option_and_ends_with_exit_code_2(
    holdfast: CommandLine, rows: Rows, demo: TenantId, arguments: tuple[str, ...], named: str
) -> None:
    done = await holdfast.run("products", *arguments)
    assert (done.code, done.out) == (2, "")
    assert named in done.err
    assert "Traceback" not in done.err
    assert await audit(rows, demo, ME) == []


async def test_a_database_that_is_away_is_one_clear_message() -> None:
    done = await CommandLine("postgresql://nobody@127.0.0.1:1/nothing").run("products", "list")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith("holdfast: The database did not answer in time")
    assert "Traceback" not in done.err
