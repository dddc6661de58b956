"""Where a tenant wants to be told: its endpoints, each with a secret of its own, stored encrypted (db/keyring.py).

Every change is in the audit log, which never has a secret, nor an address's query.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from db.audit import note
from db.database import Database, Statement, Transaction, require_tenant
from db.hook_secrets import new_secret, seal_name
from db.keyring import KeyRing
from domain.checkout_events import HookKind
from domain.errors import Conflict, NotFound
from domain.hooks import MOST_ENDPOINTS, DisabledBecause
from domain.ids import Actor, HookId, TenantId


@dataclass(frozen=True, slots=True)
class NewHook:
    """An endpoint to make. `url` was checked."""

    url: str
    kinds: Sequence[HookKind]
    description: str | None = None


@dataclass(frozen=True, slots=True)
class HookChanges:
    """What to change; None: as it is."""

    url: str | None = None
    kinds: Sequence[HookKind] | None = None
    description: str | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class HookEndpoint:
    """An endpoint as its row says, without its secrets."""

    id: HookId
    url: str
    kinds: Sequence[HookKind]
    description: str | None
    enabled: bool
    disabled_because: DisabledBecause | None
    failing_since: datetime | None
    previous_until: datetime | None
    """Until when the secret before the newest one signs too."""
    created_at: datetime


_COLUMNS = """id::text AS id, url, kinds, description, enabled, disabled_because, failing_since,
    CASE WHEN previous_until > clock_timestamp() THEN previous_until END AS previous_until, created_at"""
_LIST = f"""
    SELECT {_COLUMNS} FROM hook_endpoints WHERE tenant_id = %(tenant)s AND deleted_at IS NULL ORDER BY created_at, id
"""
_THIS = "tenant_id = %(tenant)s AND id = %(hook)s AND deleted_at IS NULL"
_ONE = f"SELECT {_COLUMNS} FROM hook_endpoints WHERE {_THIS}"
_LOCK = f"SELECT {_COLUMNS}, secret FROM hook_endpoints WHERE {_THIS} FOR NO KEY UPDATE"
_CREATE = f"""
    WITH made AS (
        INSERT INTO hook_endpoints (tenant_id, id, url, kinds, description, secret, secret_key_id)
        SELECT %(tenant)s, %(hook)s, %(url)s, %(kinds)s, %(description)s, %(secret)s, %(key)s
        WHERE (SELECT count(*) FROM hook_endpoints
               WHERE tenant_id = %(tenant)s AND deleted_at IS NULL) < {MOST_ENDPOINTS}
        ON CONFLICT DO NOTHING RETURNING tenant_id, id
    )
    INSERT INTO audit_log (tenant_id, actor, action, subject, after)
    SELECT tenant_id, %(actor)s, 'hook.created', 'hook:' || id, %(seen)s::jsonb FROM made
"""
_CHANGE = """
    UPDATE hook_endpoints SET url = %(url)s, kinds = %(kinds)s, description = %(description)s, enabled = %(enabled)s,
        disabled_because = %(disabled_because)s, failing_since = %(failing_since)s
    WHERE tenant_id = %(tenant)s AND id = %(hook)s
"""
_ROTATE = """
    UPDATE hook_endpoints SET previous_secret = secret, previous_key_id = secret_key_id,
        previous_until = clock_timestamp() + %(keep)s, secret = %(secret)s, secret_key_id = %(key)s
    WHERE tenant_id = %(tenant)s AND id = %(hook)s
"""
_DELETE = """
    UPDATE hook_endpoints SET deleted_at = clock_timestamp(), enabled = false, disabled_because = 'asked',
        secret = NULL, secret_key_id = NULL, previous_secret = NULL, previous_key_id = NULL, previous_until = NULL
    WHERE tenant_id = %(tenant)s AND id = %(hook)s
"""


async def create_hook(
    db: Database, tenant: TenantId, actor: Actor, ring: KeyRing, new: NewHook
) -> tuple[HookEndpoint, str]:
    """Add an endpoint; it, and its secret, which nobody is ever shown again. Raises Conflict when there are many."""
    hook, secret = HookId(str(uuid.uuid4())), new_secret()
    sealed = ring.seal(require_tenant(tenant), seal_name(hook), secret)
    values = {
        "tenant": tenant, "hook": hook, "url": new.url, "kinds": list(new.kinds), "description": new.description,
        "secret": sealed.ciphertext, "key": sealed.key_id, "actor": actor, "seen": Jsonb(_seen(new.url, new.kinds)),
    }  # fmt: skip
    _, rows = await db.run(tenant, (_CREATE, values), (_ONE, values))
    if not rows:
        raise Conflict(f"A tenant has at most {MOST_ENDPOINTS} endpoints; delete one first.")
    return _endpoint(rows[0]), secret


async def list_hooks(db: Database, tenant: TenantId) -> list[HookEndpoint]:
    """The tenant's endpoints, oldest first."""
    [rows] = await db.run(tenant, (_LIST, {"tenant": tenant}))
    return [_endpoint(row) for row in rows]


async def read_hook(db: Database, tenant: TenantId, hook: HookId) -> HookEndpoint:
    """One of them. Raises NotFound."""
    [rows] = await db.run(tenant, (_ONE, {"tenant": tenant, "hook": hook}))
    if not rows:
        raise NotFound
    return _endpoint(rows[0])


async def change_hook(db: Database, tenant: TenantId, actor: Actor, hook: HookId, changes: HookChanges) -> HookEndpoint:
    """Change what is given. Enabling it forgets why it was disabled. Raises NotFound."""

    async def work(transaction: Transaction) -> HookEndpoint:
        before = _endpoint(await _locked(transaction, tenant, hook))
        after = _changed(before, changes)
        if after != before:
            values = {
                "tenant": tenant, "hook": hook, "url": after.url, "kinds": list(after.kinds),
                "description": after.description, "enabled": after.enabled, "disabled_because": after.disabled_because,
                "failing_since": after.failing_since,
            }  # fmt: skip
            noted = (_seen(one.url, one.kinds, enabled=one.enabled) for one in (before, after))
            await transaction.commit((_CHANGE, values), _noted(tenant, actor, hook, "changed", *noted))
        return after

    return await db.transact(tenant, work)


async def rotate_hook(
    db: Database, tenant: TenantId, actor: Actor, ring: KeyRing, hook: HookId, keep: timedelta
) -> tuple[HookEndpoint, str]:
    """Give it a new secret; the one before signs too for so long. Raises NotFound."""
    secret = new_secret()
    sealed = ring.seal(require_tenant(tenant), seal_name(hook), secret)

    async def work(transaction: Transaction) -> None:
        row = await _locked(transaction, tenant, hook)
        if bytes(row["secret"]) == sealed.ciphertext:  # An attempt whose answer was lost did it.
            return
        values = {"tenant": tenant, "hook": hook, "keep": keep, "secret": sealed.ciphertext, "key": sealed.key_id}
        await transaction.commit((_ROTATE, values), _noted(tenant, actor, hook, "secret_rotated"))

    await db.transact(tenant, work)
    return await read_hook(db, tenant, hook), secret


async def delete_hook(db: Database, tenant: TenantId, actor: Actor, hook: HookId) -> None:
    """Send it nothing more, and forget its secrets. What was sent stays to be seen. Raises NotFound."""
    deleting = False

    async def work(transaction: Transaction) -> None:
        nonlocal deleting
        try:
            row = await _locked(transaction, tenant, hook)
        except NotFound:
            if deleting:  # An attempt whose answer was lost did it.
                return
            raise
        deleting = True
        before = _endpoint(row)
        await transaction.commit(
            (_DELETE, {"tenant": tenant, "hook": hook}),
            _noted(tenant, actor, hook, "deleted", _seen(before.url, before.kinds)),
        )

    await db.transact(tenant, work)


async def _locked(transaction: Transaction, tenant: TenantId, hook: HookId) -> DictRow:
    [rows] = await transaction.read((_LOCK, {"tenant": tenant, "hook": hook}))
    if not rows:
        raise NotFound
    return rows[0]


def _changed(before: HookEndpoint, changes: HookChanges) -> HookEndpoint:
    given = {name: getattr(changes, name) for name in HookChanges.__slots__ if getattr(changes, name) is not None}
    after = replace(before, **given)
    if changes.enabled is True and not before.enabled:
        return replace(after, disabled_because=None, failing_since=None)
    if changes.enabled is False and before.enabled:
        return replace(after, disabled_because=DisabledBecause.ASKED)
    return after


def _endpoint(row: DictRow) -> HookEndpoint:
    because = row["disabled_because"]
    return HookEndpoint(
        **{
            **{name: row[name] for name in HookEndpoint.__slots__},
            "kinds": [HookKind(kind) for kind in row["kinds"]],
            "disabled_because": DisabledBecause(because) if because else None,
        }
    )


def _seen(url: str, kinds: Sequence[HookKind], *, enabled: bool = True) -> dict[str, Any]:
    """What the audit log shows. A query may carry a key."""
    return {"url": url.partition("?")[0], "kinds": [kind.value for kind in kinds], "enabled": enabled}


def _noted(tenant: TenantId, actor: Actor, hook: HookId, what: str, before: Any = None, after: Any = None) -> Statement:
    return note(tenant, actor, f"hook.{what}", f"hook:{hook}", before, after)
