"""Findings, for those who look after a tenant: what is open, and accepting one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db import reconciliation_sql as sql
from db.audit import note as audited
from db.database import Database, Transaction
from domain.disagreements import Kind
from domain.errors import NotFound
from domain.ids import Actor, CheckoutId, GatewayName, PaymentId, TenantId


@dataclass(frozen=True, slots=True)
class Finding:
    """A disagreement about one payment. `resolution`: `agreed` (it is gone), `accepted` (by a person), None: open."""

    id: str
    gateway: GatewayName
    payment_id: PaymentId
    kind: Kind
    checkout_id: CheckoutId | None
    detail: Any
    first_seen: datetime
    last_seen: datetime
    repaired_at: datetime | None
    """When its repair was begun."""
    flagged_at: datetime | None
    """Since when people should look."""
    resolved_at: datetime | None
    resolution: str | None
    resolved_by: Actor | None
    note: str | None


async def open_findings(db: Database, tenant: TenantId, *, after: str | None = None, limit: int = 100) -> list[Finding]:
    """In the order of their ids, from behind `after`."""
    [rows] = await db.run(tenant, (sql.OPEN_FINDINGS, {"tenant": tenant, "after": after, "limit": limit}))
    return [_finding(row) for row in rows]


async def accept_finding(db: Database, tenant: TenantId, actor: Actor, finding: str, note: str) -> Finding:
    """A person has looked, and it may stay so: it is shown again only when its detail changes. Audited.

    What is resolved already stays as it is. Raises NotFound.
    """
    values = {"tenant": tenant, "finding": finding, "actor": actor, "note": note}

    async def work(transaction: Transaction) -> Finding:
        [rows] = await transaction.read((sql.LOCK_FINDING, values))
        if not rows:
            raise NotFound
        found = _finding(rows[0])
        if found.resolved_at is not None:
            await transaction.commit()
            return found
        after = {"resolution": "accepted", "kind": found.kind.value, "payment_id": found.payment_id}
        [[accepted], _] = await transaction.commit(
            (sql.ACCEPT, values),
            audited(tenant, actor, "reconciliation.accepted", f"finding:{finding}", found.detail, after),
        )
        at = accepted["resolved_at"]
        return replace(found, resolved_at=at, resolution="accepted", resolved_by=actor, note=note)

    return await db.transact(tenant, work)


def _finding(row: DictRow) -> Finding:
    return Finding(**{**row, "kind": Kind(row["kind"])})
