"""Carts: read and change. A change locks the cart, reads it in the next statement, decides, writes: two round trips.

Only ids and quantities are stored. What a line costs and whether it may stay is judged anew each time, by the pure
rules of `domain/cart.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from psycopg import errors

from db.audit import note
from db.cart_view import CartView, view_of
from db.carts_sql import CHANGE, CREATE, LOCK, READ
from db.database import Database, Statement, Transaction
from db.settle import settle
from domain.cart import CartStatus, Judged, Notice, Quantities, added, changed, judge
from domain.errors import CartProcessing, CartRefused
from domain.ids import Actor, BuyerKey, CartId, ProductId, TenantId
from domain.messages import CheckoutRef, SettleRequest, Wanted

MOST_HOLDS = 3
"""Overdue holds of one cart that a request settles before it takes the cart as it is."""
Delta = Callable[[Quantities], Quantities]
"""From the lines there are to the quantities that are to be set; 0 removes."""


class _MadeMeanwhile(Exception):
    """There was no cart to lock, and yet one to read: it was made between the two statements."""


async def read_cart(db: Database, tenant: TenantId, owner: BuyerKey) -> CartView:
    """The owner's cart, priced now. Lines that cannot be bought any more are removed or lowered, with notices.

    One round trip when there is nothing to remove. A cart that is processing is shown as it is, at the prices held.
    Raises NotFound when there is no such tenant.
    """

    async def once() -> CartView:
        [rows] = await db.run(tenant, (READ, _values(tenant, owner)))
        view = view_of(rows)
        if view.status is CartStatus.PROCESSING or not judge(view.lines, view.products).notices:
            return view
        return await _change(db, tenant, owner, (), _nothing)

    return await _patiently(db, tenant, once)


async def set_quantities(db: Database, tenant: TenantId, owner: BuyerKey, delta: Quantities) -> CartView:
    """Set each product of `delta` to its quantity (0 removes), all or nothing; the whole cart then.

    Raises CartRefused when a line cannot be raised, CartProcessing while a checkout holds the cart.
    """
    return await _changed(db, tenant, owner, tuple(delta), lambda _: delta)


async def add_units(db: Database, tenant: TenantId, owner: BuyerKey, product_id: ProductId, quantity: int) -> CartView:
    """Add units of a product to what is there. Raises as `set_quantities`; AlreadyInCart if sold once per cart."""
    return await _changed(db, tenant, owner, (product_id,), lambda lines: added(lines, product_id, quantity))


async def clear_cart(db: Database, tenant: TenantId, owner: BuyerKey) -> CartView:
    """Remove every line. Raises CartProcessing while a checkout holds the cart."""
    return await _changed(db, tenant, owner, (), lambda lines: dict.fromkeys(lines, 0))


def _nothing(_: Quantities) -> Quantities:
    return {}


async def _changed(
    db: Database, tenant: TenantId, owner: BuyerKey, asked: tuple[ProductId, ...], delta: Delta
) -> CartView:
    view = await _patiently(db, tenant, lambda: _change(db, tenant, owner, asked, delta))
    if view.status is CartStatus.PROCESSING:
        raise CartProcessing(checkout_id=view.checkout_id)
    return view


async def _patiently(db: Database, tenant: TenantId, once: Callable[[], Awaitable[CartView]]) -> CartView:
    """Do it again when a hold that is over, and not settled yet, stood in the way: it blocks nobody."""
    view = await once()
    for _ in range(MOST_HOLDS):
        if not view.overdue or view.checkout_id is None:
            break
        await settle(db, SettleRequest(CheckoutRef(tenant, view.checkout_id), Wanted.EXPIRE))
        view = await once()
    return view


async def _change(
    db: Database, tenant: TenantId, owner: BuyerKey, asked: tuple[ProductId, ...], delta: Delta
) -> CartView:
    """Change the cart if it is available; as it stands when it is processing."""
    values = _values(tenant, owner, asked)

    async def work(transaction: Transaction) -> CartView:
        locked, rows = await transaction.read((LOCK, values), (READ, values))
        view = view_of(rows)
        if view.id and not locked:
            raise _MadeMeanwhile
        if view.status is CartStatus.PROCESSING:
            await transaction.commit()
            return view
        try:
            wanted = changed(view.lines, delta(view.lines), view.products)
        except CartRefused:
            await transaction.commit()  # Nothing: see `Transaction.commit`.
            raise
        return await _store(transaction, tenant, owner, view, wanted)

    try:
        return await db.transact(tenant, work)
    except (errors.UniqueViolation, _MadeMeanwhile):
        # The owner's first two changes came in the same instant, and the other one made the cart: now it can be locked.
        return await db.transact(tenant, work)


async def _store(
    transaction: Transaction, tenant: TenantId, owner: BuyerKey, view: CartView, wanted: dict[ProductId, int]
) -> CartView:
    """Write what differs, and commit."""
    judged = judge(wanted, view.products)
    writes = _writes(tenant, owner, view, wanted, judged)
    written = await transaction.commit(*writes)
    if not writes:
        return view
    cart = CartId(writes[0][1]["cart"])
    return replace(view, id=cart, updated_at=written[0][0]["updated_at"], lines=judged.lines, notices=judged.notices)


def _writes(tenant: TenantId, owner: BuyerKey, view: CartView, wanted: Quantities, judged: Judged) -> list[Statement]:
    before, after = view.lines, judged.lines
    put = {product_id: quantity for product_id, quantity in after.items() if before.get(product_id) != quantity}
    removed = [product_id for product_id in before if product_id not in after]
    if not put and not removed:
        return []
    cart = view.id or CartId(str(uuid.uuid4()))
    values: dict[str, Any] = {"tenant": tenant, "owner": owner, "cart": cart, "removed": removed}
    values |= {"products": list(put), "quantities": list(put.values())}
    return [(CHANGE if view.id else CREATE, values), *_notes(tenant, Actor(owner), cart, before, wanted, judged)]


def _notes(
    tenant: TenantId, actor: Actor, cart: CartId, before: Quantities, wanted: Quantities, judged: Judged
) -> list[Statement]:
    """What its owner changed, and what had to go, each by itself."""
    notes, subject = [], f"cart:{cart}"
    differ = [each for each in {**before, **wanted} if before.get(each) != wanted.get(each)]
    if differ:
        old, new = ({str(each): lines.get(each, 0) for each in differ} for lines in (before, wanted))
        notes.append(note(tenant, actor, "cart.changed", subject, {"lines": old}, {"lines": new}))
    if judged.notices:
        old, new, reasons = told(judged.notices)
        notes.append(note(tenant, actor, "cart.validated", subject, {"lines": old}, {"lines": new, "reasons": reasons}))
    return notes


def told(notices: list[Notice]) -> tuple[dict[str, int], dict[str, int], dict[str, str]]:
    """Notices as the audit log has them: quantities before, after, and the reason, each by product id."""
    before = {str(each.product_id): each.before for each in notices}
    after = {str(each.product_id): each.after for each in notices}
    return before, after, {str(each.product_id): each.reason.value for each in notices}


def _values(tenant: TenantId, owner: BuyerKey, asked: tuple[ProductId, ...] = ()) -> Mapping[str, Any]:
    return {"tenant": tenant, "owner": owner, "asked": list(asked)}
