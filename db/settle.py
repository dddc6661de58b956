"""Settle: the only way a checkout leaves `held`. Lock and read; decide; write and commit. Two round trips.

A payment that comes when the checkout is over takes one more: the same things are held again first, if they are free.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psycopg import errors

from db.database import Database, Statement, Transaction
from db.fiscal_sql import NUMBER
from db.limits_sql import UNCOUNT
from db.settle_again import hold_again, overdue_in_the_way
from db.settle_seen import Seen
from db.settle_sql import (
    CONFIRM_CHECKOUT,
    FREE_CART,
    KEEP_LINES,
    LOCK,
    LOCK_CART,
    LOOK,
    NOTE_LATE_CART,
    REFUND_PAYMENT,
    RELEASE_CHECKOUT,
    SETTLE_EVENTS,
    TAKE_FROM_CART,
)
from domain.checkout import CheckoutStatus
from domain.ids import order_id_for
from domain.messages import CheckoutRef, Ruling, Settled, SettleRequest, Wanted
from domain.payment_decision import QUARANTINED
from domain.settlement import Verdict, decide
from domain.tenant_settings import LatePayments

MAX_ROUNDS = 3
"""Tries to free overdue holds before a late payment's things are not to be had."""


async def settle(db: Database, request: SettleRequest) -> Settled:
    """Bring a checkout to its end if its row agrees, and say what the row says now.

    Any number of callers may ask, any number of times: the row's status is the only arbiter. `confirmed`, `cancelled`,
    `expired` and "not yet" (`held` with `remaining_ms`) are ordinary answers.
    """
    try:
        return await _settle(db, request)
    except errors.UniqueViolation:
        # Another checkout decided this very payment in the same instant: look again, and see its outcome.
        return await _settle(db, request)


async def settle_within(transaction: Transaction, request: SettleRequest, *also: Statement) -> Settled:
    """To cancel or expire in a transaction of the caller's, which this commits, with the statements `also`."""
    seen = await _look(transaction, request)
    return Settled(status=None) if seen is None else await _carry_out(transaction, seen, _decide(seen), *also)


async def _settle(db: Database, request: SettleRequest) -> Settled:
    tenant = request.ref.tenant
    for _ in range(MAX_ROUNDS):
        settled = await db.transact(tenant, lambda transaction: _attempt(transaction, request, final=False))
        if settled is not None:
            return settled
        if not await _free_overdue(db, request.ref):
            break
    settled = await db.transact(tenant, lambda transaction: _attempt(transaction, request, final=True))
    if settled is None:
        raise AssertionError("a final attempt decides")
    return settled


async def _attempt(transaction: Transaction, request: SettleRequest, *, final: bool) -> Settled | None:
    """None: a late payment's things are not free, which somebody's overdue hold may be the reason of."""
    seen = await _look(transaction, request)
    if seen is None:
        return Settled(status=None)
    verdict = _decide(seen)
    if verdict.reserves and not await _had_again(transaction, seen, final):
        if not final:
            await transaction.commit()
            return None
        seen = replace(seen, to_be_had=False)
        verdict = _decide(seen)
    return await _carry_out(transaction, seen, verdict)


async def _look(transaction: Transaction, request: SettleRequest) -> Seen | None:
    values = _values(request)
    locked, looked = await transaction.read((LOCK, values), (LOOK, values))
    return Seen(request, locked[0], looked[0]) if locked else None


def _decide(seen: Seen) -> Verdict:
    return decide(seen.situation, seen.request.wanted, seen.request.capture)


async def _had_again(transaction: Transaction, seen: Seen, final: bool) -> bool:
    """Other seats only when nothing can be done about the very same ones."""
    other_seats = final and seen.situation.policy is LatePayments.EQUIVALENT
    return await hold_again(transaction, seen.request.ref, seen.row["cart_id"], other_seats=other_seats)


async def _carry_out(transaction: Transaction, seen: Seen, verdict: Verdict, *also: Statement) -> Settled:
    await transaction.commit(*_writes(seen, verdict), *also)
    return seen.settled(verdict)


async def _free_overdue(db: Database, ref: CheckoutRef) -> bool:
    """Expire what is over and stands in the way; whether there was any."""
    overdue = await overdue_in_the_way(db, ref.tenant, ref.checkout_id)
    for checkout in overdue:
        await _settle(db, SettleRequest(CheckoutRef(ref.tenant, checkout), Wanted.EXPIRE))
    return bool(overdue)


def _writes(seen: Seen, verdict: Verdict) -> list[Statement]:
    """Checkout, then limits, cart, stock items by id, payment, and fiscal series: the global lock order."""
    values = {**_values(seen.request), "at": seen.look["now"], "becomes": verdict.becomes, "cart": seen.row["cart_id"]}
    counted = verdict.becomes is not None and not verdict.reserves
    writes: list[Statement] = [(UNCOUNT, values)] if counted else []
    writes += _writes_of_cart(verdict, values)
    if verdict.becomes is CheckoutStatus.CONFIRMED and verdict.capture is not None:
        writes.append((CONFIRM_CHECKOUT, {**values, **_of_payment(verdict)}))
    elif verdict.becomes is not None:
        writes.append((RELEASE_CHECKOUT[verdict.becomes], values))
    if verdict.waits:
        writes.append((KEEP_LINES, {**values, "waits_until": seen.look["waits_until"]}))
    if verdict.ruling is Ruling.REFUND:
        writes.append((REFUND_PAYMENT, {**values, **_of_payment(verdict)}))
    if verdict.capture is not None:
        writes.append((SETTLE_EVENTS, {**values, **_of_payment(verdict)}))
    if verdict.becomes is CheckoutStatus.CONFIRMED:  # Last: everybody who confirms queues at the series.
        writes += [(sql, values) for sql in NUMBER]
    return writes


def _writes_of_cart(verdict: Verdict, values: dict[str, Any]) -> list[Statement]:
    """Sold things leave the cart, and it can be changed again. Nothing for a checkout that came from no cart."""
    if verdict.becomes is None or values["cart"] is None:
        return []
    sold = [TAKE_FROM_CART] if verdict.becomes is CheckoutStatus.CONFIRMED else []
    after = NOTE_LATE_CART if verdict.reserves else FREE_CART
    return [(sql, {**values, "late": verdict.reserves}) for sql in (LOCK_CART, *sold, after)]


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
