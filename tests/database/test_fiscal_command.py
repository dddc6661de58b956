"""`holdfast fiscal` and taxes of products, run as a program on real PostgreSQL."""

from __future__ import annotations

import json

import pytest

from db.database import Database
from db.tenant_settings import change_settings, read_settings
from domain.ids import TenantId
from tests.support import shop
from tests.support.catalogue import ADMIN
from tests.support.checkouts import Rows
from tests.support.command import CommandLine
from tests.support.fiscal import numbers, sell


@pytest.fixture
async def demo(admin: shop.Connection) -> TenantId:
    """The tenant that commands mean when they name none."""
    return await shop.make_tenant(admin, "demo")


@pytest.fixture
def holdfast(database_url: str) -> CommandLine:
    return CommandLine(database_url)


RANGE = ("--valid-from", "2026-01-01", "--valid-until", "2099-12-31", "--authorisation", "Resolution 1")


async def test_a_series_is_added_used_and_reported(
    holdfast: CommandLine, db: Database, admin: shop.Connection, rows: Rows, demo: TenantId
) -> None:
    product = await shop.make_product(admin, demo)
    added = await holdfast.run("fiscal", "series", "add", "invoices", "--prefix", "SETT-", "--padding", "4")
    assert (added.code, added.err) == (0, ""), added
    assert added.out.endswith("series invoices is there\n")
    used = await holdfast.run("tenant", "set", "demo", "fiscal_series=invoices")
    assert (used.code, used.err) == (0, ""), used
    assert (await read_settings(db, demo)).fiscal_series == "invoices"
    for _ in range(2):
        await sell(db, demo, product)
    assert await numbers(rows, demo) == [None, None]

    waiting = await holdfast.run("fiscal", "report")
    assert waiting.code == 0
    assert "invoices: alert: waiting" in waiting.out
    ranged = await holdfast.run("fiscal", "range", "add", "invoices", "--first", "1", "--last", "9", *RANGE)
    assert (ranged.code, ranged.err) == (0, ""), ranged
    assert await numbers(rows, demo) == ["SETT-0001", "SETT-0002"]
    listed = await holdfast.run("fiscal", "range", "list", "invoices")
    assert "Resolution 1" in listed.out
    assert listed.out.endswith("1 ranges\n")
    assert "in use" in (await holdfast.run("fiscal", "series", "list")).out

    await admin.execute("UPDATE orders SET fiscal_sequence = 5 WHERE fiscal_sequence = 2")
    report = await holdfast.run("fiscal", "report", "--series", "invoices", "--json")
    assert report.code == 3
    [found] = json.loads(report.out)
    assert (found["good"], found["missing"], found["first_missing"], found["wrong"]) == (False, 3, 2, 1)
    await admin.execute("UPDATE orders SET fiscal_sequence = 2 WHERE fiscal_sequence = 5")


async def test_what_cannot_be_done_is_one_clear_line(holdfast: CommandLine, demo: TenantId) -> None:
    missing = await holdfast.run("fiscal", "range", "add", "none", "--first", "1", "--last", "9", *RANGE)
    assert (missing.code, missing.err) == (1, "holdfast: There is no such series.\n")
    bad = await holdfast.run("fiscal", "series", "add", "a", "--prefix", "A1")
    assert (bad.code, bad.err) == (1, "holdfast: prefix: It is no prefix.\n")
    unknown = await holdfast.run("fiscal", "report", "--series", "none")
    assert (unknown.code, unknown.err) == (1, "holdfast: there is no series 'none'\n")
    setting = await holdfast.run("tenant", "set", "demo", "fiscal_series=none")
    assert (setting.code, setting.err) == (1, "holdfast: fiscal_series: There is no such series.\n")


async def test_a_product_gets_a_tax_class_and_loses_it(
    holdfast: CommandLine, db: Database, rows: Rows, demo: TenantId
) -> None:
    tax = {"name": "IVA", "rate_basis_points": 1900, "included": True, "valid_from": "2020-01-01"}
    await change_settings(db, demo, ADMIN, {"tax_classes": [tax]})
    added = await holdfast.run("products", "add", "Mug", "--price", "2000", "--tax-class", "IVA")
    assert (added.code, added.err) == (0, ""), added
    assert "IVA" in added.out
    assert (await holdfast.run("products", "set", "1", "--no-tax")).code == 0
    assert await rows.value("SELECT tax_class FROM products") is None
    refused = await holdfast.run("products", "set", "1", "--tax-class", "other")
    assert (refused.code, refused.err) == (1, "holdfast: tax_class: There is no such tax class.\n")
