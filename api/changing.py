"""Extending and cancelling: ask the run; when none is open, the row."""

from __future__ import annotations

from typing import NoReturn

from api.engine import ANSWER_WAIT, CheckoutIsOver, Engine
from api.fingerprint import key_digest
from db.checkouts import CheckoutView, read_checkout
from db.database import Database
from db.extend import extend
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.errors import AlreadyConfirmed, CheckoutRefused, Gone, IdempotencyKeyReused, NotFound, Unavailable
from domain.ids import BuyerKey
from domain.messages import (
    Answer,
    Answered,
    CancelUpdate,
    CheckoutRef,
    ExtendRequest,
    ExtendUpdate,
    Settled,
    SettleRequest,
    Wanted,
)
from domain.naming import CANCEL_UPDATE, EXTEND_UPDATE


async def own_checkout(db: Database, ref: CheckoutRef, buyer: BuyerKey) -> CheckoutView:
    """The buyer's checkout, once its start has been decided. Raises NotFound, also for somebody else's."""
    return once_decided(await read_checkout(db, ref.tenant, ref.checkout_id, buyer=buyer))


def once_decided(view: CheckoutView | None) -> CheckoutView:
    """A checkout whose start has been decided. Raises NotFound for one that has not, and for none."""
    if view is None or view.row["status"] == CheckoutStatus.NEW:
        raise NotFound
    return view


async def extend_checkout(
    db: Database, engine: Engine, ref: CheckoutRef, buyer: BuyerKey, key: str, seconds: int | None, fingerprint: str
) -> CheckoutView:
    """Give a live hold more time, once per key. Raises Gone after the end, AlreadyConfirmed for a sold one."""
    await own_checkout(db, ref, buyer)
    update = ExtendUpdate(request_id=key_digest(key), fingerprint=fingerprint, seconds=seconds)
    try:
        answered = await engine.update(ref, EXTEND_UPDATE, key, update, ANSWER_WAIT)
        _obey(answered, fingerprint)
    except CheckoutIsOver:
        _judge(await extend(db, ExtendRequest(ref, update.request_id, seconds)))
    return await own_checkout(db, ref, buyer)


async def cancel_checkout(
    db: Database, engine: Engine, ref: CheckoutRef, buyer: BuyerKey, key: str, fingerprint: str
) -> CheckoutView:
    """Give the stock back now. A repeat finds it cancelled. Raises Gone when it expired, AlreadyConfirmed when sold."""
    view = await own_checkout(db, ref, buyer)
    if view.row["status"] == CheckoutStatus.CANCELLED:
        return view
    try:
        answered = await engine.update(ref, CANCEL_UPDATE, key, CancelUpdate(fingerprint), ANSWER_WAIT)
        _obey(answered, fingerprint)
    except CheckoutIsOver:
        settled = await settle(db, SettleRequest(ref, Wanted.CANCEL))
        if settled.status is not CheckoutStatus.CANCELLED:
            _judge(settled)
    return await own_checkout(db, ref, buyer)


def require_same(answered: Answered, fingerprint: str) -> None:
    """Raises IdempotencyKeyReused when the answer is to another request with the same key."""
    if answered.fingerprint != fingerprint:
        raise IdempotencyKeyReused("This key named another request; use a new key.")


def _obey(answered: Answered | None, fingerprint: str) -> None:
    if answered is None:
        raise Unavailable("It is taking longer than usual; send the same request with the same key.")
    require_same(answered, fingerprint)
    if answered.answer is Answer.ALREADY_CONFIRMED:
        raise AlreadyConfirmed
    if answered.answer is not Answer.DONE:
        raise_over(answered.status)


def _judge(settled: Settled) -> None:
    """The row's own word on a change that no run was open for. Returns when it was made."""
    if settled.status is not CheckoutStatus.HELD or settled.remaining_ms == 0:
        raise_over(settled.status)


def raise_over(status: CheckoutStatus | None) -> NoReturn:
    """Say that there is no live hold: AlreadyConfirmed, CheckoutRefused, or Gone."""
    if status is CheckoutStatus.CONFIRMED:
        raise AlreadyConfirmed
    if status is CheckoutStatus.REFUSED:
        raise CheckoutRefused("It was refused at its start and holds nothing.")
    raise Gone("The hold is over; start a new checkout.", checkout_status=status)
