"""Carts, for administrators: the status of one, and the invalid products of all of a tenant's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from db.audit import note
from db.database import Database, Transaction
from db.settle import settle
from domain.cart import CartStatus
from domain.errors import CartProcessing, NotFound
from domain.ids import Actor, CartId, CheckoutId, TenantId
from domain.messages import CheckoutRef, SettleRequest, Wanted

_NO_CART = "This user has no cart."
_OWNER = """
    SELECT (SELECT c.id::text FROM carts c
            WHERE c.tenant_id = %(tenant)s AND c.owner_key = 'user:' || u.id::text) AS id
    FROM users u
    WHERE u.tenant_id = %(tenant)s AND u.email_key = lower(%(email)s)
"""
_LOCK = "SELECT FROM carts WHERE tenant_id = %(tenant)s AND id = %(cart)s FOR UPDATE"
_LOOK = """
    SELECT c.status, c.checkout_id::text AS checkout_id, h.id IS NOT NULL AS live,
           coalesce(h.expires_at <= clock_timestamp(), false) AS overdue
    FROM carts c
    LEFT JOIN checkouts h ON h.tenant_id = c.tenant_id AND h.id = c.checkout_id AND h.status = 'held'
    WHERE c.tenant_id = %(tenant)s AND c.id = %(cart)s
"""
_STATE = """
    SELECT c.id::text AS cart_id, c.status, c.checkout_id::text AS checkout_id, c.updated_at,
           (SELECT count(*) FROM cart_lines l WHERE l.tenant_id = c.tenant_id AND l.cart_id = c.id)::integer AS lines
    FROM carts c WHERE c.tenant_id = %(tenant)s AND c.id = %(cart)s
"""
_SET = """
    UPDATE carts SET status = %(status)s, checkout_id = NULL, updated_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND id = %(cart)s
"""


@dataclass(frozen=True, slots=True)
class CartState:
    """A cart as its row says, without looking at what its lines are worth."""

    cart_id: CartId
    status: CartStatus
    checkout_id: CheckoutId | None
    updated_at: datetime
    lines: int


@dataclass(frozen=True, slots=True)
class StatusSet:
    """The cart's status now, and the one before."""

    cart_id: CartId
    status: CartStatus
    before: CartStatus


async def set_status(db: Database, tenant: TenantId, actor: Actor, email: str, status: CartStatus) -> StatusSet:
    """Set the status of the cart of the user with this e-mail, whatever its case.

    Raises NotFound for an unknown e-mail, or a user who has no cart; CartProcessing when the cart is to be freed and a
    live checkout holds it: cancel that one instead.
    """
    cart = await _cart_of(db, tenant, email)

    async def work(transaction: Transaction) -> StatusSet | CheckoutId:
        return await _set_status(transaction, tenant, actor, cart, status)

    done = await db.transact(tenant, work)
    if not isinstance(done, StatusSet):
        await settle(db, SettleRequest(CheckoutRef(tenant, done), Wanted.EXPIRE))
        done = await db.transact(tenant, work)
    if not isinstance(done, StatusSet):
        raise CartProcessing(checkout_id=done)
    return done


async def cart_state(db: Database, tenant: TenantId, email: str) -> CartState:
    """The cart of the user with this e-mail. Raises NotFound as `set_status` does."""
    cart = await _cart_of(db, tenant, email)
    [rows] = await db.run(tenant, (_STATE, {"tenant": tenant, "cart": cart}))
    if not rows:
        raise NotFound(_NO_CART)
    return CartState(**{**rows[0], "status": CartStatus(rows[0]["status"])})


async def _cart_of(db: Database, tenant: TenantId, email: str) -> CartId:
    [rows] = await db.run(tenant, (_OWNER, {"tenant": tenant, "email": email}))
    if not rows or rows[0]["id"] is None:
        raise NotFound(_NO_CART if rows else "There is no user with this e-mail.")
    return CartId(rows[0]["id"])


async def _set_status(
    transaction: Transaction, tenant: TenantId, actor: Actor, cart: CartId, status: CartStatus
) -> StatusSet | CheckoutId:
    """What was set; or the checkout that is over, and must be settled first."""
    values = {"tenant": tenant, "cart": cart, "status": status}
    _, rows = await transaction.read((_LOCK, values), (_LOOK, values))
    if not rows:  # It was merged into another cart in the meantime.
        raise NotFound(_NO_CART)
    row = rows[0]
    before = CartStatus(row["status"])
    if row["overdue"]:
        await transaction.commit()
        return CheckoutId(row["checkout_id"])
    if before is status:
        await transaction.commit()
        return StatusSet(cart, status, before)
    if row["live"]:
        await transaction.commit()
        raise CartProcessing("A live checkout holds this cart: cancel it.", checkout_id=row["checkout_id"])
    after = {"status": status.value}
    await transaction.commit(
        (_SET, values), note(tenant, actor, "cart.status_set", f"cart:{cart}", _status_of(row), after)
    )
    return StatusSet(cart, status, before)


def _status_of(row: DictRow) -> dict[str, str]:
    held = {"checkout_id": row["checkout_id"]} if row["checkout_id"] else {}
    return {"status": row["status"], **held}
