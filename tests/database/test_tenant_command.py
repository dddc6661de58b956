"""`holdfast tenant`, run as a program on real PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import pty
import pwd
import sys

import pytest
import typer

from db.database import Database
from db.keyring import KeyRing
from db.reserve import reserve
from db.tenant_secrets import list_secrets, read_secret
from db.tenant_settings import read_settings
from domain.ids import Actor, TenantId
from domain.tenant_settings import LatePayments, TenantSettings, stored
from local.commands.tenants import _given
from settings import DEVELOPMENT_SECRET_KEYS
from tests.support import shop
from tests.support.catalogue import audit
from tests.support.checkouts import Rows, a_start
from tests.support.command import ROOT, CommandLine, Done

ME = Actor(f"cli:{pwd.getpwuid(os.getuid()).pw_name}")
SHOP = TenantId("corner")
NAME = "gateway/sandbox"
SECRET = "whsec_dGhlLXZlcnktc2VjcmV0LXNlY3JldC1vZi1hbHBoYQ=="
OLD, NEW = (f"k{n}:{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))


@pytest.fixture
def holdfast(database_url: str) -> CommandLine:
    return CommandLine(database_url)


async def made(holdfast: CommandLine, *settings: str) -> TenantId:
    done = await holdfast.run("tenant", "create", SHOP, "--name", "Corner [shop]", "--currency", "COP", *settings)
    assert (done.code, done.err) == (0, ""), done
    assert done.out.endswith(f"tenant {SHOP} is created\n")
    return SHOP


def table(done: Done) -> dict[str, str]:
    """The rows of a table of two columns."""
    rows = [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in done.out.splitlines() if "│" in line]
    return {row[0]: row[1] for row in rows}


async def test_a_tenant_is_created_with_the_defaults_shown_changed_and_listed(
    holdfast: CommandLine, db: Database, rows: Rows
) -> None:
    await made(holdfast, "hold_seconds=600")
    new = TenantSettings("Corner [shop]", "COP", hold_seconds=600)
    assert await read_settings(db, SHOP) == new

    taxes = '[{"name":"IVA","rate_basis_points":1900,"included":true,"valid_from":"2026-01-01"}]'
    change = ("auto_extend=false", "max_checkouts_per_owner=3", "late_payments=refund", f"tax_classes={taxes}")
    changed = await holdfast.run("tenant", "set", SHOP, *change, "whatsapp_number=+573001234567", "name=12")
    assert (changed.code, changed.err) == (0, "")
    assert changed.out.endswith(f"tenant {SHOP} is as shown\n")
    now = await read_settings(db, SHOP)
    assert (now.auto_extend, now.max_checkouts_per_owner, now.late_payments) == (False, 3, LatePayments.REFUND)
    assert (now.whatsapp_number, now.name, len(now.tax_classes)) == ("+573001234567", "12", 1)

    shown = await holdfast.run("tenant", "show", SHOP)
    found = table(shown)
    assert set(found) == set(stored(now))
    assert (found["hold_seconds"], found["auto_extend"], found["max_checkouts_per_address"]) == ("600", "false", "null")
    back = await holdfast.run("tenant", "set", SHOP, "max_checkouts_per_owner=null", "whatsapp_number=null")
    assert back.code == 0
    assert (await read_settings(db, SHOP)).whatsapp_number is None

    listed = await holdfast.run("tenant", "list")
    [line] = [line for line in listed.out.splitlines() if SHOP in line]
    assert [cell.strip() for cell in line.strip("│ ").split("│")] == ["corner", "12", "COP", "600 s", "3600 s", "false"]
    assert listed.out.endswith("1 tenants\n")
    noted = await audit(rows, SHOP, ME)
    assert [action for action, _, _, _ in noted] == ["tenant.created", "tenant.changed", "tenant.changed"]
    assert noted[0][3] == stored(new)


async def test_what_show_prints_set_takes(holdfast: CommandLine, db: Database, rows: Rows) -> None:
    await made(holdfast, 'tax_classes=[{"name":"A","rate_basis_points":1,"included":false,"valid_from":"2026-01-01"}]')
    before = await read_settings(db, SHOP)
    pairs = [f"{name}={value}" for name, value in table(await holdfast.run("tenant", "show", SHOP)).items()]
    again = await holdfast.run("tenant", "set", SHOP, *pairs)
    assert (again.code, again.err) == (0, "")
    assert await read_settings(db, SHOP) == before
    assert len(await audit(rows, SHOP, ME)) == 1


async def test_a_tenant_is_disabled_from_here_only(holdfast: CommandLine, db: Database) -> None:
    await made(holdfast)
    assert (await holdfast.run("tenant", "set", SHOP, "disabled=true")).code == 0
    assert (await read_settings(db, SHOP)).disabled


async def test_what_cannot_be_done_is_one_clear_line_and_exit_code_1(
    holdfast: CommandLine, db: Database, admin: shop.Connection, rows: Rows
) -> None:
    await made(holdfast)
    await reserve(db, a_start(SHOP, {await shop.make_product(admin, SHOP): 1}))
    run = holdfast.run
    again = await run("tenant", "create", SHOP, "--name", "Again", "--currency", "COP")
    bad_id = await run("tenant", "create", "No_Shop", "--name", "N", "--currency", "COP")
    unknown = await run("tenant", "create", "other", "--name", "N", "--currency", "XYZ")
    currency = await run("tenant", "set", SHOP, "currency=USD")
    short = await run("tenant", "set", SHOP, "maximum_seconds=10")
    missing = await run("tenant", "show", "nowhere")
    set_missing = await run("tenant", "set", "nowhere", "max_lines=1")
    for done, said in (
        (again, "There is a tenant 'corner' already."),
        (bad_id, "id: It is no id of a tenant."),
        (unknown, "currency: This currency is not known."),
        (currency, "There are checkouts in the present currency"),
        (short, "maximum_seconds: The maximum (10) is below the hold time (900)."),
        (missing, "There is no tenant 'nowhere'."),
        (set_missing, "There is no tenant 'nowhere'."),
    ):
        assert (done.code, done.out) == (1, ""), done
        assert done.err.startswith(f"holdfast: {said}"), done
        assert done.err.count("\n") == 1
    assert len(await audit(rows, SHOP, ME)) == 1
    assert (await holdfast.run("tenant", "list")).out.endswith("1 tenants\n")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["hold_seconds"], "key=value"),
        (["hold_seconds=soon"], "hold_seconds"),
        (["hold_seconds=1.5"], "hold_seconds"),
        (["hold_seconds=0"], "hold_seconds"),
        (["hold_seconds=null"], "hold_seconds"),
        (["auto_extend=1"], "auto_extend"),
        (["late_payments=keep"], "late_payments"),
        (["tax_classes=[1]"], "tax_classes.0"),
        (["tax_classes=" + "[" * 100_000], "tax_classes"),
        (["whatsapp_number=300"], "whatsapp_number"),
        (["max_lines=1", "max_lines=2"], "once"),
        (["id=another"], "id"),
        (["holdseconds=1"], "holdseconds"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(changes: list[str], named: str) -> None:
    with pytest.raises(typer.BadParameter, match=named):
        _given(changes)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("set", SHOP), "name something to change"),
        (("set", SHOP, "hold_seconds=soon"), "hold_seconds: Input should be a valid integer"),
        (("create", "new", "--name", "New"), "--currency"),
    ],
)
async def test_what_makes_no_sense_ends_with_exit_code_2(
    holdfast: CommandLine, rows: Rows, arguments: tuple[str, ...], named: str
) -> None:
    done = await holdfast.run("tenant", *arguments)
    assert (done.code, done.out) == (2, "")
    assert named in done.err
    assert "Traceback" not in done.err
    assert await rows.all("SELECT * FROM tenants") == []


async def test_a_secret_comes_from_standard_input_and_shows_nowhere(
    holdfast: CommandLine, db: Database, rows: Rows
) -> None:
    await made(holdfast)
    done = await holdfast.run("tenant", "secret", SHOP, NAME, given=f"{SECRET}\n", HOLDFAST_SECRET_KEYS=OLD)
    assert (done.code, done.err) == (0, "")
    assert await read_secret(db, SHOP, KeyRing.parse(OLD), NAME) == SECRET
    shown = await holdfast.run("tenant", "show", SHOP)
    assert f"secret {NAME}" in table(shown)
    assert (await audit(rows, SHOP, ME))[-1][:2] == ("secret.set", f"secret:{NAME}")

    both = f"{NEW},{OLD}"
    rotated = await holdfast.run("tenant", "rotate-secrets", HOLDFAST_SECRET_KEYS=both)
    assert (rotated.code, rotated.out) == (0, "1 sealed anew by key k2, 0 could not be opened\n")
    assert await read_secret(db, SHOP, KeyRing.parse(NEW), NAME) == SECRET
    lost = await holdfast.run("tenant", "rotate-secrets", HOLDFAST_SECRET_KEYS=OLD)
    assert (lost.code, lost.err) == (1, f"{SHOP} {NAME}: its key 'k2' is not in the key ring\n")

    deleted = await holdfast.run("tenant", "secret", SHOP, NAME, "--delete")
    assert (deleted.code, await list_secrets(db, SHOP)) == (0, [])
    again = await holdfast.run("tenant", "secret", SHOP, NAME, "--delete")
    assert (again.code, again.err) == (1, "holdfast: There is no such secret.\n")
    for each in (done, shown, rotated, lost, deleted):
        for hidden in (SECRET, *(ring.partition(":")[2] for ring in (OLD, NEW))):
            assert hidden not in each.out + each.err


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (NAME, "", "The secret is not good: a secret has 1 to 4000 characters."),
        (NAME, "whsec_not base64", "The secret is not good: a webhook secret is whsec_ followed by"),
        (NAME, "whsec_c2hvcnQ=", "The secret is not good: a webhook secret is whsec_ followed by"),
        ("gateway/nowhere", SECRET, "There is no secret of this name."),
    ],
)
async def test_a_bad_secret_is_refused_without_being_shown(
    holdfast: CommandLine, db: Database, name: str, given: str, said: str
) -> None:
    await made(holdfast)
    done = await holdfast.run("tenant", "secret", SHOP, name, given=given)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"holdfast: {said}")
    assert not given or given not in done.err
    assert await list_secrets(db, SHOP) == []


@pytest.mark.parametrize("ring", ["k1:short", f"{OLD},{OLD}"])
async def test_a_bad_key_ring_is_told_of_without_being_shown(holdfast: CommandLine, ring: str) -> None:
    done = await holdfast.run("tenant", "rotate-secrets", HOLDFAST_SECRET_KEYS=ring)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("holdfast: HOLDFAST_SECRET_KEYS: it is id:key,id:key with ids")
    assert OLD.partition(":")[2] not in done.err


async def test_production_does_not_begin_with_the_known_key(holdfast: CommandLine) -> None:
    secrets = {f"HOLDFAST_{name}": "s" * 40 for name in ("JWT_SECRET", "BUYER_HASH_KEY", "SANDBOX_GATEWAY_SECRET")}
    done = await holdfast.run(
        "tenant", "list", HOLDFAST_ENV="production", HOLDFAST_ALLOWED_HOSTS="shop.example.com", **secrets
    )
    assert (done.code, done.out) == (1, "")
    assert "HOLDFAST_SECRET_KEYS must be set" in done.err


async def test_a_database_that_is_away_is_one_clear_message() -> None:
    done = await CommandLine("postgresql://nobody@127.0.0.1:1/nothing").run("tenant", "list")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("holdfast: cannot use the database")
    assert "Traceback" not in done.err


async def test_at_a_terminal_a_secret_is_asked_for_without_being_shown(
    holdfast: CommandLine, db: Database, database_url: str
) -> None:
    await made(holdfast)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "HOLDFAST_ENV": "development", "HOLDFAST_DATABASE_URL": database_url}
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "cli.py", "tenant", "secret", SHOP, NAME, cwd=ROOT, env=environment, start_new_session=True,
        stdin=theirs, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert asking.stderr is not None
    async with asyncio.timeout(30):
        asked = await asking.stderr.readuntil(b": ")
        await asyncio.to_thread(os.write, ours, f"{SECRET}\n".encode())
        out, err = await asking.communicate()
    echoed = b""
    os.set_blocking(ours, False)
    with contextlib.suppress(BlockingIOError):  # Nothing at all was echoed.
        echoed = os.read(ours, 1000)
    os.close(ours)
    os.close(theirs)
    assert (asking.returncode, asked.endswith(f"{NAME}: ".encode())) == (0, True), err
    for shown in (asked, out, err, echoed):
        assert SECRET.encode() not in shown
    assert await read_secret(db, SHOP, KeyRing.parse(DEVELOPMENT_SECRET_KEYS), NAME) == SECRET
