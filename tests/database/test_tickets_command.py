"""`holdfast tickets`: verifying without a database, and what it says of orders."""

from __future__ import annotations

from pathlib import Path

import pytest
import segno

from activities.fulfilment.document import document_of
from activities.fulfilment.pdf_pages import render
from activities.fulfilment.ticket_keys import TicketKeys
from db.database import Database
from db.fulfilment_steps import read_steps
from db.statistics import count_order
from domain.fulfilment import OrderRef, Step
from domain.ids import TenantId
from tests.support import shop
from tests.support.checkouts import Rows
from tests.support.command import CommandLine
from tests.support.fulfilment import ORDER, a_line, an_order
from tests.support.sold import sold

KEY = "k1:WVlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWVk="
PUBLIC = TicketKeys.parse(KEY).public()
DOCUMENT = document_of(OrderRef(TenantId("demo"), ORDER), an_order(a_line(1, quantity=2)), TicketKeys.parse(KEY), "es")
NOWHERE = CommandLine("postgresql://nobody@127.0.0.1:1/nothing")


@pytest.fixture
def holdfast(database_url: str) -> CommandLine:
    return CommandLine(database_url)


async def test_a_ticket_is_verified_with_the_public_key_and_nothing_else(tmp_path: Path) -> None:
    token = DOCUMENT.tickets[0].token
    (tmp_path / "tickets.pdf").write_bytes(render(DOCUMENT.as_json())[0])
    segno.make(token).save(str(tmp_path / "code.png"), scale=4)
    for given, count in ((token, 1), (str(tmp_path / "code.png"), 1), (str(tmp_path / "tickets.pdf"), 2)):
        done = await NOWHERE.run("ticket", "verify", given, "--public-key", PUBLIC, HOLDFAST_ENV="production")
        assert done.code == 0, done.err
        assert done.out.count(f"good: demo, order {ORDER}, line 1, unit") == count


async def test_a_ticket_that_is_not_ours_is_exit_1(tmp_path: Path) -> None:
    changed = DOCUMENT.tickets[0].token[:-4] + "AAAA"
    done = await NOWHERE.run("ticket", "verify", changed, "--public-key", PUBLIC)
    assert (done.code, done.out) == (1, "NOT GOOD: its signature is not good\n")
    segno.make("https://example.com").save(str(tmp_path / "code.png"), scale=4)
    done = await NOWHERE.run("ticket", "verify", str(tmp_path / "code.png"), "--public-key", PUBLIC)
    assert (done.code, done.out) == (1, "NOT GOOD: this is not a ticket of Holdfast\n")


@pytest.mark.parametrize("given", ["/nonexistent", "nothing", "HF1"])
async def test_what_cannot_be_read_is_one_clear_line(given: str) -> None:
    done = await NOWHERE.run("ticket", "verify", given, "--public-key", PUBLIC)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)


async def test_the_public_keys_are_printed_and_verify(tmp_path: Path) -> None:
    done = await NOWHERE.run("tickets", "public-key", HOLDFAST_TICKET_KEYS=KEY)
    assert (done.code, done.out.strip()) == (0, PUBLIC)
    assert "WVlZ" not in done.out
    bad = await NOWHERE.run("ticket", "verify", "HF1.a.b", "--public-key", "k1:short")
    assert (bad.code, bad.err.count("\n")) == (1, 1)


async def test_sending_again_is_written_down_even_when_temporal_is_away(
    holdfast: CommandLine, db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    _, order = await sold(db, tenant, await shop.make_product(admin, tenant))
    away = {"TEMPORAL_ADDRESS": "127.0.0.1:1"}
    done = await holdfast.run("tickets", "resend", order, "--tenant", tenant, **away)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        f"mail of order {order}: replay 1 is asked for",
        "Temporal does not answer: the consistency check starts it when it is back",
    ]
    steps = await read_steps(db, tenant, order)
    assert steps is not None
    assert [(one.step, one.replay) for one in steps] == [(Step.MAIL, 1)]
    shown = await holdfast.run("tickets", "show", order, "--tenant", tenant)
    assert shown.out == "mail (replay 1): pending, attempts: 0\n"
    assert str(await rows.value("SELECT actor FROM audit_log WHERE action = 'fulfilment.replayed'")).startswith("cli:")


async def test_what_cannot_be_done_is_one_clear_line_and_exit_code_1(
    holdfast: CommandLine, db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    _, order = await sold(db, tenant, await shop.make_product(admin, tenant))
    for arguments in (
        ("resend", "no-uuid", "--tenant", tenant),
        ("resend", ORDER, "--tenant", tenant),
        ("resend", order, "--tenant", "nobody"),
        ("resend", order, "--step", "tea", "--tenant", tenant),
        ("show", ORDER, "--tenant", tenant),
    ):
        done = await holdfast.run("tickets", *arguments)
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1), done.err


async def test_sales_are_printed_as_json_lines(
    holdfast: CommandLine, db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    _, order = await sold(db, tenant, await shop.make_product(admin, tenant), 2)
    await count_order(db, tenant, order)
    done = await holdfast.run("tickets", "sales", "--since", "2026-01-01", "--tenant", tenant)
    assert '"orders": 1, "units": 2, "revenue": 2000}' in done.out
