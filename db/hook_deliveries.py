"""Messages for tenants' endpoints: tried, and ended. `db/telling.py` writes them, db/hook_history.py shows them.

A run may try one more than once; the row says whether there is still anything to do, and which replay it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.database import Database
from db.hook_secrets import opened_secrets
from db.keyring import KeyRing
from domain.checkout_events import HookKind
from domain.hooks import FAILING_FOR, LOST_AFTER, DeliveryStatus, DisabledBecause, HookRef
from domain.ids import HookId


@dataclass(frozen=True, slots=True)
class ToSend:
    """A message, where it goes and what signs it. `data`: ids, amounts and states."""

    hook: HookId
    url: str
    secrets: Sequence[str]
    kind: HookKind
    data: Mapping[str, Any]
    at: datetime


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


def _values(ref: HookRef) -> dict[str, Any]:
    return {"tenant": ref.tenant, "delivery": ref.delivery_id, "replay": ref.replay}
