"""Products: reading. Overdue holds show as free: the end of a hold needs nobody to notice it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.database import Database, Statement
from domain.ids import ProductId, TenantId

_PRODUCTS = """
    SELECT p.id, p.name, p.description, t.currency, p.price, p.offer_price, p.tax_class, p.available,
        s.total, (s.reserved - overdue.units)::integer AS reserved, s.sold, p.one_per_cart, p.updated_at
    FROM products p
    JOIN tenants t ON t.id = p.tenant_id
    JOIN stock_items s ON s.tenant_id = p.tenant_id AND s.id = p.stock_item_id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(l.quantity), 0) AS units FROM checkout_lines l
        WHERE l.tenant_id = s.tenant_id AND l.stock_item_id = s.id
            AND l.status = 'held' AND l.expires_at <= (SELECT clock_timestamp())
    ) overdue
    WHERE p.tenant_id = %(tenant)s
"""


@dataclass(frozen=True, slots=True)
class Product:
    """A product, with amounts in minor units of `currency` and its stock in units."""

    id: ProductId
    name: str
    description: str
    currency: str
    price: int
    offer_price: int | None
    available: bool
    total: int
    reserved: int
    sold: int
    one_per_cart: bool
    updated_at: datetime
    tax_class: str | None = None

    @property
    def free(self) -> int:
        """Units that can be reserved now."""
        return self.total - self.reserved - self.sold


async def list_products(db: Database, tenant: TenantId, after: ProductId, limit: int) -> list[Product]:
    """At most `limit` products with ids past `after`, in order of id."""
    sql = f"{_PRODUCTS} AND p.id > %(after)s ORDER BY p.id LIMIT %(limit)s"
    [rows] = await db.run(tenant, (sql, {"tenant": tenant, "after": after, "limit": limit}))
    return [Product(**row) for row in rows]


async def find_product(db: Database, tenant: TenantId, product: ProductId) -> Product | None:
    """The product, or None."""
    [rows] = await db.run(tenant, product_statement(tenant, product))
    return Product(**rows[0]) if rows else None


def product_statement(tenant: TenantId, product: ProductId) -> Statement:
    """Reads the fields of a `Product`, also beside other statements of one transaction."""
    return f"{_PRODUCTS} AND p.id = %(product)s", {"tenant": tenant, "product": product}
