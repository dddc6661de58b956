"""Changing the lines of a live hold: look first, then ask the run; when none is open, the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.changing import raise_over, require_same
from api.checkout_views import insufficient_stock, payment_in_flight, refusal
from api.engine import ANSWER_WAIT, CheckoutIsOver, Engine
from api.fingerprint import key_digest
from db.checkouts import CheckoutView
from db.database import Database
from db.line_metadata import remember_metadata
from db.lines import change_lines
from db.lines_look import LinesLook, look_before_change
from domain.checkout import CheckoutStatus
from domain.errors import HoldfastError, IdempotencyKeyReused, NotFound, Unavailable
from domain.ids import BuyerKey, LineId
from domain.messages import Answer, CheckoutRef, Line, LinesOutcome, LinesRequest, LinesUpdate
from domain.naming import LINES_UPDATE


@dataclass(frozen=True, slots=True)
class LineChange:
    """What a caller wants: lines more, with their metadata as JSON (see `line_models.summed`), or one line less."""

    ref: CheckoutRef
    buyer: BuyerKey
    key: str
    fingerprint: str
    add: list[Line]
    metadata: str | None = None
    remove: LineId | None = None

    @property
    def request_id(self) -> str:
        return key_digest(self.key)


async def change_checkout_lines(db: Database, engine: Engine, change: LineChange) -> CheckoutView:
    """The checkout as it is after the change, made now or when the same key came before.

    Raises InsufficientStock or LimitReached, which leave the hold as it was, NotFound for a line that is not in it,
    PaymentInFlight while a payment of the present total is open, Gone after the end, AlreadyConfirmed for a sold one,
    IdempotencyKeyReused when the key came with something else.
    """
    look = await _look(db, change)
    if look.stored is None:
        _refuse_early(look, change)
        await _make(db, engine, change)
        look = await _look(db, change)
    _judge(look, change)
    return look.view


async def _look(db: Database, change: LineChange) -> LinesLook:
    look = await look_before_change(db, change.ref, change.request_id, change.add, buyer=change.buyer)
    if look is None or look.view.row["status"] == CheckoutStatus.NEW:
        raise NotFound
    return look


def _refuse_early(look: LinesLook, change: LineChange) -> None:
    """What cannot succeed costs no workflow. This answer is not stored: the same key may try again."""
    if look.view.row["status"] != CheckoutStatus.HELD:
        raise_over(CheckoutStatus(look.view.row["status"]))
    if change.remove is not None and change.remove not in {line["id"] for line in look.view.lines}:
        raise NotFound
    _refuse_while_paying(look.view, change)
    if look.shortages:
        raise insufficient_stock(look.shortages)


def _refuse_while_paying(view: CheckoutView, change: LineChange) -> None:
    """Taking the last line out is a cancel, which waits for no payment."""
    cancels = change.remove is not None and len(view.lines) == 1
    payments = [
        {name: one[name] for name in ("gateway", "payment_id", "status")} for one in view.payments if one["open"]
    ]
    if payments and not cancels:
        raise payment_in_flight(payments)


async def _make(db: Database, engine: Engine, change: LineChange) -> None:
    """Let the run, or the row, decide. What became of it is in the database then."""
    if change.metadata is not None:
        ref = change.ref
        await remember_metadata(db, ref.tenant, ref.checkout_id, change.fingerprint, change.metadata)
    update = LinesUpdate(change.request_id, change.fingerprint, change.add, change.remove)
    try:
        answered = await engine.update(change.ref, LINES_UPDATE, change.key, update, ANSWER_WAIT)
    except CheckoutIsOver:
        request = LinesRequest(change.ref, change.request_id, change.fingerprint, change.add, change.remove)
        changed = await change_lines(db, request)
        if changed.outcome is LinesOutcome.OVER:
            raise_over(changed.row.status)
        return
    if answered is None:
        raise Unavailable("It is taking longer than usual; send the same request with the same key.")
    require_same(answered, change.fingerprint)
    if answered.answer not in (Answer.DONE, Answer.REFUSED):
        raise_over(answered.status)


def _judge(look: LinesLook, change: LineChange) -> None:
    """What stands in the row of the request."""
    if look.stored is None:
        raise Unavailable
    if look.stored["fingerprint"] != change.fingerprint:
        raise IdempotencyKeyReused("This key named another request; use a new key.")
    if look.stored["refusal"] is not None:
        raise _refused(look.stored["refusal"], look)


def _refused(stored: Mapping[str, Any], look: LinesLook) -> HoldfastError:
    if stored["code"] == NotFound.code:
        return NotFound()
    return refusal(dict(stored), look.view.row["now"])
