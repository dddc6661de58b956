"""Series of fiscal numbers, and shops whose orders have them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from db.database import Database
from db.fiscal import add_range, add_series
from db.reserve import reserve
from db.settle import settle
from db.tenant_settings import change_settings
from domain.checkout import CheckoutStatus
from domain.fiscal import NewRange, NewSeries
from domain.ids import Actor, ProductId, TenantId
from domain.messages import CheckoutRef, StartCheckout
from tests.support.checkouts import Rows, a_capture, a_start, confirm

BOSS = Actor("user:boss")
SERIES = "invoices"
NUMBERS = """
    SELECT id, fiscal_status AS status, fiscal_sequence AS sequence, fiscal_number AS number, fiscal_issued_at AS at,
           fiscal_pending_at AS place
    FROM orders WHERE tenant_id = %s ORDER BY fiscal_pending_at
"""


def today() -> date:
    return datetime.now(UTC).date()


def a_range(first: int, last: int, *, days: tuple[int, int] = (-1, 365)) -> NewRange:
    """Numbers that are valid from so many days from today to so many."""
    begins, ends = (today() + timedelta(days=day) for day in days)
    return NewRange(first, last, begins, ends, f"Resolution {first}")


async def use_series(
    db: Database, tenant: TenantId, *ranges: NewRange, name: str = SERIES, prefix: str = "F-", padding: int = 6
) -> None:
    """A series with these ranges, of which the tenant's orders have their numbers from now on."""
    await add_series(db, tenant, BOSS, NewSeries(name, prefix, padding))
    for one in ranges:
        await add_range(db, tenant, BOSS, name, one)
    await change_settings(db, tenant, BOSS, {"fiscal_series": name})


async def a_hold(db: Database, tenant: TenantId, product: ProductId) -> StartCheckout:
    """A live hold of one unit."""
    start = a_start(tenant, {product: 1}, patience=60)
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return start


async def sell(db: Database, tenant: TenantId, product: ProductId, *, price: int = 1000) -> CheckoutRef:
    """An order of one unit."""
    start = await a_hold(db, tenant, product)
    settled = await settle(db, confirm(start.ref, a_capture(start.checkout_id, price)))
    assert settled.status is CheckoutStatus.CONFIRMED
    return start.ref


async def numbers(rows: Rows, tenant: TenantId) -> list[Any]:
    """The orders' numbers, in the order in which they were confirmed; None for one that waits."""
    return [row["number"] for row in await rows.all(NUMBERS, tenant)]
