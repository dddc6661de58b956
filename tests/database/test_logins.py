"""Refresh tokens rotate, are good once, and a login ends as a whole; on real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
import uuid
from dataclasses import dataclass

import pytest

from db.database import Database
from db.logins import (
    Login,
    LoginId,
    NewLogin,
    RefreshRefusal,
    Refused,
    close_login,
    open_login,
    revoke_by_hand,
    rotate,
)
from db.revocations import MARGIN_SECONDS, all_revoked
from domain.ids import Actor, SessionId, TenantId
from tests.support import shop
from tests.support.checkouts import Rows

WEEK, QUARTER = 604_800, 900
_numbers = itertools.count()


def a_token() -> bytes:
    """The hash of a refresh token."""
    return hashlib.sha256(f"token {next(_numbers)}".encode()).digest()


@dataclass(frozen=True)
class Family:
    """A login and the hash of its first refresh token."""

    tenant: TenantId
    user: str
    login: LoginId
    token: bytes


@pytest.fixture
async def family(db: Database, admin: shop.Connection, tenant: TenantId) -> Family:
    return await a_login(db, tenant, await shop.make_user(admin, tenant))


async def a_login(
    db: Database, tenant: TenantId, user: str, seconds: int = WEEK, access_seconds: int = QUARTER
) -> Family:
    made = Family(tenant, user, LoginId(str(uuid.uuid4())), a_token())
    await open_login(db, tenant, NewLogin(made.login, user, seconds, access_seconds), made.token)
    return made


async def revoked(db: Database, family: Family) -> bool:
    return family.login in (await all_revoked(db, family.tenant)).ids


async def test_a_refresh_token_gives_the_next_and_is_then_used(db: Database, family: Family) -> None:
    token = family.token
    for _ in range(3):
        following = a_token()
        outcome = await rotate(db, family.tenant, token, following, QUARTER)
        assert isinstance(outcome, Login)
        assert (outcome.id, outcome.user_id, outcome.scopes) == (family.login, family.user, frozenset({"buyer"}))
        assert WEEK - 60 < outcome.seconds <= WEEK, "a login lasts from its beginning, however often it is refreshed"
        token = following
    assert not await revoked(db, family)


async def test_a_used_token_ends_the_whole_login(db: Database, family: Family) -> None:
    following = a_token()
    await rotate(db, family.tenant, family.token, following, QUARTER)
    for token in (family.token, following, family.token):
        outcome = await rotate(db, family.tenant, token, a_token(), QUARTER)
        why = RefreshRefusal.REPLAYED if token == family.token else RefreshRefusal.REVOKED
        assert outcome == Refused(why, family.login)
        assert await revoked(db, family)


async def test_of_parallel_uses_exactly_one_wins_and_the_login_ends(
    db: Database, admin: shop.Connection, family: Family
) -> None:
    for _ in range(10):
        one = await a_login(db, family.tenant, family.user)
        outcomes = await asyncio.gather(*(rotate(db, one.tenant, one.token, a_token(), QUARTER) for _ in range(6)))
        assert sum(isinstance(outcome, Login) for outcome in outcomes) == 1
        assert outcomes.count(Refused(RefreshRefusal.REPLAYED, one.login)) == 5
        assert await revoked(db, one)
        cursor = await admin.execute("SELECT count(*) FROM refresh_tokens WHERE login_id = %s", (one.login,))
        assert await cursor.fetchone() == (2,)


async def test_our_own_second_try_after_a_lost_connection_is_no_replay(db: Database, family: Family) -> None:
    following = a_token()
    first = await rotate(db, family.tenant, family.token, following, QUARTER)
    again = await rotate(db, family.tenant, family.token, following, QUARTER)
    assert isinstance(again, Login)
    assert isinstance(first, Login)
    assert again.id == first.id
    assert not await revoked(db, family)
    assert isinstance(await rotate(db, family.tenant, following, a_token(), QUARTER), Login)


async def test_opening_a_login_twice_is_opening_it_once(db: Database, rows: Rows, family: Family) -> None:
    new = NewLogin(family.login, family.user, WEEK, QUARTER)
    await open_login(db, family.tenant, new, family.token)
    assert len(await rows.all("SELECT * FROM refresh_tokens")) == 1


async def test_a_token_nobody_has_and_one_that_is_over_give_nothing(db: Database, family: Family) -> None:
    assert await rotate(db, family.tenant, a_token(), a_token(), QUARTER) == Refused(RefreshRefusal.UNKNOWN)
    short = await a_login(db, family.tenant, family.user, seconds=0)
    assert await rotate(db, short.tenant, short.token, a_token(), QUARTER) == Refused(
        RefreshRefusal.EXPIRED, short.login
    )
    assert not await revoked(db, short)


async def test_another_tenants_token_gives_nothing(db: Database, admin: shop.Connection, family: Family) -> None:
    other = await shop.make_tenant(admin)
    assert await rotate(db, other, family.token, a_token(), QUARTER) == Refused(RefreshRefusal.UNKNOWN)
    await close_login(db, other, family.login, "logout", int(time.time()))
    assert isinstance(await rotate(db, family.tenant, family.token, a_token(), QUARTER), Login)


async def test_a_disabled_user_gets_no_more_tokens_and_a_changed_one_the_scopes_of_now(
    db: Database, admin: shop.Connection, family: Family
) -> None:
    await admin.execute("UPDATE users SET scopes = '{admin}' WHERE id = %s", (family.user,))
    following = a_token()
    outcome = await rotate(db, family.tenant, family.token, following, QUARTER)
    assert isinstance(outcome, Login)
    assert outcome.scopes == {"admin"}
    await admin.execute("UPDATE users SET disabled_at = now() WHERE id = %s", (family.user,))
    outcome = await rotate(db, family.tenant, following, a_token(), QUARTER)
    assert outcome == Refused(RefreshRefusal.DISABLED, family.login)


async def test_after_a_logout_refresh_tokens_give_nothing(db: Database, family: Family) -> None:
    await close_login(db, family.tenant, family.login, "logout", int(time.time()))
    assert await revoked(db, family)
    outcome = await rotate(db, family.tenant, family.token, a_token(), QUARTER)
    assert outcome == Refused(RefreshRefusal.REVOKED, family.login)


async def test_of_a_logout_and_a_refresh_at_once_nothing_survives(db: Database, rows: Rows, family: Family) -> None:
    for _ in range(10):
        one = await a_login(db, family.tenant, family.user, access_seconds=60)
        now = int(time.time())
        await asyncio.gather(
            rotate(db, one.tenant, one.token, a_token(), 3000), close_login(db, one.tenant, one.login, "logout", now)
        )
        [login] = await rows.all("SELECT revoked_at, tokens_until FROM logins WHERE id = %s", one.login)
        [revocation] = await rows.all("SELECT expires_at FROM revocations WHERE id = %s", one.login)
        assert login["revoked_at"] is not None
        assert revocation["expires_at"] >= login["tokens_until"], "no access token outlives the revocation"


async def test_a_logins_revocation_lasts_until_its_last_access_token_is_over(
    db: Database, rows: Rows, family: Family
) -> None:
    await rotate(db, family.tenant, family.token, a_token(), 3000)
    await close_login(db, family.tenant, family.login, "logout", int(time.time()) + 10)
    [row] = await rows.all("SELECT extract(epoch FROM expires_at - clock_timestamp()) AS seconds FROM revocations")
    assert 3000 < row["seconds"] <= 3000 + MARGIN_SECONDS


async def test_the_session_that_a_login_took_over_is_revoked(
    db: Database, admin: shop.Connection, rows: Rows, family: Family
) -> None:
    until = int(time.time()) + 5000
    new = NewLogin(LoginId(str(uuid.uuid4())), family.user, WEEK, QUARTER, SessionId("anonymous"), until)
    token, following = a_token(), a_token()
    await open_login(db, family.tenant, new, token)
    assert "anonymous" in (await all_revoked(db, family.tenant)).ids
    [row] = await rows.all("SELECT extract(epoch FROM expires_at)::bigint AS until FROM revocations")
    assert row["until"] == until + MARGIN_SECONDS
    outcome = await rotate(db, family.tenant, token, following, QUARTER)
    assert isinstance(outcome, Login)
    assert outcome.session == "anonymous", "and is still named after a refresh"


async def test_a_login_that_is_ended_by_hand_is_in_the_audit_log(db: Database, rows: Rows, family: Family) -> None:
    by = Actor("cli:ops")
    await revoke_by_hand(db, family.tenant, family.login, family.login, int(time.time()) + 60, by)
    outcome = await rotate(db, family.tenant, family.token, a_token(), QUARTER)
    assert outcome == Refused(RefreshRefusal.REVOKED, family.login)
    [row] = await rows.all("SELECT actor, action, subject FROM audit_log")
    assert row == {"actor": by, "action": "token.revoked", "subject": f"token:{family.login}"}


async def test_only_a_hash_is_kept(admin: shop.Connection) -> None:
    cursor = await admin.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'refresh_tokens' ORDER BY 1"
    )
    assert [name for (name,) in await cursor.fetchall()] == [
        "expires_at", "hash", "issued_at", "login_id", "tenant_id", "used_at",
    ]  # fmt: skip
