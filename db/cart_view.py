"""A cart as one row of SQL has it, and as it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from db.database import Rows
from domain.cart import CartStatus, HeldPrice, Notice, ProductNow, Products, Quantities, Totals, as_held, totals
from domain.errors import NotFound
from domain.ids import CartId, CheckoutId, ProductId


@dataclass(frozen=True, slots=True)
class CartView:
    """A cart as it is now: `products` has every line's product at its price, the held one when it is processing.

    `id` is None of an owner who has no cart yet. `overdue`: the hold it is processing for is over and not settled.
    """

    id: CartId | None
    status: CartStatus
    checkout_id: CheckoutId | None
    updated_at: datetime | None
    currency: str
    overdue: bool
    lines: dict[ProductId, int]
    products: Products
    notices: list[Notice]

    @property
    def totals(self) -> Totals:
        """What the lines cost."""
        return totals(self.lines, self.products)


def view_of(rows: Rows) -> CartView:
    """The cart in the row of `carts_sql.READ`. Raises NotFound when there is none: there is no such tenant."""
    if not rows:
        raise NotFound
    row = rows[0]
    lines: dict[ProductId, int] = {}
    products: dict[ProductId, ProductNow] = {}
    for product_id, quantity, exists, *rest in row["lines"] or ():
        if quantity is not None:
            lines[product_id] = quantity
        if exists:
            products[product_id] = ProductNow(product_id, *rest)
    status = CartStatus(row["status"]) if row["status"] else CartStatus.AVAILABLE
    return CartView(
        id=row["id"],
        status=status,
        checkout_id=row["checkout_id"],
        updated_at=row["updated_at"],
        currency=row["currency"],
        overdue=row["overdue"],
        lines=lines,
        products=_as_held(row, lines, products) if status is CartStatus.PROCESSING else products,
        notices=[],
    )


def _as_held(row: DictRow, lines: Quantities, products: Products) -> Products:
    return as_held(lines, products, {product: HeldPrice(*fixed) for product, *fixed in row["held"] or ()})
