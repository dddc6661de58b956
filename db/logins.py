"""Logins: families of refresh tokens, each good once. Only their SHA-256 is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from db.audit import note
from db.database import Database, Statement
from db.revocations import MARGIN_SECONDS, revoke_statement
from domain.ids import Actor, SessionId, TenantId

LoginId = NewType("LoginId", str)
"""A UUID in its canonical form: the `sid` of the login's access tokens."""

OPEN = """
    INSERT INTO logins (tenant_id, id, user_id, session_id, expires_at, tokens_until)
    SELECT %(tenant)s, %(login)s, %(user)s, %(session)s, clock_timestamp() + make_interval(secs => %(seconds)s),
        clock_timestamp() + make_interval(secs => least(%(seconds)s, %(access)s))
    ON CONFLICT (tenant_id, id) DO NOTHING
"""
FIRST = """
    INSERT INTO refresh_tokens (tenant_id, hash, login_id, expires_at)
    SELECT tenant_id, %(token)s, id, expires_at FROM logins WHERE tenant_id = %(tenant)s AND id = %(login)s
    ON CONFLICT (tenant_id, hash) DO NOTHING
"""
# The family's row is locked first: of two uses of one token the second waits, and then sees the first.
LOCK = """
    SELECT l.id FROM refresh_tokens t JOIN logins l ON l.tenant_id = t.tenant_id AND l.id = t.login_id
    WHERE t.tenant_id = %(tenant)s AND t.hash = %(token)s FOR UPDATE OF l
"""
ROTATE = """
    WITH used AS (
        UPDATE refresh_tokens t SET used_at = clock_timestamp()
        FROM logins l, users u
        WHERE t.tenant_id = %(tenant)s AND t.hash = %(token)s AND t.used_at IS NULL AND t.expires_at > clock_timestamp()
            AND l.tenant_id = t.tenant_id AND l.id = t.login_id AND l.revoked_at IS NULL
            AND u.tenant_id = l.tenant_id AND u.id = l.user_id AND u.disabled_at IS NULL
        RETURNING t.tenant_id, t.login_id, t.expires_at
    ), next AS (
        INSERT INTO refresh_tokens (tenant_id, hash, login_id, expires_at)
        SELECT tenant_id, %(next)s, login_id, expires_at FROM used
        RETURNING tenant_id, login_id
    )
    UPDATE logins l
    SET tokens_until = greatest(
        tokens_until, least(expires_at, clock_timestamp() + make_interval(secs => %(access)s))
    )
    FROM next WHERE l.tenant_id = next.tenant_id AND l.id = next.login_id
"""
# A used token whose successor is not the one of this very request comes from a second holder: one of the two stole it.
# (With this request's successor there, it is our own second try after a lost connection.)
REVOKE_REPLAYED = """
    WITH replayed AS (
        UPDATE logins l SET revoked_at = clock_timestamp()
        FROM refresh_tokens t
        WHERE t.tenant_id = %(tenant)s AND t.hash = %(token)s AND t.used_at IS NOT NULL
            AND NOT EXISTS (SELECT FROM refresh_tokens n WHERE n.tenant_id = t.tenant_id AND n.hash = %(next)s)
            AND l.tenant_id = t.tenant_id AND l.id = t.login_id AND l.revoked_at IS NULL
        RETURNING l.tenant_id, l.id, l.tokens_until
    )
    INSERT INTO revocations (tenant_id, id, reason, expires_at)
    SELECT tenant_id, id::text, 'replayed', tokens_until + make_interval(secs => %(margin)s) FROM replayed
    ON CONFLICT (tenant_id, id) DO NOTHING
"""
OUTCOME = """
    SELECT l.id::text AS login, l.user_id::text AS user_id, l.session_id, u.scopes, l.revoked_at IS NOT NULL AS revoked,
        u.disabled_at IS NOT NULL AS disabled, t.used_at IS NOT NULL AS used,
        EXISTS (SELECT FROM refresh_tokens n WHERE n.tenant_id = t.tenant_id AND n.hash = %(next)s) AS rotated,
        extract(epoch FROM l.expires_at - clock_timestamp())::integer AS seconds
    FROM refresh_tokens t
    JOIN logins l ON l.tenant_id = t.tenant_id AND l.id = t.login_id
    JOIN users u ON u.tenant_id = l.tenant_id AND u.id = l.user_id
    WHERE t.tenant_id = %(tenant)s AND t.hash = %(token)s
"""
CLOSE = """
    WITH closed AS (
        UPDATE logins SET revoked_at = coalesce(revoked_at, clock_timestamp())
        WHERE tenant_id = %(tenant)s AND id = %(login)s
        RETURNING tenant_id, id, tokens_until
    )
    INSERT INTO revocations (tenant_id, id, reason, expires_at)
    SELECT tenant_id, id::text, %(reason)s, tokens_until + make_interval(secs => %(margin)s) FROM closed
    ON CONFLICT (tenant_id, id) DO UPDATE SET expires_at = greatest(revocations.expires_at, excluded.expires_at)
"""


class RefreshRefusal(StrEnum):
    """Why a refresh token gives nothing. For the log; callers hear no difference."""

    UNKNOWN = "unknown"
    REPLAYED = "replayed"
    REVOKED = "revoked"
    DISABLED = "disabled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A login that begins. It lasts `seconds`, each of its access tokens `access_seconds`.

    `session`: the anonymous session that it took over, whose own token is over at `session_until` (since 1970).
    """

    id: LoginId
    user_id: str
    seconds: int
    access_seconds: int
    session: SessionId | None = None
    session_until: int = 0


@dataclass(frozen=True, slots=True)
class Login:
    """A login that stands. `scopes`: the user's, as they are now; `seconds`: until its last refresh token is over."""

    id: LoginId
    user_id: str
    scopes: frozenset[str]
    session: SessionId | None
    seconds: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A refresh token that gives nothing, and the login that it was of, if it is known."""

    why: RefreshRefusal
    login: LoginId | None = None


async def open_login(db: Database, tenant: TenantId, login: NewLogin, token: bytes) -> None:
    """Note a login, the SHA-256 of its first refresh token, and that an access token is issued with it.

    The token of the session that it took over is revoked.
    """
    values = {
        "tenant": tenant, "login": login.id, "user": login.user_id, "session": login.session, "token": token,
        "seconds": login.seconds, "access": login.access_seconds,
    }  # fmt: skip
    revoked = [revoke_statement(tenant, login.session, "adopted", login.session_until)] if login.session else []
    await db.run(tenant, (OPEN, values), (FIRST, values), *revoked)


async def rotate(
    db: Database, tenant: TenantId, token: bytes, next_token: bytes, access_seconds: int
) -> Login | Refused:
    """Use a refresh token, by its SHA-256, for the next one; revoke the whole login when it was used before.

    Of any number of parallel uses, exactly one gets the login. Notes that an access token is issued with it.
    """
    values = {
        "tenant": tenant, "token": token, "next": next_token, "access": access_seconds, "margin": MARGIN_SECONDS,
    }  # fmt: skip
    statements: list[Statement] = [(sql, values) for sql in (LOCK, ROTATE, REVOKE_REPLAYED, OUTCOME)]
    [*_, rows] = await db.run(tenant, *statements)
    if not rows:
        return Refused(RefreshRefusal.UNKNOWN)
    row = rows[0]
    if not row["rotated"]:
        return Refused(_refusal(row), LoginId(row["login"]))
    return Login(
        LoginId(row["login"]), row["user_id"], frozenset(row["scopes"]), row["session_id"], max(row["seconds"], 0)
    )


def _refusal(row: dict[str, bool]) -> RefreshRefusal:
    if row["used"]:
        return RefreshRefusal.REPLAYED
    if row["revoked"]:
        return RefreshRefusal.REVOKED
    return RefreshRefusal.DISABLED if row["disabled"] else RefreshRefusal.EXPIRED


async def close_login(db: Database, tenant: TenantId, login: LoginId, reason: str, until: int) -> None:
    """End a login: its refresh tokens give nothing any more, and its access tokens are revoked until they are over.

    `until`: when the access token at hand is over, in seconds since 1970; for a login that is purged already.
    """
    await db.run(tenant, *_closing(tenant, login, reason, until))


async def revoke_by_hand(
    db: Database, tenant: TenantId, id_: str, login: LoginId | None, until: int, by: Actor
) -> None:
    """Revoke a jti or sid whose last token is over at `until`, and note who did it. `login`: end this login as well."""
    statements = _closing(tenant, login, "by_hand", until) if login else []
    revoked = revoke_statement(tenant, id_, "by_hand", until)
    await db.run(tenant, revoked, *statements, note(tenant, by, "token.revoked", f"token:{id_}"))


def _closing(tenant: TenantId, login: LoginId, reason: str, until: int) -> list[Statement]:
    values = {"tenant": tenant, "login": login, "reason": reason, "margin": MARGIN_SECONDS}
    return [revoke_statement(tenant, login, reason, until), (CLOSE, values)]
