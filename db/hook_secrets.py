"""Secrets of tenants' endpoints: made, opened to sign, and sealed anew when the key ring has a new first key."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import Any

import psycopg

from db.keyring import KeyRing, Sealed, Unreadable
from domain.ids import HookId, TenantId

Connection = psycopg.AsyncConnection[Any]

_SECRET_BYTES = 32
_TO_RESEAL = """
    SELECT tenant_id, id::text AS id FROM hook_endpoints
    WHERE secret_key_id <> %(first)s OR previous_key_id <> %(first)s ORDER BY tenant_id, id
"""
_LOCK = """
    SELECT secret, secret_key_id, previous_secret, previous_key_id FROM hook_endpoints
    WHERE tenant_id = %(tenant)s AND id = %(hook)s AND secret IS NOT NULL FOR NO KEY UPDATE
"""
_RESEAL = """
    UPDATE hook_endpoints SET secret = %(secret)s, secret_key_id = %(key)s, previous_secret = %(previous)s,
        previous_key_id = %(previous_key)s
    WHERE tenant_id = %(tenant)s AND id = %(hook)s
"""


def seal_name(hook: HookId) -> str:
    """For what an endpoint's secrets are sealed."""
    return f"hook/{hook}"


def new_secret() -> str:
    """As the Standard Webhooks specification writes secrets: `whsec_` and the base64 of 32 random bytes."""
    return f"whsec_{base64.b64encode(os.urandom(_SECRET_BYTES)).decode()}"


def opened_secrets(ring: KeyRing, tenant: TenantId, hook: HookId, row: Mapping[str, Any]) -> list[str]:
    """The secrets that sign now, the newest first. Raises Unreadable when no key of the ring opens one."""
    pairs = [(row["secret"], row["secret_key_id"]), (row["previous_secret"], row["previous_key_id"])]
    sealed = [Sealed(bytes(text), key) for text, key in pairs if text is not None]
    return [ring.open(tenant, seal_name(hook), one) for one in sealed]


async def reseal_hooks(connection: Connection, ring: KeyRing) -> tuple[int, list[tuple[TenantId, str, str]]]:
    """How many endpoints' secrets were sealed anew, and which could not be opened: (tenant, name, why).

    Each in a transaction of its own. By the admin role. `connection`: in autocommit, whose rows are dictionaries.
    """
    resealed, unreadable = 0, []
    rows = await (await connection.execute(_TO_RESEAL, {"first": ring.first})).fetchall()
    for row in rows:
        tenant, hook = TenantId(row["tenant_id"]), HookId(row["id"])
        try:
            resealed += await _reseal(connection, tenant, hook, ring)
        except Unreadable as error:
            unreadable.append((tenant, seal_name(hook), str(error)))
    return resealed, unreadable


async def _reseal(connection: Connection, tenant: TenantId, hook: HookId, ring: KeyRing) -> int:
    values = {"tenant": tenant, "hook": hook}
    async with connection.transaction():
        row = await (await connection.execute(_LOCK, values)).fetchone()
        if row is None:  # Deleted since it was listed.
            return 0
        pairs = ((row["secret"], row["secret_key_id"]), (row["previous_secret"], row["previous_key_id"]))
        secret, previous = (_anew(ring, tenant, hook, *pair) for pair in pairs)
        more = {
            "secret": secret and secret.ciphertext, "key": secret and secret.key_id,
            "previous": previous and previous.ciphertext, "previous_key": previous and previous.key_id,
        }  # fmt: skip
        await connection.execute(_RESEAL, {**values, **more})
    return 1


def _anew(ring: KeyRing, tenant: TenantId, hook: HookId, text: bytes | None, key: str) -> Sealed | None:
    if text is None:
        return None
    name = seal_name(hook)
    return ring.seal(tenant, name, ring.open(tenant, name, Sealed(bytes(text), key)))
