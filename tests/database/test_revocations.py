"""What each process knows to be revoked: soon, without a query for each request, and never too little."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from api.caller import Caller, CallerKind
from api.jws import RefusedToken
from api.revocations import ALL_ANEW_SECONDS, FRESH_SECONDS, GRACE_SECONDS, Revocations
from db.database import Database, Rows, Statement, app_conninfo
from db.revocations import revoke
from domain.errors import Unavailable
from domain.ids import TenantId
from tests.support import shop

SOON = int(time.time()) + 600


class Watched(Database):
    """A real database that counts how often it is asked, and can be told to be down."""

    asked = 0
    down = False

    async def run(self, tenant: TenantId, *statements: Statement) -> list[Rows]:
        self.asked += 1
        if self.down:
            raise Unavailable("down")
        return await super().run(tenant, *statements)


@dataclass
class Process:
    """One API process's knowledge, with a clock that the test moves."""

    db: Watched
    now: float = 1000.0
    revocations: Revocations = field(init=False)

    def __post_init__(self) -> None:
        self.revocations = Revocations(self.db, clock=lambda: self.now)

    async def refuses(self, caller: Caller) -> bool:
        try:
            await self.revocations.check(caller)
        except RefusedToken as error:
            return error.rule == "revoked"
        return False


@pytest.fixture
async def watched(database_url: str) -> AsyncIterator[Watched]:
    db = Watched(database_url, size=4, name="holdfast-test")
    await db.open()
    yield db
    await db.close()


@pytest.fixture
def process(watched: Watched) -> Process:
    return Process(watched)


def a_caller(tenant: TenantId, jti: str = "token", sid: str = "login") -> Caller:
    return Caller(tenant, "42", frozenset(), SOON, jti, CallerKind.USER, sid)


async def test_a_token_its_login_and_nothing_else_is_refused(
    process: Process, db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    other = await shop.make_tenant(admin)
    await revoke(db, tenant, "token", "test", SOON)
    await revoke(db, tenant, "session", "test", SOON)
    assert await process.refuses(a_caller(tenant))
    assert await process.refuses(a_caller(tenant, jti="another", sid="session"))
    assert not await process.refuses(a_caller(tenant, jti="another", sid=""))
    assert not await process.refuses(a_caller(other))


async def test_the_process_that_revokes_knows_at_once_and_another_within_a_second(
    process: Process, watched: Watched, db: Database, tenant: TenantId
) -> None:
    another = Process(watched)
    caller = a_caller(tenant)
    assert not await process.refuses(caller)
    assert not await another.refuses(caller)
    await revoke(db, tenant, "login", "logout", SOON)
    process.revocations.add(tenant, "login")
    assert await process.refuses(caller)
    assert not await another.refuses(caller), "asked less than a second ago"
    another.now += FRESH_SECONDS
    assert await another.refuses(caller)


async def test_the_database_is_asked_once_a_second_however_many_requests_there_are(
    process: Process, tenant: TenantId
) -> None:
    caller = a_caller(tenant)
    for second in range(3):
        await asyncio.gather(*(process.refuses(caller) for _ in range(50)))
        assert process.db.asked == second + 1
        process.now += FRESH_SECONDS


async def test_a_revocation_that_commits_late_is_not_missed(
    process: Process, database_url: str, tenant: TenantId
) -> None:
    caller = a_caller(tenant)
    async with shop.connect(database_url) as slow:
        await slow.execute("BEGIN")
        await slow.execute(
            "INSERT INTO revocations (tenant_id, id, reason, expires_at) VALUES (%s, 'token', 'test', now() + '1 day')",
            (tenant,),
        )
        assert not await process.refuses(caller)
        await asyncio.sleep(0.05)
        process.now += FRESH_SECONDS
        assert not await process.refuses(caller), "its stamp is before this look, its commit after it"
        await slow.execute("COMMIT")
    process.now += FRESH_SECONDS
    assert await process.refuses(caller)


async def test_while_the_database_is_down_what_is_known_goes_on_for_seconds_and_then_all_is_refused(
    process: Process, db: Database, tenant: TenantId
) -> None:
    good, bad = a_caller(tenant), a_caller(tenant, "revoked", "")
    await revoke(db, tenant, "revoked", "test", SOON)
    assert not await process.refuses(good)
    process.db.down = True
    process.now += GRACE_SECONDS
    assert not await process.refuses(good)
    assert await process.refuses(bad)
    asked = process.db.asked
    process.now += 0.01
    for _ in range(20):
        with pytest.raises(Unavailable):
            await process.refuses(good)
    assert process.db.asked == asked, "a database that is down is asked once a second"
    process.db.down = False
    process.now += FRESH_SECONDS
    assert not await process.refuses(good)
    assert await process.refuses(bad)


async def test_a_process_that_never_reached_the_database_lets_nobody_in(process: Process, tenant: TenantId) -> None:
    process.db.down = True
    with pytest.raises(Unavailable):
        await process.refuses(a_caller(tenant))


async def test_what_is_over_is_forgotten_and_what_is_not_stays(
    process: Process, db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    await revoke(db, tenant, "login", "test", SOON)
    await revoke(db, tenant, "old", "test", SOON)
    assert await process.refuses(a_caller(tenant))
    assert await process.refuses(a_caller(tenant, "old", ""))
    await admin.execute("UPDATE revocations SET expires_at = now() WHERE id = 'old'")
    process.now += ALL_ANEW_SECONDS
    assert not await process.refuses(a_caller(tenant, "old", ""))
    assert await process.refuses(a_caller(tenant))


async def test_a_clock_that_was_set_back_hides_nothing_for_long(
    process: Process, db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    assert not await process.refuses(a_caller(tenant))
    await revoke(db, tenant, "login", "test", SOON)
    await admin.execute("UPDATE revocations SET revoked_at = now() - interval '1 hour'")
    process.now += ALL_ANEW_SECONDS
    assert await process.refuses(a_caller(tenant))


async def test_a_tenant_that_does_not_exist_lets_nobody_in(process: Process) -> None:
    with pytest.raises(RefusedToken) as error:
        await process.revocations.check(a_caller(TenantId("nowhere")))
    assert error.value.rule == "tenant"


async def test_revoking_again_never_shortens(db: Database, admin: shop.Connection, tenant: TenantId) -> None:
    for until in (SOON, SOON - 300, SOON + 300):
        await revoke(db, tenant, "login", "test", until)
    cursor = await admin.execute("SELECT extract(epoch FROM expires_at)::bigint - 60 FROM revocations")
    assert await cursor.fetchall() == [(SOON + 300,)]


def test_a_watched_database_connects_as_the_application_does(database_url: str) -> None:
    assert "role=holdfast_app" in app_conninfo(database_url)
