"""Tenants' secrets: written, listed and deleted by the tenant, read by whoever uses them, never shown to anybody.

What is stored is sealed by the key ring (db/keyring.py). The audit log says who changed which secret when, and by which
key it is sealed; never what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.audit import note
from db.database import Database, Transaction, require_tenant
from db.keyring import KeyRing, Sealed
from domain.errors import NotFound
from domain.ids import Actor, TenantId

LIST = "SELECT name, updated_at FROM tenant_secrets WHERE tenant_id = %(tenant)s ORDER BY name"
READ = "SELECT ciphertext, key_id FROM tenant_secrets WHERE tenant_id = %(tenant)s AND name = %(name)s"
PUT = """
    INSERT INTO tenant_secrets (tenant_id, name, ciphertext, key_id)
    VALUES (%(tenant)s, %(name)s, %(ciphertext)s, %(key_id)s)
    ON CONFLICT (tenant_id, name) DO UPDATE
        SET ciphertext = excluded.ciphertext, key_id = excluded.key_id, updated_at = clock_timestamp()
"""
LOCK = "SELECT key_id FROM tenant_secrets WHERE tenant_id = %(tenant)s AND name = %(name)s FOR UPDATE"
DELETE = "DELETE FROM tenant_secrets WHERE tenant_id = %(tenant)s AND name = %(name)s"


@dataclass(frozen=True, slots=True)
class SecretName:
    """That there is a secret of this name, and since when it is what it is."""

    name: str
    updated_at: datetime


async def list_secrets(db: Database, tenant: TenantId) -> list[SecretName]:
    """The names of the tenant's secrets."""
    [rows] = await db.run(tenant, (LIST, {"tenant": tenant}))
    return [SecretName(row["name"], row["updated_at"]) for row in rows]


async def put_secret(db: Database, tenant: TenantId, actor: Actor, ring: KeyRing, name: str, secret: str) -> None:
    """Set a secret, whatever it was before. `name` is one of domain.tenant_secrets."""
    sealed = ring.seal(require_tenant(tenant), name, secret)
    values = {"tenant": tenant, "name": name, "ciphertext": sealed.ciphertext, "key_id": sealed.key_id}
    noted = note(tenant, actor, "secret.set", f"secret:{name}", after={"key_id": sealed.key_id})
    await db.run(tenant, (PUT, values), noted)


async def delete_secret(db: Database, tenant: TenantId, actor: Actor, name: str) -> None:
    """Forget a secret: what the installation has itself counts again. Raises NotFound when there is none."""
    values = {"tenant": tenant, "name": name}
    deleting = False

    async def work(transaction: Transaction) -> None:
        nonlocal deleting
        [found] = await transaction.read((LOCK, values))
        if not found:
            if deleting:  # An attempt whose answer was lost had deleted it.
                return
            raise NotFound("There is no such secret.")
        deleting = True
        await transaction.commit(
            (DELETE, values), note(tenant, actor, "secret.deleted", f"secret:{name}", {"key_id": found[0]["key_id"]})
        )

    await db.transact(tenant, work)


async def read_secret(db: Database, tenant: TenantId, ring: KeyRing, name: str) -> str | None:
    """The secret itself, None when the tenant has none. Raises Unreadable when no key of the ring opens it."""
    [rows] = await db.run(tenant, (READ, {"tenant": tenant, "name": name}))
    return ring.open(tenant, name, Sealed(bytes(rows[0]["ciphertext"]), rows[0]["key_id"])) if rows else None
