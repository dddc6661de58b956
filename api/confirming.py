"""Confirming: the order if it is made in time, else where to look."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import DictRow

from activities.delivery import Delivery
from api.changing import once_decided, own_checkout, require_same
from api.engine import ANSWER_WAIT, CheckoutIsOver, Engine
from db.checkouts import CheckoutView, read_claimed
from db.database import Database
from db.orders import OrderView, read_order
from domain.checkout import CheckoutStatus
from domain.errors import (
    AlreadyConfirmed,
    CheckoutRefused,
    GatewayUnavailable,
    PaymentMismatch,
    PaymentNotCaptured,
    PaymentRefunded,
)
from domain.ids import BuyerKey, GatewayName, OrderId, PaymentId, order_id_for
from domain.messages import Answer, Answered, CheckoutRef, ConfirmUpdate
from domain.naming import CONFIRM_UPDATE
from domain.payment_messages import LatePayment


@dataclass(frozen=True, slots=True)
class Claim:
    """A client's word that a payment was made."""

    ref: CheckoutRef
    buyer: BuyerKey
    gateway: GatewayName
    payment_id: PaymentId
    key: str
    fingerprint: str
    asynchronous: bool
    """`Prefer: respond-async` (RFC 7240): do not wait for the order."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Taken, not decided yet (or decided elsewhere): the checkout as it is, and a sentence on what goes on."""

    view: CheckoutView
    detail: str


class Confirming:
    """Hands a claim to the checkout's run; when none is open, to the payment's own workflow."""

    def __init__(self, db: Database, engine: Engine, delivery: Delivery) -> None:
        self._db = db
        self._engine = engine
        self._delivery = delivery

    async def confirm(self, claim: Claim) -> OrderView | Pending:
        """The order, or what to wait for. Raises Conflict's kinds when the payment cannot make this order."""
        ref, gateway, payment = claim.ref, claim.gateway, claim.payment_id
        found, known = await read_claimed(self._db, ref.tenant, ref.checkout_id, gateway, payment, buyer=claim.buyer)
        view = once_decided(found)
        decided = await self._decided(view, claim)
        if decided is not None:
            return decided
        if view.row["status"] == CheckoutStatus.REFUSED:
            raise CheckoutRefused("It was refused at its start and holds nothing.")
        update = _update(claim, view, known)
        try:
            answered = await self._ask(claim, update)
        except CheckoutIsOver:
            return await self._after_the_end(claim, update)
        if answered is None:
            return Pending(view, "The payment is being checked.")
        return await self._answer(claim, answered)

    async def _ask(self, claim: Claim, update: ConfirmUpdate) -> Answered | None:
        """The run's answer. An earlier "the gateway did not say" was a 503, so a repeat with its key asks anew."""
        wait = 0.0 if claim.asynchronous else ANSWER_WAIT
        answered = await self._engine.update(claim.ref, CONFIRM_UPDATE, claim.key, update, wait)
        if answered is None or not answered.unknown or answered.asked_at == update.received_at:
            return answered
        require_same(answered, claim.fingerprint)
        key = f"{claim.key} {update.received_at.isoformat()}"
        return await self._engine.update(claim.ref, CONFIRM_UPDATE, key, update, wait)

    async def _answer(self, claim: Claim, answered: Answered) -> OrderView | Pending:
        require_same(answered, claim.fingerprint)
        _refuse(answered)
        order = await self._order(claim, order_id_for(claim.ref.tenant, claim.ref.checkout_id))
        if order is not None and (order.row["gateway"], order.row["payment_id"]) == (claim.gateway, claim.payment_id):
            return order
        view = await own_checkout(self._db, claim.ref, claim.buyer)
        return await self._decided(view, claim) or Pending(view, "The hold was over; what was paid is being refunded.")

    async def _decided(self, view: CheckoutView, claim: Claim) -> OrderView | None:
        """The order if this payment made it. Raises PaymentRefunded when it was decided otherwise."""
        for payment in view.payments:
            this = (payment["gateway"], payment["payment_id"]) == (claim.gateway, claim.payment_id)
            if this and payment["outcome"] is not None:
                if payment["outcome"] == "refund":
                    raise PaymentRefunded(f"It is refunded: {payment['reason']}.", reason=payment["reason"])
                return await self._order(claim, OrderId(payment["order_id"]))
        return None

    async def _order(self, claim: Claim, order: OrderId) -> OrderView | None:
        return await read_order(self._db, claim.ref.tenant, order, buyer=claim.buyer)

    async def _after_the_end(self, claim: Claim, update: ConfirmUpdate) -> OrderView | Pending:
        """No run is open. The row may have the order by now; else the payment goes its own way."""
        view = await own_checkout(self._db, claim.ref, claim.buyer)
        decided = await self._decided(view, claim)
        if decided is not None:
            return decided
        await self._delivery.start_late_payment(
            LatePayment(
                claim.ref.tenant,
                claim.gateway,
                claim.payment_id,
                update.received_at,
                claim.ref.checkout_id,
                update.evidence(claim.ref.checkout_id),
            )
        )
        if view.row["status"] == CheckoutStatus.CONFIRMED:
            raise AlreadyConfirmed("Another payment made the order; if this one was captured, it is refunded.")
        return Pending(view, "The hold was over; if the payment was captured, its outcome will show in `payments`.")


def _update(claim: Claim, view: CheckoutView, known: DictRow | None) -> ConfirmUpdate:
    """With the evidence that a signed webhook has brought already, so that the gateway need not be asked."""
    if known is None:
        return ConfirmUpdate(claim.gateway, claim.payment_id, view.row["now"], claim.fingerprint)
    if known["checkout_id"] != view.row["id"]:
        raise PaymentMismatch("This payment was made for something else.")
    return ConfirmUpdate(
        claim.gateway,
        claim.payment_id,
        known["received_at"],
        claim.fingerprint,
        known["amount"],
        known["currency"],
    )


def _refuse(answered: Answered) -> None:
    if answered.unknown:
        raise GatewayUnavailable("The gateway did not say in time whether the payment was made; try again.")
    if answered.answer is Answer.NOT_CAPTURED:
        raise PaymentNotCaptured(
            f"The gateway says: {answered.payment_status}. The hold stays.", payment_status=answered.payment_status
        )
    if answered.answer is Answer.MISMATCH:
        raise PaymentMismatch("The payment's checkout, amount or currency is not this checkout's.")
    if answered.answer is Answer.ALREADY_CONFIRMED:
        raise AlreadyConfirmed("Another payment made the order; this one is refunded.")
