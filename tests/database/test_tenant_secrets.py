"""Tenants' secrets on real PostgreSQL: sealed, kept apart, never told, and sealed anew when the keys rotate."""

from __future__ import annotations

import asyncio
import base64

import psycopg
import pytest
import structlog

from activities.gateways.secrets import FRESH_SECONDS, TenantSecrets
from db.database import Database
from db.keyring import KeyRing, Unreadable
from db.tenant_admin import rotate_secrets
from db.tenant_secrets import delete_secret, list_secrets, put_secret, read_secret
from domain.errors import NotFound, Unavailable
from domain.ids import Actor, TenantId
from tests.database.test_tenant_settings import as_tenant, only
from tests.support import shop
from tests.support.catalogue import audit
from tests.support.checkouts import Rows

BOSS, OPERATOR = Actor("user:boss"), Actor("cli:root")
NAME = "gateway/sandbox"
SECRET = "whsec_dGhlLXZlcnktc2VjcmV0LXNlY3JldC1vZi1hbHBoYQ=="


def key(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode()


OLD, NEW = f"k1:{key('o')}", f"k2:{key('n')}"
RING = KeyRing.parse(OLD)


@pytest.fixture
async def other(admin: shop.Connection) -> TenantId:
    return await shop.make_tenant(admin, "other")


async def test_a_secret_is_set_read_replaced_and_deleted(db: Database, tenant: TenantId) -> None:
    assert await read_secret(db, tenant, RING, NAME) is None
    await put_secret(db, tenant, BOSS, RING, NAME, SECRET)
    first = (await list_secrets(db, tenant))[0]
    assert (first.name, await read_secret(db, tenant, RING, NAME)) == (NAME, SECRET)
    await put_secret(db, tenant, BOSS, RING, NAME, "another")
    [second] = await list_secrets(db, tenant)
    assert (await read_secret(db, tenant, RING, NAME), second.updated_at > first.updated_at) == ("another", True)
    await delete_secret(db, tenant, BOSS, NAME)
    assert (await read_secret(db, tenant, RING, NAME), await list_secrets(db, tenant)) == (None, [])
    with pytest.raises(NotFound):
        await delete_secret(db, tenant, BOSS, NAME)


async def test_the_audit_log_says_who_changed_which_secret_and_nothing_of_what_it_is(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    await put_secret(db, tenant, BOSS, RING, NAME, SECRET)
    await put_secret(db, tenant, BOSS, KeyRing.parse(f"{NEW},{OLD}"), NAME, SECRET)
    await delete_secret(db, tenant, BOSS, NAME)
    assert await audit(rows, tenant, BOSS) == [
        ("secret.set", f"secret:{NAME}", None, {"key_id": "k1"}),
        ("secret.set", f"secret:{NAME}", None, {"key_id": "k2"}),
        ("secret.deleted", f"secret:{NAME}", {"key_id": "k2"}, None),
    ]


async def test_no_table_holds_the_secret_in_clear(db: Database, admin: shop.Connection, tenant: TenantId) -> None:
    await put_secret(db, tenant, BOSS, RING, NAME, SECRET)
    cursor = await admin.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
    for (table,) in await cursor.fetchall():
        found = await admin.execute(f"SELECT count(*) FROM {table} t WHERE strpos(t::text, %s) > 0", (SECRET,))
        assert await found.fetchone() == (0,), table
        raw = SECRET.encode().hex()  # As a bytea shows.
        found = await admin.execute(f"SELECT count(*) FROM {table} t WHERE strpos(t::text, %s) > 0", (raw,))
        assert await found.fetchone() == (0,), table


async def test_a_row_moved_to_another_tenant_does_not_open_there(
    db: Database, admin: shop.Connection, tenant: TenantId, other: TenantId
) -> None:
    await put_secret(db, tenant, BOSS, RING, NAME, SECRET)
    await admin.execute("UPDATE tenant_secrets SET tenant_id = %s", (other,))
    assert await read_secret(db, tenant, RING, NAME) is None
    with pytest.raises(Unreadable):
        await read_secret(db, other, RING, NAME)
    await admin.execute("UPDATE tenant_secrets SET tenant_id = %s, name = 'gateway/another'", (tenant,))
    with pytest.raises(Unreadable):
        await read_secret(db, tenant, RING, "gateway/another")


async def test_hand_written_sql_under_the_services_role_reaches_no_others_secrets(
    db: Database, database_url: str, rows: Rows, tenant: TenantId, other: TenantId
) -> None:
    await put_secret(db, other, BOSS, RING, NAME, SECRET)
    before = await rows.all("SELECT * FROM tenant_secrets")
    for harmless in (
        "SELECT * FROM tenant_secrets",
        "SELECT * FROM tenant_secrets WHERE tenant_id = 'other'",
        "UPDATE tenant_secrets SET ciphertext = 'x' WHERE tenant_id = 'other'",
        "DELETE FROM tenant_secrets WHERE tenant_id = 'other'",
        "DELETE FROM tenant_secrets",
    ):
        assert await as_tenant(database_url, tenant, harmless) == 0, harmless
    columns = "INSERT INTO tenant_secrets (tenant_id, name, ciphertext, key_id) VALUES"
    for refused in (
        f"{columns} ('other', 'gateway/new', 'x', 'k1')",
        f"{columns} ('other', '{NAME}', 'x', 'k1') ON CONFLICT (tenant_id, name) DO UPDATE SET ciphertext = 'x'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await as_tenant(database_url, tenant, refused)
    await put_secret(db, tenant, BOSS, RING, NAME, "mine")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        await as_tenant(database_url, tenant, f"UPDATE tenant_secrets SET tenant_id = 'other', name = '{NAME}2'")
    assert [row for row in await rows.all("SELECT * FROM tenant_secrets") if row["tenant_id"] == other] == before


async def test_rotation_seals_everything_by_the_first_key_and_is_done_once(
    db: Database, database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId, other: TenantId
) -> None:
    both = KeyRing.parse(f"{NEW},{OLD}")
    await put_secret(db, tenant, BOSS, RING, NAME, SECRET)
    await put_secret(db, other, BOSS, RING, NAME, "theirs")
    [before] = await list_secrets(db, tenant)
    done = await rotate_secrets(database_url, OPERATOR, both)
    assert (done.resealed, list(done.unreadable)) == (2, [])
    only_new = KeyRing.parse(NEW)
    assert [await read_secret(db, one, only_new, NAME) for one in (tenant, other)] == [SECRET, "theirs"]
    assert [before] == await list_secrets(db, tenant), "it is the same secret as before"
    again = await rotate_secrets(database_url, OPERATOR, both)
    assert (again.resealed, list(again.unreadable)) == (0, [])
    for one in (tenant, other):
        rotated = ("secret.rotated", f"secret:{NAME}", {"key_id": "k1"}, {"key_id": "k2"})
        await admin.execute("DELETE FROM audit_log WHERE actor = %s", (BOSS,))
        assert await audit(rows, one, OPERATOR) == [rotated]


async def test_rotation_names_what_it_cannot_open_and_does_the_rest(
    db: Database, database_url: str, rows: Rows, tenant: TenantId, other: TenantId
) -> None:
    await put_secret(db, other, BOSS, KeyRing.parse(f"k0:{key('lost')[:43]}="), NAME, "lost")
    await put_secret(db, tenant, BOSS, RING, NAME, SECRET)
    before = await only(rows, "SELECT * FROM tenant_secrets WHERE tenant_id = 'other'")
    done = await rotate_secrets(database_url, OPERATOR, KeyRing.parse(f"{NEW},{OLD}"))
    assert (done.resealed, list(done.unreadable)) == (1, [(other, NAME, "its key 'k0' is not in the key ring")])
    assert await only(rows, "SELECT * FROM tenant_secrets WHERE tenant_id = 'other'") == before


async def test_a_secret_set_while_keys_rotate_is_not_put_back(
    db: Database, database_url: str, tenant: TenantId
) -> None:
    both = KeyRing.parse(f"{NEW},{OLD}")
    for number in range(10):
        await put_secret(db, tenant, BOSS, RING, NAME, "before")
        await asyncio.gather(
            rotate_secrets(database_url, OPERATOR, both), put_secret(db, tenant, BOSS, RING, NAME, f"after {number}")
        )
        assert await read_secret(db, tenant, both, NAME) == f"after {number}"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_secret_is_read_and_opened_once_in_a_few_seconds(
    db: Database, admin: shop.Connection, tenant: TenantId, other: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, opened = Clock(), 0
    really_open = KeyRing.open

    def counted(*given: object) -> str:
        nonlocal opened
        opened += 1
        return really_open(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(KeyRing, "open", counted)
    secrets = TenantSecrets(db, RING, clock)
    await put_secret(db, tenant, BOSS, RING, NAME, SECRET)
    assert set(await asyncio.gather(*(secrets.get(tenant, NAME) for _ in range(50)))) == {SECRET}
    assert (await secrets.get(other, NAME), opened) == (None, 1)
    await put_secret(db, tenant, BOSS, RING, NAME, "new")
    clock.now += FRESH_SECONDS - 0.1
    assert (await secrets.get(tenant, NAME), opened) == (SECRET, 1)
    clock.now += 0.2
    assert (await secrets.get(tenant, NAME), opened) == ("new", 2)
    await delete_secret(db, tenant, BOSS, NAME)
    secrets.forget(tenant, NAME)
    assert await secrets.get(tenant, NAME) is None


async def test_a_secret_that_cannot_be_opened_is_told_and_nothing_stands_in_for_it(
    db: Database, tenant: TenantId
) -> None:
    await put_secret(db, tenant, BOSS, RING, NAME, SECRET)
    secrets = TenantSecrets(db, KeyRing.parse(NEW))
    with structlog.testing.capture_logs() as logs, pytest.raises(Unavailable) as refused:
        await secrets.get(tenant, NAME)
    assert [(line["event"], line["tenant"], line["name"]) for line in logs] == [("secret_unreadable", tenant, NAME)]
    assert SECRET not in f"{logs} {refused.value!r} {vars(secrets)}"
    assert key("n") not in f"{logs} {refused.value!r} {vars(secrets)}"


async def test_what_is_kept_does_not_show_the_secret(db: Database, tenant: TenantId) -> None:
    await put_secret(db, tenant, BOSS, RING, NAME, SECRET)
    secrets = TenantSecrets(db, RING)
    assert await secrets.get(tenant, NAME) == SECRET
    assert SECRET not in repr(vars(secrets))
