"""The documents of orders, kept as they were rendered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.database import Database
from domain.ids import BuyerKey, OrderId, TenantId


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF."""

    content: bytes
    pages: int
    made_at: datetime


_KEEP = """
    INSERT INTO order_documents (tenant_id, order_id, kind, content, pages)
    VALUES (%(tenant)s, %(order)s, 'tickets', %(content)s, %(pages)s)
    ON CONFLICT (tenant_id, order_id, kind) DO UPDATE
        SET content = excluded.content, pages = excluded.pages, made_at = clock_timestamp()
"""
_READ = """
    SELECT content, pages, made_at FROM order_documents
    WHERE tenant_id = %(tenant)s AND order_id = %(order)s AND kind = 'tickets'
"""
_OWNER = "SELECT buyer_key FROM orders WHERE tenant_id = %(tenant)s AND id = %(order)s"


async def keep_tickets(db: Database, tenant: TenantId, order: OrderId, content: bytes, pages: int) -> None:
    """Keep the order's tickets, instead of those that were kept before."""
    await db.run(tenant, (_KEEP, {"tenant": tenant, "order": order, "content": content, "pages": pages}))


async def read_tickets(db: Database, tenant: TenantId, order: OrderId) -> Document | None:
    """The order's tickets, if they are there yet."""
    [rows] = await db.run(tenant, (_READ, {"tenant": tenant, "order": order}))
    return Document(bytes(rows[0]["content"]), rows[0]["pages"], rows[0]["made_at"]) if rows else None


async def owner_of_order(db: Database, tenant: TenantId, order: OrderId) -> BuyerKey | None:
    """Whose order it is; None when there is no such order."""
    [rows] = await db.run(tenant, (_OWNER, {"tenant": tenant, "order": order}))
    return BuyerKey(rows[0]["buyer_key"]) if rows else None
