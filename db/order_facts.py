"""What an order's e-mail and tickets tell: the order, what each line is for, and how the shop looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.database import Database
from domain.fiscal import FiscalStatus
from domain.ids import CheckoutId, OrderId, TenantId
from domain.tax import TaxedLine, TaxSum, breakdown


@dataclass(frozen=True, slots=True)
class Looks:
    """How a shop's e-mails and tickets look."""

    name: str
    language: str
    time_zone: str
    brand_color: str
    logo_text: str | None

    @property
    def logo(self) -> str:
        """What stands at the head."""
        return self.logo_text or self.name


@dataclass(frozen=True, slots=True)
class LineFacts:
    """A line of an order. Prices in minor units, of one unit. What belongs to an event is None of a product."""

    position: int
    name: str
    quantity: int
    list_price: int
    unit_price: int
    product_id: int | None
    zone_id: int | None
    seat_id: int | None
    event_id: int | None
    event: str | None
    venue: str | None
    starts_at: datetime | None
    zone: str | None
    row: str | None
    seat: int | None


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """An order. `fiscal_number` None: it waits for one (`fiscal_status`), or has none."""

    order_id: OrderId
    checkout_id: CheckoutId
    created_at: datetime
    currency: str
    subtotal: int
    discount: int
    tax: int
    total: int
    fiscal_number: str | None
    lines: tuple[LineFacts, ...]
    looks: Looks
    fiscal_status: FiscalStatus = FiscalStatus.PENDING
    taxes: tuple[TaxSum, ...] = ()
    """Of all lines together, by class and rate; `tax` above is only what prices do not include."""


_ORDER = """
    SELECT o.id::text AS order_id, o.checkout_id::text AS checkout_id, o.created_at, o.currency, o.subtotal, o.discount,
        o.tax, o.total, o.fiscal_number, o.fiscal_status
    FROM orders o WHERE o.tenant_id = %(tenant)s AND o.id = %(order)s
"""
_LINES = """
    SELECT l.position, l.name, l.quantity, l.list_price, l.unit_price, l.product_id, l.zone_id, l.seat_id,
        e.id AS event_id, e.name AS event, e.venue, e.starts_at, z.name AS zone, s.row_name AS row, s.number AS seat
    FROM order_lines l
    LEFT JOIN zones z ON z.tenant_id = l.tenant_id AND z.id = l.zone_id
    LEFT JOIN events e ON e.tenant_id = z.tenant_id AND e.id = z.event_id
    LEFT JOIN seats s ON s.tenant_id = l.tenant_id AND s.id = l.seat_id
    WHERE l.tenant_id = %(tenant)s AND l.order_id = %(order)s ORDER BY l.position
"""
_TAXED = """
    SELECT unit_price * quantity AS amount, tax_class, tax_rate_basis_points, tax_included, tax FROM order_lines
    WHERE tenant_id = %(tenant)s AND order_id = %(order)s AND tax_class IS NOT NULL
"""
_LOOKS = "SELECT name, language, time_zone, brand_color, logo_text FROM tenants WHERE id = %(tenant)s"


async def read_order_facts(db: Database, tenant: TenantId, order: OrderId) -> OrderFacts | None:
    """All of it, in one round trip; None when there is no such order."""
    values = {"tenant": tenant, "order": order}
    orders, lines, taxed, [looks] = await db.run(
        tenant, (_ORDER, values), (_LINES, values), (_TAXED, values), (_LOOKS, values)
    )
    if not orders:
        return None
    facts = {**orders[0], "fiscal_status": FiscalStatus(orders[0]["fiscal_status"])}
    return OrderFacts(
        **facts,
        lines=tuple(LineFacts(**line) for line in lines),
        looks=Looks(**looks),
        taxes=tuple(breakdown([TaxedLine(*line.values()) for line in taxed])),
    )


async def read_looks(db: Database, tenant: TenantId) -> Looks | None:
    """How the shop looks; None when there is no such shop."""
    [rows] = await db.run(tenant, (_LOOKS, {"tenant": tenant}))
    return Looks(**rows[0]) if rows else None
