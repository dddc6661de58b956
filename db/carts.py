"""Carts: read and change. A change locks the cart, reads it in the next statement, decides, writes: two round trips.

Only ids and quantities are stored. What a line costs and whether it may stay is judged anew each time, by the pure
rules of `domain/cart.py`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from psycopg import errors

from db.cart_view import CartView, view_of
from db.carts_sql import CHANGE, CREATE, LOCK, LOCK_SESSION, READ
from db.database import Database, Statement, Transaction
from db.settle import settle
from domain.cart import CartStatus, Judged, Notice, Quantities, added, changed, judge
from domain.errors import CartProcessing, CartRefused, Unauthorized
from domain.ids import BuyerKey, CartId, ProductId, TenantId, session_of
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
    lock_session = [(LOCK_SESSION, values)] if values["session"] else []

    async def work(transaction: Transaction) -> CartView:
        *sessions, locked, rows = await transaction.read(*lock_session, (LOCK, values), (READ, values))
        if any(row["user_key"] for found in sessions for row in found):
            raise Unauthorized("A login has taken this session over: use the login's token.")
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
    values = {
        "tenant": tenant,
        "owner": owner,
        "cart": cart,
        "subject": f"cart:{cart}",
        "removed": _array(removed),
        "products": _array(put),
        "quantities": _array(put.values()),
        **_changed_note(before, wanted),
        **_validated_note(judged.notices),
    }
    return [(CHANGE if view.id else CREATE, values)]


def _changed_note(before: Quantities, wanted: Quantities) -> dict[str, str | None]:
    """What its owner changed."""
    differ = [each for each in {**before, **wanted} if before.get(each) != wanted.get(each)]
    if not differ:
        return {"changed_before": None, "changed_after": None}
    old, new = ({"lines": {str(each): lines.get(each, 0) for each in differ}} for lines in (before, wanted))
    return {"changed_before": json.dumps(old), "changed_after": json.dumps(new)}


def _validated_note(notices: Sequence[Notice]) -> dict[str, str | None]:
    """What had to go, and why."""
    if not notices:
        return {"validated_before": None, "validated_after": None}
    old = {"lines": {str(each.product_id): each.before for each in notices}}
    new = {"lines": {str(each.product_id): each.after for each in notices}}
    reasons = {"reasons": {str(each.product_id): each.reason.value for each in notices}}
    return {"validated_before": json.dumps(old), "validated_after": json.dumps(new | reasons)}


def _array(numbers: Iterable[int]) -> str:
    """A PostgreSQL array of integers, as text: of one type whatever their size, and quicker than the driver's lists."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _values(tenant: TenantId, owner: BuyerKey, asked: tuple[ProductId, ...] = ()) -> Mapping[str, Any]:
    return {"tenant": tenant, "owner": owner, "session": session_of(owner), "asked": _array(asked)}
