"""Changing products: each change in one transaction with its audit row. Reading is db/catalogue.py.

Lock order: the stock item, whose row decides, then the product.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, TypedDict, TypeVar

from psycopg import errors
from psycopg.rows import DictRow

from db.audit import note
from db.catalogue import Product, product_statement
from db.catalogue_admin_sql import (
    DELETE,
    INSERT,
    KEEP_NUMBER,
    LOCK_ITEM,
    LOCK_PRODUCT,
    LOCK_TENANT,
    NUMBER,
    SET_TOTAL,
    UPDATE,
)
from db.database import Database, Statement, Transaction
from db.past_overdue import past_overdue_holds
from db.tenant_settings import check_class
from domain.catalogue import require_offer_below_price
from domain.errors import NotFound, ProductExists, ProductHeld, TotalBelowCommitted
from domain.ids import Actor, ProductId, TenantId
from domain.messages import Line

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewProduct:
    """A product to be. Amounts in minor units of the tenant's currency, stock in units; `id`: None for the next one."""

    name: str
    price: int
    offer_price: int | None = None
    description: str = ""
    available: bool = True
    one_per_cart: bool = False
    stock_total: int = 0
    tax_class: str | None = None
    id: ProductId | None = None


class ProductChanges(TypedDict, total=False):
    """What to change of a product; what is not in it stays."""

    name: str
    description: str
    price: int
    offer_price: int | None
    tax_class: str | None
    available: bool
    one_per_cart: bool
    stock_total: int


FIELDS = tuple(ProductChanges.__annotations__)


async def create_product(db: Database, tenant: TenantId, actor: Actor, new: NewProduct) -> Product:
    """Add a product with its stock.

    Raises Invalid for an offer that is not below the price and for a tax class that there is not, ProductExists for a
    chosen id that is taken, NotFound when there is no such tenant.
    """
    require_offer_below_price(new.price, new.offer_price)
    creation = _Creation(tenant, actor, new)
    try:
        return await db.transact(tenant, creation.work)
    except errors.UniqueViolation:
        # Somebody who does not queue at the tenant's row (an import) took the number: look again.
        return await db.transact(tenant, creation.work)


async def change_product(
    db: Database, tenant: TenantId, actor: Actor, product: ProductId, changes: ProductChanges
) -> Product:
    """Change a product; the whole of it, as it is then. What is live in holds keeps its price.

    Raises NotFound, Invalid as `create_product` does, TotalBelowCommitted for a stock total below
    what is reserved and sold.
    """

    async def work(transaction: Transaction) -> Product:
        item, before = await _lock(transaction, tenant, product)
        after = {**before, **changes}
        require_offer_below_price(after["price"], after["offer_price"], _offending(changes))
        if after["tax_class"] != before["tax_class"]:
            await check_class(transaction, tenant, after["tax_class"])
        committed = item["reserved"] + item["sold"]
        if after["stock_total"] < committed:
            raise _below_committed(item)
        values = {**after, "tenant": tenant, "product": product, "stock_item_id": item["id"]}
        noted = _note_change(tenant, actor, product, before, after)
        writes = [(SET_TOTAL, values), (UPDATE, values), noted] if noted else []
        return _product(await transaction.commit(*writes, product_statement(tenant, product)))

    return await _past_overdue_holds(db, tenant, product, work)


async def delete_product(db: Database, tenant: TenantId, actor: Actor, product: ProductId) -> None:
    """Delete a product. Its stock item stays, for the orders that name it, with nothing left to reserve: a reserve that
    waits for its lock finds it sold out.

    Raises NotFound, and ProductHeld while live holds keep units of it.
    """
    deleting = False

    async def work(transaction: Transaction) -> None:
        nonlocal deleting
        try:
            item, before = await _lock(transaction, tenant, product)
        except NotFound:
            if deleting:  # An attempt whose answer was lost had deleted it.
                return
            raise
        if item["reserved"]:
            raise ProductHeld(f"Live holds keep {item['reserved']} units of it.", reserved=item["reserved"])
        values = {"tenant": tenant, "product": product, "stock_item_id": item["id"], "stock_total": item["sold"]}
        noted = note(tenant, actor, "product.deleted", f"product:{product}", before)
        deleting = True
        await transaction.commit((SET_TOTAL, values), (DELETE, values), (KEEP_NUMBER, values), noted)

    await _past_overdue_holds(db, tenant, product, work)


@dataclass
class _Creation:
    """One creation, whatever number of attempts it takes: an attempt whose answer was lost is found by what it made."""

    tenant: TenantId
    actor: Actor
    new: NewProduct
    made: tuple[ProductId, datetime] | None = field(default=None, init=False)

    async def work(self, transaction: Transaction) -> Product:
        made_id, made_at = self.made or (None, None)
        values = {"tenant": self.tenant, "chosen": self.new.id, "made_id": made_id, "made_at": made_at}
        _, found = await transaction.read((LOCK_TENANT, values), (NUMBER, values))
        if not found:
            raise NotFound("There is no such tenant.")
        [row] = found
        if row["made"] is not None:
            return _product(await transaction.commit(product_statement(self.tenant, row["made"])))
        if row["taken"]:
            raise ProductExists("There is a product with this id already.")
        await check_class(transaction, self.tenant, self.new.tax_class)
        product = self.new.id or ProductId(row["next"])
        self.made = product, row["now"]
        return _product(await transaction.commit(*self._writes(product, row["now"])))

    def _writes(self, product: ProductId, at: datetime) -> list[Statement]:
        given = {name: value for name, value in asdict(self.new).items() if name != "id"}
        return [
            (INSERT, {**given, "tenant": self.tenant, "product": product, "at": at}),
            note(self.tenant, self.actor, "product.created", f"product:{product}", None, given),
            product_statement(self.tenant, product),
        ]


async def _lock(transaction: Transaction, tenant: TenantId, product: ProductId) -> tuple[DictRow, dict[str, Any]]:
    """(the stock item as locked, the product's fields as locked). Raises NotFound."""
    values = {"tenant": tenant, "product": product}
    items, products = await transaction.read((LOCK_ITEM, values), (LOCK_PRODUCT, values))
    # Another item: the product was deleted, and its id taken by a new one, while we waited.
    if not items or not products or products[0]["stock_item_id"] != items[0]["id"]:
        raise NotFound
    fields = {**products[0], "stock_total": items[0]["stock_total"]}
    return items[0], {name: fields[name] for name in FIELDS}


async def _past_overdue_holds(
    db: Database, tenant: TenantId, product: ProductId, work: Callable[[Transaction], Awaitable[T]]
) -> T:
    return await past_overdue_holds(db, tenant, [Line(product, 1)], work, (ProductHeld, TotalBelowCommitted))


def _offending(changes: ProductChanges) -> str:
    """The field that a bad offer is blamed on: one that was sent."""
    return "price" if "price" in changes and "offer_price" not in changes else "offer_price"


def _below_committed(item: DictRow) -> TotalBelowCommitted:
    reserved, sold = item["reserved"], item["sold"]
    return TotalBelowCommitted(
        f"{reserved} units are reserved and {sold} sold: stock_total must be at least {reserved + sold}.",
        reserved=reserved,
        sold=sold,
    )


def _note_change(
    tenant: TenantId, actor: Actor, product: ProductId, before: dict[str, Any], after: dict[str, Any]
) -> Statement | None:
    """The audit row of what differs; None when nothing does."""
    differing = [name for name in FIELDS if before[name] != after[name]]
    if not differing:
        return None
    was, became = ({name: state[name] for name in differing} for state in (before, after))
    return note(tenant, actor, "product.changed", f"product:{product}", was, became)


def _product(results: list[list[DictRow]]) -> Product:
    """What the last statement read."""
    return Product(**results[-1][0])
