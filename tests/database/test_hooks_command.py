"""`holdfast hooks`, run as a program on real PostgreSQL."""

from __future__ import annotations

import re

import pytest

from db.database import Database
from db.hook_deliveries import end_delivery
from db.hook_history import list_deliveries
from db.reserve import reserve
from db.settle import settle
from domain.hooks import DeliveryStatus, HookRef
from domain.ids import HookId, TenantId
from tests.support import shop
from tests.support.checkouts import Rows, a_start, cancel
from tests.support.command import CommandLine

URL = "http://127.0.0.1:8123/hooks"


@pytest.fixture
async def demo(admin: shop.Connection) -> TenantId:
    return await shop.make_tenant(admin, "demo")


@pytest.fixture
def holdfast(database_url: str) -> CommandLine:
    return CommandLine(database_url)


async def test_an_endpoint_from_the_command_line_to_its_end(
    holdfast: CommandLine, db: Database, admin: shop.Connection, rows: Rows, demo: TenantId
) -> None:
    made = await holdfast.run("hooks", "create", URL, "--kind", "hold.cancelled", "--kind", "refund.made")
    assert (made.code, made.err) == (0, ""), made
    hook, secret = re.fullmatch(r"endpoint ([0-9a-f-]{36})\nsecret   (whsec_\S+)\n", made.out).groups()  # type: ignore[union-attr]
    shown = await holdfast.run("hooks", "list")
    assert hook in shown.out
    assert URL in shown.out
    assert secret not in shown.out
    start = a_start(demo, {await shop.make_product(admin, demo): 1})
    await reserve(db, start)
    await settle(db, cancel(start.ref))
    [delivery] = await list_deliveries(db, demo, HookId(hook))
    await end_delivery(db, HookRef(demo, delivery.id), DeliveryStatus.FAILED, "tried_for_days")
    failed = await holdfast.run("hooks", "deliveries", hook, "--status", "failed")
    assert delivery.id in failed.out
    assert "tried_for_days" in failed.out
    assert (await holdfast.run("hooks", "replay", hook)).out == "1 on their way once more\n"
    assert (await holdfast.run("hooks", "replay", hook, delivery.id)).out == "1 on their way once more\n"
    tested = await holdfast.run("hooks", "test", hook)
    assert tested.out.startswith("delivery ")
    rotated = await holdfast.run("hooks", "rotate", hook, "--keep-hours", "1")
    assert re.fullmatch(r"secret whsec_\S+\n", rotated.out)
    assert secret not in rotated.out
    assert (await holdfast.run("hooks", "disable", hook)).out == f"endpoint {hook}: disabled (asked)\n"
    assert (await holdfast.run("hooks", "replay", hook)).err == "holdfast: The endpoint is disabled: enable it first.\n"
    assert (await holdfast.run("hooks", "enable", hook)).out == f"endpoint {hook}: yes\n"
    assert (await holdfast.run("hooks", "delete", hook)).code == 0
    assert (await holdfast.run("hooks", "list")).out == "0 endpoints\n"
    assert await rows.value("SELECT count(DISTINCT actor) FROM audit_log WHERE subject LIKE 'hook%%'") == 1


@pytest.mark.usefixtures("demo")
async def test_what_cannot_be_is_one_clear_message(holdfast: CommandLine) -> None:
    nowhere = "00000000-0000-4000-8000-000000000000"
    for arguments, said in (
        (("create", "https://10.0.0.1/", "--kind", "refund.made"), "public"),
        (("create", URL, "--kind", "webhook.test"), "it is one of"),
        (("deliveries", "x"), "UUID"),
        (("deliveries", nowhere), "holdfast: "),
        (("delete", nowhere), "holdfast: "),
    ):
        done = await holdfast.run("hooks", *arguments)
        assert done.code != 0, arguments
        assert said in done.err
        assert "Traceback" not in done.err
