"""Messages for tenants' endpoints: tried, ended, looked at, asked for again. `db/telling.py` writes them.

A run may try one more than once; the row says whether there is still anything to do, and which replay it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.audit import note
from db.database import Database, Transaction
from db.hook_endpoints import opened_secrets
from db.keyring import KeyRing
from domain.checkout_events import HookKind
from domain.errors import Conflict, NotFound
from domain.hooks import FAILING_FOR, LOST_AFTER, DeliveryStatus, DisabledBecause, HookRef
from domain.ids import Actor, HookDeliveryId, HookId, TenantId

MOST_REPLAYED = 1_000


@dataclass(frozen=True, slots=True)
class ToSend:
    """A message, where it goes and what signs it. `data`: ids, amounts and states."""

    hook: HookId
    url: str
    secrets: Sequence[str]
    kind: HookKind
    data: Mapping[str, Any]
    at: datetime


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


_ONE = "tenant_id = %(tenant)s AND id = %(delivery)s"
_MINE = f"{_ONE} AND replays = %(replay)s AND ended_at IS NULL"
"""Not `status = 'pending'`: PostgreSQL would look for it among all that wait."""
_BEGIN = f"""
    UPDATE hook_deliveries SET attempts = attempts + 1, tried_at = clock_timestamp(),
        wake_at = clock_timestamp() + %(lost_after)s
    WHERE {_MINE}
    RETURNING endpoint_id
"""
_READ = """
    SELECT d.status, d.replays, d.kind, d.data, d.at, h.id::text AS hook, h.url, h.enabled, h.deleted_at,
           h.secret, h.secret_key_id,
           CASE WHEN h.previous_until > clock_timestamp() THEN h.previous_secret END AS previous_secret,
           h.previous_key_id
    FROM hook_deliveries d JOIN hook_endpoints h ON h.tenant_id = d.tenant_id AND h.id = d.endpoint_id
    WHERE d.tenant_id = %(tenant)s AND d.id = %(delivery)s
"""
_END = f"""
    UPDATE hook_deliveries SET status = %(status)s, answer = coalesce(%(answer)s, answer), error = %(error)s,
        ended_at = clock_timestamp()
    WHERE {_MINE}
"""
_FAILED_TRY = f"UPDATE hook_deliveries SET answer = %(answer)s, error = %(error)s WHERE {_MINE}"
_ENDPOINT = f"""tenant_id = %(tenant)s AND id = (SELECT endpoint_id FROM hook_deliveries WHERE {_ONE})"""
_WORKS = f"UPDATE hook_endpoints SET failing_since = NULL WHERE {_ENDPOINT} AND failing_since IS NOT NULL"
_FAILS = f"""
    UPDATE hook_endpoints SET failing_since = clock_timestamp()
    WHERE {_ENDPOINT} AND failing_since IS NULL AND enabled
"""
# Whoever disables it is the one who tells of it, however many messages fail at once.
_DISABLE = f"""
    WITH disabled AS (
        UPDATE hook_endpoints SET enabled = false, disabled_because = %(because)s
        WHERE {_ENDPOINT} AND enabled AND (%(because)s = 'gone' OR failing_since <= clock_timestamp() - %(failing_for)s)
        RETURNING tenant_id, id
    ), noted AS (
        INSERT INTO audit_log (tenant_id, actor, action, subject, before, after)
        SELECT tenant_id, 'system:hooks', 'hook.disabled', 'hook:' || id, jsonb_build_object('enabled', true),
               jsonb_build_object('enabled', false, 'because', %(because)s::text)
        FROM disabled
    )
    SELECT id::text AS id FROM disabled
"""
_COLUMNS = "id::text AS id, kind, data, at, status, attempts, replays, tried_at, answer, error, ended_at"
_PLACE = f"SELECT at FROM hook_deliveries WHERE {_ONE}"
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


async def begin_try(db: Database, ring: KeyRing, ref: HookRef) -> ToSend | DeliveryStatus | None:
    """What to send now. A status: it has ended, or ends now, because its endpoint wants nothing more. None: superseded,
    another run has it; or there is no such message.

    Raises Unreadable when the endpoint's secret cannot be opened.
    """
    values = {**_values(ref), "lost_after": LOST_AFTER}
    _, rows = await db.run(ref.tenant, (_BEGIN, values), (_READ, values))
    if not rows or rows[0]["replays"] != ref.replay:
        return None
    row, status = rows[0], DeliveryStatus(rows[0]["status"])
    if status is not DeliveryStatus.PENDING:
        return status
    if not row["enabled"]:
        await end_delivery(db, ref, DeliveryStatus.FAILED, "deleted" if row["deleted_at"] else "disabled")
        return DeliveryStatus.FAILED
    hook = HookId(row["hook"])
    secrets = opened_secrets(ring, ref.tenant, hook, row)
    return ToSend(hook, row["url"], secrets, HookKind(row["kind"]), row["data"], row["at"])


async def end_delivery(
    db: Database, ref: HookRef, status: DeliveryStatus, error: str | None = None, answer: int | None = None
) -> None:
    """It got through, or nothing more is tried. A repeat changes nothing."""
    values = {**_values(ref), "status": status, "error": error, "answer": answer}
    works = [(_WORKS, values)] if status is DeliveryStatus.DELIVERED else []
    await db.run(ref.tenant, (_END, values), *works)


async def note_failed_try(db: Database, ref: HookRef, error: str, answer: int | None, *, gone: bool) -> HookId | None:
    """Keep why it did not get through. The endpoint, when that is the last straw and it is disabled now."""
    because = DisabledBecause.GONE if gone else DisabledBecause.FAILING
    values = {**_values(ref), "error": error, "answer": answer, "because": because, "failing_for": FAILING_FOR}
    *_, disabled = await db.run(ref.tenant, (_FAILED_TRY, values), (_FAILS, values), (_DISABLE, values))
    return HookId(disabled[0]["id"]) if disabled else None


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


def _values(ref: HookRef) -> dict[str, Any]:
    return {"tenant": ref.tenant, "delivery": ref.delivery_id, "replay": ref.replay}
