"""The purge deletes what is over, and nothing that is not; on real PostgreSQL."""

from __future__ import annotations

import asyncio
import time

import pytest

from api.caller import Caller
from api.jws import RefusedToken
from api.revocations import Revocations
from db.database import Database
from db.purge import purge
from db.revocations import revoke
from domain.ids import TenantId
from domain.purging import Purged
from tests.support import shop
from tests.support.checkouts import Rows

OVER, NOT_YET = "now() - interval '61 seconds'", "now() + interval '30 seconds'"
JUST_OVER = "now() - interval '30 seconds'"
"""Clocks differ, and verifying is lenient: as good as not yet."""


async def fill(admin: shop.Connection, tenant: TenantId, name: str, end: str) -> None:
    """One of everything that ends at `end`: `name` is the session's, the cart's owner's and the revocation's."""
    user = await shop.make_user(admin, tenant, name)
    login = f"(SELECT id FROM logins WHERE user_id = '{user}')"
    for statement in (
        "INSERT INTO logins (tenant_id, id, user_id, expires_at, tokens_until)"
        f" VALUES (%(t)s, gen_random_uuid(), '{user}', {end}, {end})",
        "INSERT INTO refresh_tokens (tenant_id, hash, login_id, expires_at)"
        f" VALUES (%(t)s, sha256(%(n)s::bytea), {login}, {end})",
        f"INSERT INTO revocations (tenant_id, id, reason, expires_at) VALUES (%(t)s, %(n)s, 'test', {end})",
        f"INSERT INTO sessions (tenant_id, id, expires_at) VALUES (%(t)s, %(n)s, {end})",
        "INSERT INTO carts (tenant_id, owner_key) VALUES (%(t)s, 'session:' || %(n)s)",
        "INSERT INTO cart_lines (tenant_id, cart_id, product_id, quantity)"
        " SELECT tenant_id, id, 1, 1 FROM carts WHERE tenant_id = %(t)s AND owner_key = 'session:' || %(n)s",
    ):
        await admin.execute(statement, {"t": tenant, "n": name})


async def names(rows: Rows, table: str, column: str) -> set[str]:
    return {row["name"] for row in await rows.all(f"SELECT {column} AS name FROM {table}")}


async def test_what_is_over_goes_at_every_tenant_and_what_is_not_stays(
    admin: shop.Connection, rows: Rows, database_url: str
) -> None:
    for _ in range(2):
        tenant = await shop.make_tenant(admin)
        await fill(admin, tenant, "over", OVER)
        await fill(admin, tenant, "later", NOT_YET)
    assert await purge(database_url) == Purged(refresh_tokens=2, logins=2, revocations=2, sessions=2, carts=2)
    for table, column in [
        ("revocations", "id"),
        ("sessions", "id"),
        ("carts", "substr(owner_key, 9)"),
        ("logins", "(SELECT username FROM users u WHERE u.id = user_id)"),
    ]:
        assert await names(rows, table, column) == {"later"}, table
    for table in ("refresh_tokens", "cart_lines"):
        assert await rows.value(f"SELECT count(*) FROM {table}") == 2, table
    assert await purge(database_url) == Purged()


async def test_what_is_only_just_over_stays_where_verifying_is_lenient(
    admin: shop.Connection, tenant: TenantId, database_url: str
) -> None:
    await fill(admin, tenant, "just", JUST_OVER)
    assert await purge(database_url) == Purged(revocations=1), "whose own end has a margin in it"


async def test_a_revocation_survives_the_purge_until_its_token_is_over(
    db: Database, tenant: TenantId, database_url: str
) -> None:
    now = int(time.time())
    lives, over = (
        Caller(tenant, "42", frozenset(), now + 2, "lives"),
        Caller(tenant, "42", frozenset(), now - 61, "over"),
    )
    for caller in (lives, over):
        await revoke(db, tenant, caller.jti, "logout", caller.expires_at)
    assert await purge(database_url) == Purged(revocations=1)
    await asyncio.sleep(2.1)
    assert await purge(database_url) == Purged(), "verifying is lenient for some seconds more"
    with pytest.raises(RefusedToken):
        await Revocations(db).check(lives)
    await Revocations(db).check(over)


async def test_a_login_whose_access_token_goes_on_stays(
    admin: shop.Connection, tenant: TenantId, database_url: str
) -> None:
    await fill(admin, tenant, "over", OVER)
    await admin.execute(f"UPDATE logins SET tokens_until = {NOT_YET}")
    assert (await purge(database_url)).logins == 0


async def test_a_revoked_login_stays_until_its_own_end(
    admin: shop.Connection, tenant: TenantId, database_url: str
) -> None:
    await fill(admin, tenant, "later", NOT_YET)
    await admin.execute("UPDATE logins SET revoked_at = now()")
    assert await purge(database_url) == Purged()


async def test_a_session_whose_cart_is_held_waits(
    admin: shop.Connection, rows: Rows, tenant: TenantId, database_url: str
) -> None:
    await fill(admin, tenant, "over", OVER)
    await admin.execute("UPDATE carts SET status = 'processing'")
    done = await purge(database_url)
    assert (done.sessions, done.carts) == (0, 0)
    await admin.execute("UPDATE carts SET status = 'available'")
    done = await purge(database_url)
    assert (done.sessions, done.carts) == (1, 1)
    assert await rows.value("SELECT count(*) FROM cart_lines") == 0


async def test_a_users_cart_and_another_tenants_session_of_the_same_name_stay(
    admin: shop.Connection, rows: Rows, tenant: TenantId, database_url: str
) -> None:
    other = await shop.make_tenant(admin)
    await fill(admin, tenant, "same", OVER)
    await fill(admin, other, "same", NOT_YET)
    await admin.execute("INSERT INTO carts (tenant_id, owner_key) VALUES (%s, 'user:same')", (tenant,))
    assert (await purge(database_url)).carts == 1
    kept = await rows.all("SELECT tenant_id, owner_key FROM carts ORDER BY owner_key")
    assert [(row["tenant_id"], row["owner_key"]) for row in kept] == [(other, "session:same"), (tenant, "user:same")]


async def test_many_go_in_small_batches(admin: shop.Connection, tenant: TenantId, database_url: str) -> None:
    for number in range(7):
        await fill(admin, tenant, f"over{number}", OVER)
    assert await purge(database_url, batch=3) == Purged(7, 7, 7, 7, 7)
