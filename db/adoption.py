"""What becomes of an anonymous session's things when its buyer logs in: cart, holds and orders become the user's."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from psycopg import errors

from db.adoption_sql import (
    DROP_CART,
    FILL_CART,
    HAND_ON_HOLD,
    HELD,
    LOCK_CARTS,
    LOCK_CHECKOUTS,
    LOCK_COUNTERS,
    LOCK_SESSION,
    MAKE_CART,
    MAKE_COUNTER,
    MARK_SESSION,
    MOVE_CHECKOUTS,
    MOVE_COUNTS,
    MOVE_ORDERS,
)
from db.audit import note
from db.cart_view import CartView, view_of
from db.carts_sql import READ
from db.database import Database, Rows, Statement, Transaction
from domain.cart import CartStatus, Judged, Notice, Quantities, merged
from domain.errors import Invalid
from domain.ids import Actor, BuyerKey, CartId, SessionId, TenantId, session_key


@dataclass(frozen=True, slots=True)
class Adopted:
    """What the user should hear of: lines that were lowered or dropped when two carts became one."""

    notices: list[Notice] = field(default_factory=list)


async def adopt_session(db: Database, tenant: TenantId, session: SessionId, user: BuyerKey) -> Adopted:
    """Give a session to the user who logged in with it. Repeating it for the same user changes nothing.

    Its cart is merged into the user's; its holds live on, and its orders are kept, as the user's. A start of the
    session that is on its way comes along too: reserve reads the session under the lock that this takes. Two round
    trips. Raises Invalid when the session is somebody else's, or unknown.
    """
    values = {"tenant": tenant, "session": session, "anonymous": session_key(session), "user": user, "asked": []}

    async def work(transaction: Transaction) -> Adopted:
        locks = (LOCK_SESSION, LOCK_CHECKOUTS, MAKE_COUNTER, LOCK_COUNTERS, LOCK_CARTS)
        sessions, *_, locked, held, anonymous, own = await transaction.read(
            *((sql, values) for sql in (*locks, HELD)),
            (READ, {**values, "owner": values["anonymous"]}),
            (READ, {**values, "owner": user}),
        )
        if not sessions or sessions[0]["user_key"] not in (None, user):
            raise Invalid("This session cannot be taken over: leave `session_token` out.")
        carts = _Carts(view_of(anonymous), view_of(own), _units(held))
        if not {carts.anonymous.id, carts.own.id} <= {None, *(row["id"] for row in locked)}:
            raise _NewCart
        await transaction.commit((MARK_SESSION, values), *carts.writes(values))
        return Adopted(carts.judged.notices)

    try:
        return await db.transact(tenant, work)
    except (errors.UniqueViolation, _NewCart):
        # A first cart came into being in the same instant, and is not locked: look again.
        return await db.transact(tenant, work)


class _NewCart(Exception):
    """A cart is there that was not when the carts were locked."""


@dataclass(frozen=True, slots=True)
class _Carts:
    """The session's cart, and the user's, into which it goes. `held`: units that live holds from them have."""

    anonymous: CartView
    own: CartView
    held: Quantities

    @property
    def judged(self) -> Judged:
        if not self.anonymous.lines:
            return Judged(self.own.lines, [])
        products = {**self.anonymous.products, **self.own.products}
        return merged(self.own.lines, self.anonymous.lines, products, self.held)

    def writes(self, values: dict[str, Any]) -> list[Statement]:
        """Checkouts, limits, carts, then orders. Nothing of carts when the session has none."""
        cart = self.own.id or CartId(str(uuid.uuid4()))
        values = {**values, "cart": cart, "old_cart": self.anonymous.id}
        of_cart = self._cart_writes(values) if self.anonymous.id else []
        return [(MOVE_CHECKOUTS, values), (MOVE_COUNTS, values), *of_cart, (MOVE_ORDERS, values)]

    def _cart_writes(self, values: dict[str, Any]) -> list[Statement]:
        before, after = self.own.lines, self.judged.lines
        put = {product: quantity for product, quantity in after.items() if before.get(product) != quantity}
        lines = {
            "removed": [product for product in before if product not in after],
            "products": list(put),
            "quantities": list(put.values()),
        }
        hold = {"status": self._status, "checkout": self.own.checkout_id or self.anonymous.checkout_id}
        return [
            *([] if self.own.id else [(MAKE_CART, values)]),
            (FILL_CART, {**values, **lines}),
            (DROP_CART, values),
            (HAND_ON_HOLD, {**values, **hold}),
            self._note(values),
        ]

    @property
    def _status(self) -> CartStatus:
        processing = CartStatus.PROCESSING in (self.own.status, self.anonymous.status)
        return CartStatus.PROCESSING if processing else CartStatus.AVAILABLE

    def _note(self, values: dict[str, Any]) -> Statement:
        before = {"own": _json(self.own.lines), "session": _json(self.anonymous.lines)}
        after = {"lines": _json(self.judged.lines)}
        return note(
            values["tenant"], Actor(values["user"]), "cart.merged", f"cart:{values['cart']}",
            {**before, "session_cart": values["old_cart"]}, after,
        )  # fmt: skip


def _units(held: Rows) -> Quantities:
    return {row["product_id"]: row["quantity"] for row in held}


def _json(lines: Quantities) -> dict[str, int]:
    return {str(product): quantity for product, quantity in lines.items()}
