"""What tenants' endpoints were sent, and asking for it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.audit import note
from db.database import Database, Transaction
from domain.checkout_events import HookKind
from domain.errors import Conflict, NotFound
from domain.hooks import DeliveryStatus
from domain.ids import Actor, HookDeliveryId, HookId, TenantId

MOST_REPLAYED = 1_000


@dataclass(frozen=True, slots=True)
class HookDelivery:
    """How a message stands. `answer`: the last HTTP status; `error`: why the last try did not get through."""

    id: HookDeliveryId
    kind: HookKind
    data: Mapping[str, Any]
    at: datetime
    status: DeliveryStatus
    attempts: int
    replays: int
    tried_at: datetime | None
    answer: int | None
    error: str | None
    ended_at: datetime | None


_COLUMNS = "id::text AS id, kind, data, at, status, attempts, replays, tried_at, answer, error, ended_at"
_PLACE = "SELECT at FROM hook_deliveries WHERE tenant_id = %(tenant)s AND id = %(delivery)s"
# A statement for each choice, because each is read off an index in its order only when it says just what it wants.
_LIST = f"""
    SELECT {_COLUMNS} FROM hook_deliveries d
    WHERE d.tenant_id = %(tenant)s AND d.endpoint_id = %(hook)s{{more}}
    ORDER BY d.at DESC, d.id DESC LIMIT %(limit)s
"""
_OLDER = " AND (d.at, d.id) < (%(at)s, %(delivery)s::uuid)"
_LOCK_HOOK = """
    SELECT enabled FROM hook_endpoints
    WHERE tenant_id = %(tenant)s AND id = %(hook)s AND deleted_at IS NULL FOR KEY SHARE
"""
_AGAIN = """
    UPDATE hook_deliveries d SET status = 'pending', ended_at = NULL, replays = d.replays + 1,
        wake_at = clock_timestamp()
    FROM (SELECT id FROM hook_deliveries
          WHERE tenant_id = %(tenant)s AND endpoint_id = %(hook)s AND {which}
          ORDER BY at LIMIT %(most)s FOR UPDATE) chosen
    WHERE d.tenant_id = %(tenant)s AND d.id = chosen.id
    RETURNING d.id
"""
_ONE_AGAIN = _AGAIN.replace("{which}", "id = %(delivery)s")
_FAILED_AGAIN = _AGAIN.replace("{which}", "status = 'failed'")
_TEST = """
    INSERT INTO hook_deliveries (tenant_id, id, endpoint_id, kind, data, at)
    VALUES (%(tenant)s, %(delivery)s, %(hook)s, 'webhook.test', '{}', clock_timestamp()) ON CONFLICT DO NOTHING
"""


async def list_deliveries(
    db: Database,
    tenant: TenantId,
    hook: HookId,
    *,
    status: DeliveryStatus | None = None,
    before: HookDeliveryId | None = None,
    limit: int = 50,
) -> list[HookDelivery]:
    """An endpoint's messages, newest first; after (older than) `before`, the last one of the page before."""
    values: dict[str, Any] = {"tenant": tenant, "hook": hook, "delivery": before, "limit": limit}
    more = f" AND status = '{status.value}'" if status else ""
    if before is not None:
        [place] = await db.run(tenant, (_PLACE, values))
        if not place:
            return []
        values["at"], more = place[0]["at"], more + _OLDER
    [rows] = await db.run(tenant, (_LIST.format(more=more), values))
    return [_delivery(row) for row in rows]


async def replay_delivery(db: Database, tenant: TenantId, actor: Actor, hook: HookId, delivery: HookDeliveryId) -> None:
    """Send it once more, whatever became of it. Raises NotFound; Conflict when the endpoint is disabled."""
    if not await _again(db, tenant, actor, hook, _ONE_AGAIN, delivery):
        raise NotFound


async def replay_failed(db: Database, tenant: TenantId, actor: Actor, hook: HookId) -> int:
    """Send all that failed once more, the oldest first, 1,000 at most; how many. Raises as `replay_delivery`."""
    return await _again(db, tenant, actor, hook, _FAILED_AGAIN, None)


async def send_test(db: Database, tenant: TenantId, hook: HookId, delivery: HookDeliveryId) -> None:
    """A message that tells of nothing. Raises as `replay_delivery`."""
    values = {"tenant": tenant, "hook": hook, "delivery": delivery}

    async def work(transaction: Transaction) -> None:
        await _require_enabled(transaction, values)
        await transaction.commit((_TEST, values))

    await db.transact(tenant, work)


async def _again(
    db: Database, tenant: TenantId, actor: Actor, hook: HookId, sql: str, delivery: HookDeliveryId | None
) -> int:
    values = {"tenant": tenant, "hook": hook, "delivery": delivery, "most": MOST_REPLAYED}
    subject = f"hook_delivery:{delivery}" if delivery else f"hook:{hook}"

    async def work(transaction: Transaction) -> int:
        await _require_enabled(transaction, values)
        rows, _ = await transaction.commit((sql, values), note(tenant, actor, "hook.replayed", subject))
        return len(rows)

    return await db.transact(tenant, work)


async def _require_enabled(transaction: Transaction, values: Mapping[str, Any]) -> None:
    [rows] = await transaction.read((_LOCK_HOOK, values))
    if not rows:
        raise NotFound
    if not rows[0]["enabled"]:
        raise Conflict("The endpoint is disabled: enable it first.")


def _delivery(row: DictRow) -> HookDelivery:
    return HookDelivery(**{**row, "kind": HookKind(row["kind"]), "status": DeliveryStatus(row["status"])})
