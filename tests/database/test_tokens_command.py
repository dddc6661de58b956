"""`holdfast tokens`, run as a program on real PostgreSQL."""

from __future__ import annotations

import re
import time
import uuid

import pytest

from api.app import tokens_from
from api.caller import CallerKind, Scope
from api.jws import MAX_LIFETIME_SECONDS
from db.database import Database
from db.logins import LoginId, NewLogin, RefreshRefusal, Refused, open_login, rotate
from db.revocations import all_revoked
from domain.ids import SessionId, TenantId
from tests.support import shop
from tests.support.api import api_settings
from tests.support.checkouts import Rows
from tests.support.command import CommandLine


@pytest.fixture
async def demo(admin: shop.Connection) -> TenantId:
    """The tenant that commands mean when they name none."""
    return await shop.make_tenant(admin, "demo")


@pytest.fixture
def holdfast(database_url: str) -> CommandLine:
    return CommandLine(database_url)


async def test_an_issued_token_is_all_that_is_on_standard_output(
    holdfast: CommandLine, database_url: str, rows: Rows, demo: TenantId
) -> None:
    done = await holdfast.run("tokens", "issue", "storefront", "--hours", "2")
    assert done.code == 0, done.err
    caller = tokens_from(api_settings(database_url)).verify(done.out.strip())
    assert (caller.tenant, caller.subject, caller.kind) == (demo, "storefront", CallerKind.SERVICE)
    assert 7000 < caller.expires_at - time.time() <= 7200
    assert f"holdfast tokens revoke {caller.jti} --tenant demo" in done.err
    [row] = await rows.all("SELECT action, subject, after FROM audit_log")
    assert (row["action"], row["subject"]) == ("token.issued", f"token:{caller.jti}")
    assert row["after"]["scopes"] == ["service"]
    assert done.out.strip() not in str(row)


async def test_a_token_is_revoked_by_itself_or_by_its_id(
    holdfast: CommandLine, db: Database, rows: Rows, demo: TenantId
) -> None:
    one, two = [(await holdfast.run("tokens", "issue", "storefront")) for _ in range(2)]
    ids = [found.group(1) for done in (one, two) if (found := re.search(r"^id (\w+),", done.err))]
    for given in (one.out.strip(), ids[1]):
        done = await holdfast.run("tokens", "revoke", given)
        assert (done.code, done.err) == (0, "")
    assert (await all_revoked(db, demo)).ids == set(ids)
    left = {row["id"]: row["left"] for row in await rows.all(
        "SELECT id, extract(epoch FROM expires_at - now()) AS left FROM revocations"
    )}  # fmt: skip
    assert 86_000 < left[ids[0]] < 87_000, "until the token is over"
    assert left[ids[1]] > MAX_LIFETIME_SECONDS, "by its id alone: until any token would be over"
    assert await rows.value("SELECT count(*) FROM audit_log WHERE action = 'token.revoked'") == 2


@pytest.mark.parametrize("by_token", [True, False])
async def test_a_login_is_ended_by_its_token_or_its_id(
    holdfast: CommandLine, db: Database, admin: shop.Connection, database_url: str, demo: TenantId, by_token: bool
) -> None:
    user, login = await shop.make_user(admin, demo), LoginId(str(uuid.uuid4()))
    await open_login(db, demo, NewLogin(login, user, 600, 600), b"a" * 32)
    token = tokens_from(api_settings(database_url)).issue(demo, user, {Scope.BUYER}, 600, sid=login)
    done = await holdfast.run("tokens", "revoke", token if by_token else login)
    assert done.code == 0, done.err
    assert (await all_revoked(db, demo)).ids == {login}
    assert await rotate(db, demo, b"a" * 32, b"b" * 32, 60) == Refused(RefreshRefusal.REVOKED, login)


async def test_a_session_is_ended_by_its_token(
    holdfast: CommandLine, db: Database, database_url: str, demo: TenantId
) -> None:
    token = tokens_from(api_settings(database_url)).issue_session(demo, SessionId("anonymous"), 600)
    assert (await holdfast.run("tokens", "revoke", token)).code == 0
    assert (await all_revoked(db, demo)).ids == {"anonymous"}


async def test_what_cannot_be_done_is_said_in_one_line(
    holdfast: CommandLine, database_url: str, demo: TenantId
) -> None:
    over = tokens_from(api_settings(database_url)).issue(demo, "42", {Scope.BUYER}, -60)
    for arguments, message in [
        (("issue", "x", "--tenant", "nowhere"), "there is no tenant 'nowhere'"),
        (("issue", "x", "--scope", "root"), "--scope is one of buyer, service, admin, operator"),
        (("issue", "a b"), "a token's subject must be 1 to 128 visible ASCII characters, its tenant a tenant id"),
        (("revoke", over), "it is over, so there is nothing to revoke"),
        (("revoke", over[:-9] + "A" * 9), "not a token of ours (signature)"),
        (("revoke", "a b"), "give a token as it was printed, or an id of 1 to 128 visible ASCII characters"),
        (("revoke", "x", "--tenant", "nowhere"), "there is no tenant 'nowhere'"),
    ]:
        done = await holdfast.run("tokens", *arguments)
        assert (done.code, done.out, done.err) == (1, "", f"holdfast: {message}\n")


async def test_the_purge_says_what_it_deleted(holdfast: CommandLine, admin: shop.Connection, demo: TenantId) -> None:
    await admin.execute(
        "INSERT INTO revocations (tenant_id, id, reason, expires_at) VALUES (%s, 'x', 'test', now() - '1 s'::interval)",
        (demo,),
    )
    done = await holdfast.run("tokens", "purge")
    assert done.code == 0, done.err
    assert [line.split(None, 1) for line in done.out.splitlines()] == [
        ["0", "refresh tokens"], ["0", "logins"], ["1", "revocations"], ["0", "sessions"], ["0", "carts"],
        ["0", "line metadata"], ["0", "reconciliation"], ["0", "contacts"], ["0", "events"],
    ]  # fmt: skip
