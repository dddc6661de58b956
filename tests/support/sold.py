"""Orders for tests, sold by the same functions as in the shop."""

from __future__ import annotations

from db.database import Database
from db.reserve import reserve
from db.settle import settle
from domain.ids import BuyerKey, OrderId, ProductId, TenantId
from domain.messages import StartCheckout
from tests.support.checkouts import BUYER, a_capture, a_start, confirm


async def held(db: Database, tenant: TenantId, product: ProductId, *, buyer: BuyerKey = BUYER) -> StartCheckout:
    """A live hold of one unit."""
    start = a_start(tenant, {product: 1}, buyer=buyer)
    await reserve(db, start)
    return start


async def sold(
    db: Database, tenant: TenantId, product: ProductId, quantity: int = 1, *, buyer: BuyerKey = BUYER
) -> tuple[StartCheckout, OrderId]:
    """A paid order of so many units."""
    start = a_start(tenant, {product: quantity}, buyer=buyer)
    started = await reserve(db, start)
    settled = await settle(db, confirm(start.ref, a_capture(start.checkout_id, started.total)))
    assert settled.order_id is not None
    return start, settled.order_id
