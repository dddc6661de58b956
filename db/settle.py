"""Settle: the only way a checkout leaves `held`. Lock and read; decide; write and commit. Two round trips."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import errors
from psycopg.rows import DictRow

from db.database import Database, Statement, Transaction
from db.limits_sql import UNCOUNT
from db.settle_sql import (
    CONFIRM_CHECKOUT,
    FREE_CART,
    LOCK,
    LOCK_CART,
    LOOK,
    REFUND_PAYMENT,
    RELEASE_CHECKOUT,
    SETTLE_EVENTS,
    TAKE_FROM_CART,
)
from domain.checkout import CheckoutStatus
from domain.ids import GatewayName, PaymentId, order_id_for
from domain.messages import Capture, Ruling, Settled, SettleRequest, Wanted
from domain.settlement import QUARANTINED, Situation, Verdict, decide


async def settle(db: Database, request: SettleRequest) -> Settled:
    """Bring a checkout to its end if its row agrees, and say what the row says now.

    Any number of callers may ask, any number of times: the row's status is the only arbiter. `confirmed`, `cancelled`,
    `expired` and "not yet" (`held` with `remaining_ms`) are ordinary answers.
    """

    async def work(transaction: Transaction) -> Settled:
        return await settle_within(transaction, request)

    try:
        return await db.transact(request.ref.tenant, work)
    except errors.UniqueViolation:
        # Another checkout decided this very payment in the same instant: look again, and see its outcome.
        return await db.transact(request.ref.tenant, work)


async def settle_within(transaction: Transaction, request: SettleRequest, *also: Statement) -> Settled:
    """The same in a transaction of the caller's, which this commits, with the statements `also`."""
    values = _values(request)
    locked, looked = await transaction.read((LOCK, values), (LOOK, values))
    if not locked:
        return Settled(status=None)
    seen = _Seen(request, locked[0], looked[0])
    verdict = decide(seen.situation, request.wanted, request.capture)
    await transaction.commit(*_writes(seen, verdict), *also)
    return seen.settled(verdict)


@dataclass(frozen=True, slots=True)
class _Seen:
    request: SettleRequest
    row: DictRow
    look: DictRow

    @property
    def situation(self) -> Situation:
        row, look = self.row, self.look
        return Situation(
            checkout_id=self.request.ref.checkout_id,
            status=CheckoutStatus(row["status"]),
            expires_at=row["expires_at"],
            now=look["now"],
            total=row["total"],
            currency=row["currency"],
            order_payment=(look["paid_gateway"], look["paid_by"]) if look["paid_by"] else None,
            decided=Ruling(look["decided"]) if look["decided"] else Ruling.NONE,
            in_hand=self._in_hand(),
        )

    def _in_hand(self) -> Capture | None:
        event = self.look["in_hand"]
        if event is None:
            return None
        return Capture(
            gateway=GatewayName(event["gateway"]),
            payment_id=PaymentId(event["payment_id"]),
            checkout_id=self.request.ref.checkout_id,
            amount=event["amount"],
            currency=event["currency"],
            received_at=datetime.fromisoformat(event["received_at"]),
        )

    def settled(self, verdict: Verdict) -> Settled:
        """The state after the verdict was carried out."""
        status = verdict.becomes or CheckoutStatus(self.row["status"])
        paid_by = (
            verdict.capture.payment_id if verdict.becomes is CheckoutStatus.CONFIRMED and verdict.capture else None
        )
        ref = self.request.ref
        return Settled(
            status=status,
            remaining_ms=self.look["remaining_ms"] or 0 if status is CheckoutStatus.HELD else 0,
            order_id=order_id_for(ref.tenant, ref.checkout_id) if status is CheckoutStatus.CONFIRMED else None,
            paid_by=paid_by or self.look["paid_by"],
            ruling=verdict.ruling if verdict.ruling is not Ruling.NONE else self._standing(),
            reason=verdict.reason or self.look["decided_reason"] or "",
        )

    def _standing(self) -> Ruling:
        """What was decided of this payment before, so that a repeat hears the same."""
        return Ruling(self.look["decided"]) if self.look["decided"] else Ruling.NONE


def _writes(seen: _Seen, verdict: Verdict) -> list[Statement]:
    """Checkout, then limits, cart, stock items by id, and payment: the global lock order."""
    values = {**_values(seen.request), "at": seen.look["now"], "becomes": verdict.becomes, "cart": seen.row["cart_id"]}
    writes: list[Statement] = [(UNCOUNT, values)] if verdict.becomes is not None else []
    writes += _writes_of_cart(verdict.becomes, values)
    if verdict.becomes is CheckoutStatus.CONFIRMED and verdict.capture is not None:
        writes.append((CONFIRM_CHECKOUT, {**values, **_of_payment(verdict)}))
    elif verdict.becomes is not None:
        writes.append((RELEASE_CHECKOUT, values))
    if verdict.ruling is Ruling.REFUND:
        writes.append((REFUND_PAYMENT, {**values, **_of_payment(verdict)}))
    if verdict.capture is not None:
        writes.append((SETTLE_EVENTS, {**values, **_of_payment(verdict)}))
    return writes


def _writes_of_cart(becomes: CheckoutStatus | None, values: dict[str, Any]) -> list[Statement]:
    """Sold things leave the cart, and it can be changed again. Nothing for a checkout that came from no cart."""
    if becomes is None or values["cart"] is None:
        return []
    sold = [TAKE_FROM_CART] if becomes is CheckoutStatus.CONFIRMED else []
    return [(sql, values) for sql in (LOCK_CART, *sold, FREE_CART)]


def _values(request: SettleRequest) -> dict[str, Any]:
    ref, capture = request.ref, request.capture
    return {
        "tenant": ref.tenant,
        "checkout": ref.checkout_id,
        "order": order_id_for(ref.tenant, ref.checkout_id),
        "gateway": capture.gateway if capture else None,
        "payment": capture.payment_id if capture else None,
        "looks_for_payment": request.wanted is Wanted.EXPIRE,
    }


def _of_payment(verdict: Verdict) -> dict[str, Any]:
    capture = verdict.capture
    if capture is None:
        raise ValueError("a ruling on a payment needs its capture")
    return {
        "gateway": capture.gateway,
        "payment": capture.payment_id,
        "amount": capture.amount,
        "payment_currency": capture.currency,
        "reason": verdict.reason,
        "quarantined": verdict.reason in QUARANTINED,
    }
