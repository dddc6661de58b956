"""Starting a payment: the wish is stored before the gateway is asked, its answer after, so that a repeat resumes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import DictRow

from db.database import Database, Statement, Transaction
from db.payments import note_of
from db.telling import telling
from domain.checkout import CheckoutStatus, is_over
from domain.checkout_events import CheckoutEventKind
from domain.errors import IdempotencyKeyReused
from domain.gateway import GatewayPayment, PaymentToStart
from domain.ids import BuyerKey, GatewayName, PaymentId
from domain.messages import CheckoutRef
from domain.naming import start_key

MOST_STARTS = 20
"""Of one checkout. A buyer tries another card, not a hundred; and the hold's end asks the gateway about each."""
ASKED_AGAIN_FOR = timedelta(hours=12)
"""How long a start is asked for again with its key: gateways forget keys (Stripe after a day), and would make another
payment then."""


@dataclass(frozen=True, slots=True)
class PaymentWish:
    """A request to start a payment. `request_id`: what is kept of its Idempotency-Key."""

    ref: CheckoutRef
    buyer: BuyerKey
    request_id: str
    fingerprint: str
    gateway: GatewayName
    return_url: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentStart:
    """A stored wish. `amount`: the checkout's total when it was stored, in minor units; `total`: what it is now."""

    ref: CheckoutRef
    request_id: str
    gateway: GatewayName
    amount: int
    currency: str
    return_url: str | None
    ends_at: datetime
    """The last moment to which the hold could be extended."""
    total: int
    payment_id: PaymentId | None
    """None: nobody knows whether the gateway has acted."""
    closed: bool
    """Nothing comes of it (any more): refused, given up, or asked about at the hold's end."""
    asked_at: datetime
    """When this was read, by the database's clock."""
    may_be_asked: bool
    """Whether the gateway can be asked with its key and is sure to know it."""

    @property
    def to_start(self) -> PaymentToStart:
        """What the gateway is asked for: the same each time, or it would not be the same request there."""
        return PaymentToStart(
            self.ref.checkout_id,
            self.amount,
            self.currency,
            start_key(self.ref.tenant, self.ref.checkout_id, self.request_id),
            self.ends_at,
            f"Checkout {self.ref.checkout_id[:8]}",
            self.return_url,
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of a wish. `start` is None when there is nothing to start: `status`, `total` and `starts` say why."""

    start: PaymentStart | None
    status: CheckoutStatus | None
    """None: there is no such checkout, or it is somebody else's."""
    live: bool = False
    total: int = 0
    starts: int = 0


_LOCK = """
    SELECT status, buyer_key, expires_at, total, currency FROM checkouts
    WHERE tenant_id = %(tenant)s AND id = %(checkout)s FOR UPDATE
"""
_START = """
    SELECT s.request_id, s.fingerprint, s.gateway, s.amount, s.currency, s.return_url, s.requested_at, s.payment_id,
           s.closed_at, c.total, c.held_at + make_interval(secs => c.maximum_seconds) AS ends_at,
           clock_timestamp() AS now
    FROM payment_starts s JOIN checkouts c ON c.tenant_id = s.tenant_id AND c.id = s.checkout_id
    WHERE s.tenant_id = %(tenant)s AND s.checkout_id = %(checkout)s
"""
_THIS = _START + " AND s.request_id = %(request)s"
UNFINISHED = _START + " AND s.payment_id IS NULL AND s.closed_at IS NULL"
_LOOK = """
    SELECT clock_timestamp() AS now, (
        SELECT count(*) FROM payment_starts WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s) AS starts
"""
_INSERT = """
    INSERT INTO payment_starts (tenant_id, checkout_id, request_id, fingerprint, gateway, amount, currency, return_url,
                                requested_at)
    VALUES (%(tenant)s, %(checkout)s, %(request)s, %(fingerprint)s, %(gateway)s, %(amount)s, %(currency)s,
            %(return_url)s, %(now)s)
"""
_FINISH = f"""
    WITH finished AS (
        UPDATE payment_starts SET payment_id = %(payment)s
        WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND request_id = %(request)s
          AND payment_id IS NULL AND closed_at IS NULL
        RETURNING tenant_id, checkout_id, gateway, payment_id, amount, currency
    ), news AS (
        SELECT tenant_id, checkout_id, clock_timestamp() AS at, jsonb_build_object(
            'gateway', gateway, 'payment_id', payment_id, 'amount', amount, 'currency', currency) AS data
        FROM finished
    ), {telling("news", CheckoutEventKind.PAYMENT_STARTED)}
    SELECT count(*) FROM finished
"""
# The payment was on its way from the moment in which it was asked for, whatever it took to hear of it.
_KNOWN_SINCE = """
    UPDATE payments p SET known_at = s.requested_at
    FROM payment_starts s
    WHERE s.tenant_id = %(tenant)s AND s.checkout_id = %(checkout)s AND s.request_id = %(request)s
      AND p.tenant_id = s.tenant_id AND p.gateway = s.gateway AND p.payment_id = %(payment)s
      AND p.known_at > s.requested_at
"""
_CLOSE = """
    UPDATE payment_starts SET closed_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND request_id = %(request)s AND closed_at IS NULL
"""
GIVE_UP = """
    UPDATE payment_starts SET closed_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND payment_id IS NULL AND closed_at IS NULL
"""
"""Every unfinished start of a checkout whose total changes: a payment made by it was never handed to a buyer."""


async def begin_payment(db: Database, wish: PaymentWish) -> Begun:
    """Store the wish under the checkout's lock if its hold is live, or find what the same key stored before.

    Raises IdempotencyKeyReused when the key came with something else. Two round trips.
    """
    values = _values(wish.ref, wish.request_id)

    async def work(transaction: Transaction) -> Begun:
        locked, looked, found = await transaction.read((_LOCK, values), (_LOOK, values), (_THIS, values))
        if not locked or locked[0]["buyer_key"] != wish.buyer:
            await transaction.commit()
            return Begun(None, None)
        if found and found[0]["fingerprint"] != wish.fingerprint:
            raise IdempotencyKeyReused("This key named another request; use a new key.")
        return await _begin(transaction, wish, locked[0], looked[0], found)

    return await db.transact(wish.ref.tenant, work)


async def _begin(
    transaction: Transaction, wish: PaymentWish, row: DictRow, look: DictRow, found: list[DictRow]
) -> Begun:
    status, values = CheckoutStatus(row["status"]), _values(wish.ref, wish.request_id)
    live = status is CheckoutStatus.HELD and not is_over(look["now"], row["expires_at"])
    writes: list[Statement] = []
    if live and not found and row["total"] > 0 and look["starts"] < MOST_STARTS:
        asked = {"fingerprint": wish.fingerprint, "gateway": wish.gateway, "return_url": wish.return_url}
        of_row = {"amount": row["total"], "currency": row["currency"], "now": look["now"]}
        writes = [(_INSERT, {**values, **asked, **of_row}), (_THIS, values)]
    stored = await transaction.commit(*writes)
    rows = found or (stored[-1] if stored else [])
    start = start_of(wish.ref, rows[0]) if rows else None
    return Begun(start, status, live, row["total"], look["starts"])


async def finish_start(db: Database, ref: CheckoutRef, request_id: str, payment: GatewayPayment) -> PaymentStart:
    """Note the payment that the gateway made for a start; the start as it is then. One round trip.

    Its `closed` says that it was given up meanwhile: then its payment must not be handed to anybody.
    """
    values = {**_values(ref, request_id), "payment": payment.payment_id}
    note = note_of(ref.tenant, payment)
    # Under the checkout's lock: a change of its lines has given this start up, or sees its payment.
    finish = ((_LOCK, values), note, (_FINISH, values), (_KNOWN_SINCE, values), (_THIS, values))
    *_, found = await db.run(ref.tenant, *finish)
    return start_of(ref, found[0])


async def close_start(db: Database, ref: CheckoutRef, request_id: str) -> None:
    """Nothing comes of this start (any more). A repeat changes nothing."""
    await db.run(ref.tenant, (_CLOSE, _values(ref, request_id)))


def start_of(ref: CheckoutRef, row: DictRow) -> PaymentStart:
    """The start that a row of `UNFINISHED` shows."""
    return PaymentStart(
        ref,
        row["request_id"],
        GatewayName(row["gateway"]),
        row["amount"],
        row["currency"],
        row["return_url"],
        row["ends_at"],
        row["total"],
        PaymentId(row["payment_id"]) if row["payment_id"] else None,
        row["closed_at"] is not None,
        row["now"],
        row["now"] < row["requested_at"] + ASKED_AGAIN_FOR,
    )


def _values(ref: CheckoutRef, request_id: str) -> dict[str, Any]:
    return {"tenant": ref.tenant, "checkout": ref.checkout_id, "request": request_id}
