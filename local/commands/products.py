"""`holdfast products`: the catalogue, for those who have the machine's shell. Every change is in the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database

if TYPE_CHECKING:
    from api.models import StrictModel
    from db.catalogue import Product

    Model = TypeVar("Model", bound=StrictModel)

app = typer.Typer(no_args_is_help=True, help="Products: list, add, set, delete. Money is in minor units.")

ProductArgument = Annotated[int, typer.Argument(metavar="ID", help="The product's id.", show_default=False)]
PAGE = 100
PIPE_WIDTH = 160
"""Columns of a table that no terminal shows."""


@app.command("list")
def list_all(tenant: TenantOption = None) -> None:
    """List every product with its price and stock now."""
    from db.catalogue import list_products
    from domain.ids import ProductId

    async def run() -> list[Product]:
        found: list[Product] = []
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            while page := await list_products(db, owner, found[-1].id if found else ProductId(0), PAGE):
                found += page
        return found

    products = asyncio.run(run())
    _show(products)
    typer.echo(f"{len(products)} products")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What it is called.", show_default=False)],
    price: Annotated[int, typer.Option(help="In minor units.", show_default=False)],
    offer_price: Annotated[int | None, typer.Option(help="What it costs now; below the price.")] = None,
    tax_class: Annotated[str | None, typer.Option(help="One of the tenant's; default: no tax.")] = None,
    description: Annotated[str, typer.Option()] = "",
    stock: Annotated[int, typer.Option(help="Units in all.")] = 0,
    available: Annotated[bool, typer.Option("--available/--unavailable", help="Whether it is on sale.")] = True,
    one_per_cart: Annotated[bool, typer.Option("--one-per-cart", help="A cart may have only one.")] = False,
    product_id: Annotated[int | None, typer.Option("--id", help="Default: the next free number.")] = None,
    tenant: TenantOption = None,
) -> None:
    """Add a product."""
    from api.product_models import ProductIn
    from db.catalogue_admin import create_product

    given = {"id": product_id, "name": name, "description": description, "price": price, "offer_price": offer_price}
    given |= {"available": available, "one_per_cart": one_per_cart, "stock_total": stock}
    given |= {"tax_class": tax_class}
    new = _checked(ProductIn, given).as_new()

    async def run() -> Product:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await create_product(db, owner, actor(), new)

    made = asyncio.run(run())
    _show([made])
    typer.echo(f"product {made.id} is added")


@app.command("set")
def change(
    product: ProductArgument,
    name: Annotated[str | None, typer.Option()] = None,
    description: Annotated[str | None, typer.Option()] = None,
    price: Annotated[int | None, typer.Option(help="In minor units.")] = None,
    offer_price: Annotated[int | None, typer.Option(help="Below the price.")] = None,
    no_offer: Annotated[bool, typer.Option("--no-offer", help="End the offer.")] = False,
    tax_class: Annotated[str | None, typer.Option(help="One of the tenant's.")] = None,
    no_tax: Annotated[bool, typer.Option("--no-tax", help="No tax on it.")] = False,
    stock: Annotated[int | None, typer.Option(help="Units in all; not below reserved and sold.")] = None,
    available: Annotated[bool | None, typer.Option("--available/--unavailable", help="Whether it is on sale.")] = None,
    one_per_cart: Annotated[bool | None, typer.Option("--one-per-cart/--many-per-cart")] = None,
    tenant: TenantOption = None,
) -> None:
    """Change what is named of a product; the rest stays. Live holds keep their price."""
    from api.product_models import ProductPatch
    from db.catalogue_admin import change_product
    from domain.ids import ProductId

    given = {"name": name, "description": description, "price": price, "offer_price": offer_price}
    given |= {"stock_total": stock, "available": available, "one_per_cart": one_per_cart, "tax_class": tax_class}
    given = {field: value for field, value in given.items() if value is not None}
    if no_offer and offer_price is not None:
        raise typer.BadParameter("--offer-price and --no-offer exclude each other")
    if no_tax and tax_class is not None:
        raise typer.BadParameter("--tax-class and --no-tax exclude each other")
    given |= {"offer_price": None} if no_offer else {}
    given |= {"tax_class": None} if no_tax else {}
    if not given:
        raise typer.BadParameter("name something to change: see `holdfast products set --help`")
    changes = _checked(ProductPatch, given).as_changes()

    async def run() -> Product:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            with _there(product):
                return await change_product(db, owner, actor(), ProductId(product), changes)

    _show([asyncio.run(run())])
    typer.echo(f"product {product} is as shown")


@app.command()
def delete(product: ProductArgument, tenant: TenantOption = None) -> None:
    """Delete a product that no live hold keeps. Orders keep its name."""
    from db.catalogue_admin import delete_product
    from domain.ids import ProductId

    async def run() -> None:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            with _there(product):
                await delete_product(db, owner, actor(), ProductId(product))

    asyncio.run(run())
    typer.echo(f"product {product} is deleted")


@contextmanager
def _there(product: int) -> Iterator[None]:
    """Raises LocalError, which names the product, when the work inside does not find it."""
    from domain.errors import NotFound
    from local.errors import LocalError

    try:
        yield
    except NotFound:
        raise LocalError(f"there is no product {product}") from None


def _checked(model: type[Model], given: dict[str, Any]) -> Model:
    """By the rules of the API. Raises BadParameter (exit 2) naming each option that is not good."""
    from pydantic import ValidationError

    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = [f"{_option(str(one['loc'][0]))}: {one['msg']}" for one in error.errors(include_input=False)]
        raise typer.BadParameter("; ".join(faults)) from None


def _option(field: str) -> str:
    return {"name": "the name", "stock_total": "--stock"}.get(field, "--" + field.replace("_", "-"))


def _show(products: Iterable[Product]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(products)
    currency = rows[0].currency if rows else ""
    table = Table("id", "name", title=f"Prices in minor units of {currency}" if rows else None, title_justify="left")
    for column in ("price", "offer", "total", "reserved", "sold", "free"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        numbers = (row.price, row.offer_price, row.total, row.reserved, row.sold, row.free)
        shown = ["-" if number is None else str(number) for number in numbers]
        table.add_row(str(row.id), Text(row.name), *shown, ", ".join(_remarks(row)))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(table)


def _remarks(row: Product) -> list[str]:
    remarks = [] if row.available else ["not on sale"]
    remarks += ["one per cart"] if row.one_per_cart else []
    return [*remarks, *([row.tax_class] if row.tax_class else [])]
