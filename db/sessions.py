"""Anonymous buyers' sessions."""

from __future__ import annotations

from dataclasses import dataclass

from db.database import Database
from domain.errors import NotFound
from domain.ids import BuyerKey, SessionId, TenantId

HOLD_MARGIN_SECONDS = 3600
"""A session outlives the longest hold by this: time to log in, to read the order, to start again."""

LONGEST_SECONDS = 366 * 86_400
"""As long as any token may last."""

LIFETIME = """
    SELECT least(greatest(%(seconds)s, maximum_seconds::bigint + %(margin)s), %(longest)s) AS seconds
    FROM tenants WHERE id = %(tenant)s AND NOT disabled
"""
OPEN = f"""
    INSERT INTO sessions (tenant_id, id, expires_at)
    SELECT %(tenant)s, %(session)s, clock_timestamp() + make_interval(secs => lifetime.seconds)
    FROM ({LIFETIME}) AS lifetime
    ON CONFLICT (tenant_id, id) DO NOTHING
"""
READ = """
    SELECT s.user_key, r.id IS NOT NULL AS revoked
    FROM sessions s LEFT JOIN revocations r ON r.tenant_id = s.tenant_id AND r.id = s.id
    WHERE s.tenant_id = %(tenant)s AND s.id = %(session)s
"""


@dataclass(frozen=True, slots=True)
class SessionState:
    """Whom a session went to when its buyer logged in (None: nobody yet), and whether its token is revoked."""

    user_key: BuyerKey | None
    revoked: bool

    def may_go_to(self, user: BuyerKey) -> bool:
        """Whether this user may take it over. Whoever took it over may ask again: the answer may have been lost."""
        return self.user_key == user or (self.user_key is None and not self.revoked)


async def open_session(db: Database, tenant: TenantId, session: SessionId, seconds: int) -> int:
    """Note a new session that lasts `seconds`, or longer where the tenant's holds can; how many seconds it lasts.

    Raises NotFound when there is no such tenant.
    """
    values = {
        "tenant": tenant, "session": session, "seconds": seconds, "margin": HOLD_MARGIN_SECONDS,
        "longest": LONGEST_SECONDS,
    }  # fmt: skip
    [_, rows] = await db.run(tenant, (OPEN, values), (LIFETIME, values))
    if not rows:
        raise NotFound("There is no shop at this address.")
    return int(rows[0]["seconds"])


async def read_session(db: Database, tenant: TenantId, session: SessionId) -> SessionState | None:
    """How the session stands; None when there is none."""
    [rows] = await db.run(tenant, (READ, {"tenant": tenant, "session": session}))
    return SessionState(rows[0]["user_key"], rows[0]["revoked"]) if rows else None
