"""All rows of a tenant at one moment, to see afterwards that nobody has touched them."""

from __future__ import annotations

from collections import Counter

from domain.ids import TenantId
from tests.support import shop

_TABLES = """
    SELECT table_name::text FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name = 'tenant_id' ORDER BY table_name
"""


class Snapshot:
    """The rows of every table that has a tenant, as JSON, each with its table's name before it."""

    def __init__(self, rows: Counter[str]) -> None:
        self._rows = rows

    @classmethod
    async def take(cls, admin: shop.Connection, tenant: TenantId, *, others_reserve: bool = False) -> Snapshot:
        """The tenant's rows now. `others_reserve`: leave out how much is reserved, which any of its buyers moves."""
        tables = [name for (name,) in await (await admin.execute(_TABLES)).fetchall()]
        assert {"carts", "checkouts", "orders", "audit_log"} <= set(tables)
        less = "- 'reserved'" if others_reserve else ""
        parts = [
            f"SELECT '{table} ' || (to_jsonb(t) {less if table == 'stock_items' else ''})::text FROM {table} t"
            " WHERE tenant_id = %(tenant)s"
            for table in tables
        ]
        parts.append("SELECT 'tenants ' || to_jsonb(t)::text FROM tenants t WHERE id = %(tenant)s")
        cursor = await admin.execute(" UNION ALL ".join(parts), {"tenant": tenant})
        return cls(Counter(row for (row,) in await cursor.fetchall()))

    def gone_since(self, before: Snapshot) -> list[str]:
        """Rows that were there before and are no longer as they were."""
        return sorted((before._rows - self._rows).elements())

    def new_since(self, before: Snapshot) -> list[str]:
        """Rows that were not there before, or not so."""
        return sorted((self._rows - before._rows).elements())
