"""The rules of a cart: what may stay in it, what it costs, how it changes, and how two become one. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from domain.checkout import MAX_LINES, MAX_QUANTITY
from domain.errors import AlreadyInCart, CartRefused
from domain.ids import ProductId
from domain.tax import tax_on

Quantities = Mapping[ProductId, int]
"""Units by product."""


class CartStatus(StrEnum):
    """A `processing` cart refuses changes: a checkout holds it, or an administrator has set it so."""

    AVAILABLE = "available"
    PROCESSING = "processing"


class ProductNow(NamedTuple):
    """A product as it is now. Amounts in minor units; `free`: units that can be reserved now.

    `name` is None of a product that is gone and still shown, because a cart that is processing holds it. `tax_rate` in
    basis points, 0 without a tax; `tax_included`: prices have it in them.
    """

    id: ProductId
    name: str | None
    price: int
    offer_price: int | None
    available: bool
    one_per_cart: bool
    free: int
    tax_rate: int = 0
    tax_included: bool = False

    @property
    def unit_price(self) -> int:
        """What one unit costs now: the offer, when there is one that takes something off."""
        offer = self.offer_price
        return offer if offer is not None and 0 < offer < self.price else self.price


Products = Mapping[ProductId, ProductNow]
"""The products there are; a product that is not in it is gone."""


class NoticeReason(StrEnum):
    """Why a line was removed, or lowered (`reduced`)."""

    GONE = "gone"
    UNAVAILABLE = "unavailable"
    SOLD_OUT = "sold_out"
    NO_PRICE = "no_price"
    REDUCED = "reduced"


class Refusal(StrEnum):
    """Why a line cannot be raised."""

    GONE = "gone"
    UNAVAILABLE = "unavailable"
    SOLD_OUT = "sold_out"
    NO_PRICE = "no_price"
    INSUFFICIENT_STOCK = "insufficient_stock"
    ONE_PER_CART = "one_per_cart"
    ALREADY_IN_CART = "already_in_cart"
    TOO_MANY = "too_many"
    TOO_MANY_LINES = "too_many_lines"


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that was changed without its owner's doing. `name` is None when the product is gone; `after` 0: removed.

    A line that was dropped because a cart has no room for more lines is `reduced` to 0.
    """

    product_id: ProductId
    name: str | None
    reason: NoticeReason
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The lines that stay, and a notice for each that was lowered or removed."""

    lines: dict[ProductId, int]
    notices: list[Notice]


@dataclass(frozen=True, slots=True)
class Totals:
    """`subtotal` at list prices, `discount`: what offers take off, `tax`: what prices do not include.

    `total = subtotal - discount + tax`. Minor units.
    """

    subtotal: int
    discount: int
    total: int
    tax: int = 0


def judge(lines: Quantities, products: Products) -> Judged:
    """What every read does: remove what cannot be bought now, lower what is more than can be had."""
    kept: dict[ProductId, int] = {}
    notices: list[Notice] = []
    for product_id, quantity in lines.items():
        product = products.get(product_id)
        # The common case in one look: a hundred of these lie on the way of every request.
        if product is not None and quantity <= product.free and _is_plain(product):
            kept[product_id] = quantity
            continue
        after = 0 if fault_of(product) else min(quantity, _most(product))
        _settle(product_id, product, quantity, after, kept, notices)
    return Judged(kept, notices)


def totals(lines: Quantities, products: Products) -> Totals:
    """The sums of these lines at the products' prices now. Every line's product must be there."""
    subtotal = sum(products[product_id].price * quantity for product_id, quantity in lines.items())
    paid = [
        (products[product_id], products[product_id].unit_price * quantity) for product_id, quantity in lines.items()
    ]
    net = sum(amount for _, amount in paid)
    # Most shops have no taxes on top: those lines are not computed.
    tax = sum(
        tax_on(amount, product.tax_rate, included=False)
        for product, amount in paid
        if product.tax_rate and not product.tax_included
    )
    return Totals(subtotal, subtotal - net, net + tax, tax)


class HeldPrice(NamedTuple):
    """What a hold has fixed for a product."""

    price: int
    offer_price: int
    tax_rate: int
    tax_included: bool


def as_held(lines: Quantities, products: Products, held: Mapping[ProductId, HeldPrice]) -> Products:
    """The products of a cart that is processing: nothing is missing, and what its hold holds has the prices held."""
    shown = {}
    for product_id in lines:
        product = products.get(product_id) or ProductNow(product_id, None, 0, None, False, False, 0)
        shown[product_id] = product._replace(**fixed._asdict()) if (fixed := held.get(product_id)) else product
    return shown


def added(lines: Quantities, product_id: ProductId, quantity: int) -> dict[ProductId, int]:
    """The delta that adds units to what is there."""
    return {product_id: lines.get(product_id, 0) + quantity}


def changed(lines: Quantities, delta: Quantities, products: Products) -> dict[ProductId, int]:
    """The lines after setting each product of `delta` to its quantity (0 removes), all or nothing.

    A line that is raised must be for sale, have a price, and fit stock and limits; lowering and removing is always
    allowed. Raises CartRefused (AlreadyInCart when nothing else is wrong) with `products`: each that failed, as
    `{"product_id", "reason", "requested", "available"}`.
    """
    after = {product_id: quantity for product_id, quantity in {**lines, **delta}.items() if quantity > 0}
    refused = {
        product_id: reason
        for product_id, quantity in delta.items()
        if quantity > lines.get(product_id, 0)
        and (reason := _refusal(products.get(product_id), quantity, there=product_id in lines))
    }
    if not refused and len(after) > MAX_LINES:
        refused = dict.fromkeys(_past_the_limit(lines, after, products), Refusal.TOO_MANY_LINES)
    if refused:
        raise _refused(refused, delta, products)
    return after


def merged(own: Quantities, other: Quantities, products: Products, held: Quantities) -> Judged:
    """Both carts in one: quantities add up, as far as stock and limits allow; a notice for every line cut or dropped.

    `held`: units that the two carts' own live holds hold, which are theirs beside what is free. Gives the same lines
    whichever cart is named first; when there are too many, those with held units stay, then those of lower ids.
    """
    kept: dict[ProductId, int] = {}
    notices: list[Notice] = []
    for product_id in sorted({*own, *other}, key=lambda product_id: (product_id not in held, product_id)):
        product, wanted = products.get(product_id), own.get(product_id, 0) + other.get(product_id, 0)
        room = min(_room(product, held.get(product_id, 0)), MAX_QUANTITY if len(kept) < MAX_LINES else 0)
        _settle(product_id, product, wanted, min(wanted, room), kept, notices)
    return Judged(kept, notices)


def fault_of(product: ProductNow | None) -> NoticeReason | None:
    """Why not even one unit of it can be bought now; None when it can."""
    if product is None:
        return NoticeReason.GONE
    if not product.available:
        return NoticeReason.UNAVAILABLE
    if product.price <= 0:
        return NoticeReason.NO_PRICE
    return NoticeReason.SOLD_OUT if product.free <= 0 else None


def _is_plain(product: ProductNow) -> bool:
    return product.available and product.price > 0 and not product.one_per_cart


def _most(product: ProductNow | None) -> int:
    """Units of it that a cart can have now."""
    if product is None:
        return 0
    return min(1 if product.one_per_cart else MAX_QUANTITY, max(product.free, 0))


def _room(product: ProductNow | None, held: int) -> int:
    limit = 1 if product is not None and product.one_per_cart else MAX_QUANTITY
    free = 0 if product is None or fault_of(product) else product.free
    return min(limit, free + held)


def _settle(
    product_id: ProductId,
    product: ProductNow | None,
    before: int,
    after: int,
    kept: dict[ProductId, int],
    notices: list[Notice],
) -> None:
    """Keep `after` of `before` units, with a notice when it is less."""
    if after:
        kept[product_id] = after
    if after < before:
        reason = (None if after else fault_of(product)) or NoticeReason.REDUCED
        notices.append(Notice(product_id, product.name if product else None, reason, before, after))


def _refusal(product: ProductNow | None, quantity: int, *, there: bool) -> Refusal | None:
    fault = fault_of(product)
    if product is None or fault:
        return Refusal(fault or Refusal.GONE)
    if product.one_per_cart and quantity > 1:
        return Refusal.ALREADY_IN_CART if there else Refusal.ONE_PER_CART
    if quantity > MAX_QUANTITY:
        return Refusal.TOO_MANY
    return Refusal.INSUFFICIENT_STOCK if quantity > product.free else None


def _past_the_limit(lines: Quantities, after: Quantities, products: Products) -> Iterable[ProductId]:
    """The new products for which there is no room, once the lines are gone that the next read removes anyway."""
    excess = sum(1 for product_id in after if not fault_of(products.get(product_id))) - MAX_LINES
    new = [product_id for product_id in after if product_id not in lines]
    return new[-excess:] if excess > 0 else ()


def _refused(refused: Mapping[ProductId, Refusal], delta: Quantities, products: Products) -> CartRefused:
    failing: list[dict[str, Any]] = [
        {
            "product_id": product_id,
            "reason": reason.value,
            "requested": delta[product_id],
            "available": 0 if fault_of(products.get(product_id)) else _most(products.get(product_id)),
        }
        for product_id, reason in refused.items()
    ]
    if set(refused.values()) == {Refusal.ALREADY_IN_CART}:
        return AlreadyInCart("It is sold once per cart, and is there already.", products=failing)
    return CartRefused(
        "Nothing was changed. See `products` for each that failed and what is available.", products=failing
    )
