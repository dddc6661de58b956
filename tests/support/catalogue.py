"""What a test of the catalogue's administration needs: holds and sales of a product, and its audit rows."""

from __future__ import annotations

from typing import Any

from db.database import Database
from db.reserve import reserve
from db.settle import settle
from domain.ids import Actor, ProductId, TenantId
from domain.messages import StartCheckout
from tests.support.checkouts import Rows, a_capture, a_start, confirm

ADMIN = Actor("user:admin")


async def audit(rows: Rows, tenant: TenantId, actor: Actor = ADMIN) -> list[tuple[str, str, Any, Any]]:
    """(action, subject, before, after) of each audit row of the tenant, oldest first; all must be by `actor`."""
    found = await rows.all("SELECT * FROM audit_log WHERE tenant_id = %s ORDER BY id", tenant)
    assert {row["actor"] for row in found} <= {actor}
    return [(row["action"], row["subject"], row["before"], row["after"]) for row in found]


async def hold(db: Database, tenant: TenantId, product: ProductId, units: int = 3) -> StartCheckout:
    """A live hold on so many units."""
    start = a_start(tenant, {product: units})
    await reserve(db, start)
    return start


async def sell(db: Database, tenant: TenantId, product: ProductId, units: int = 3, price: int = 1000) -> StartCheckout:
    """An order of so many units."""
    start = await hold(db, tenant, product, units)
    await settle(db, confirm(start.ref, a_capture(start.checkout_id, units * price)))
    return start
