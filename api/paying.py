"""Starting payments at a gateway, and ending them: the wish is stored, then the gateway asked, then its answer noted.

Here and not in the checkout's run, because what a gateway gives for the buyer's browser is secret, and may not stand
in Temporal's history.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn

from activities.closing import Closing
from activities.delivery import Delivery
from activities.gateways.sandbox import SANDBOX
from api.changing import own_checkout, raise_over
from api.checkout_views import price_changed
from api.engine import Engine
from db.checkouts import CheckoutView
from db.database import Database
from db.extend import extend
from db.open_payments import payment_of
from db.payment_starts import MOST_STARTS, Begun, PaymentStart, PaymentWish, begin_payment
from db.tenant_secrets import list_secrets
from domain.checkout import CheckoutStatus
from domain.errors import (
    GatewayRefused,
    GatewayUnavailable,
    Invalid,
    LimitReached,
    NotFound,
    NothingToPay,
    PaymentInFlight,
    Unavailable,
)
from domain.gateway import GatewayPayment, PaymentStatus, StartedPayment
from domain.ids import BuyerKey, GatewayName, PaymentId, TenantId
from domain.messages import Capture, CheckoutRef, ExtendRequest, PaymentSignal, PaymentSignalKind
from domain.naming import PAYMENT_STARTED
from domain.payment_messages import LatePayment

_CAN_BE_PAID = (PaymentStatus.CREATED, PaymentStatus.PROCESSING, PaymentStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Payable:
    """A payment that was started, as it is now, and its checkout. `started` None: it can be paid no more."""

    start: PaymentStart
    payment_id: PaymentId
    status: PaymentStatus
    started: StartedPayment | None
    view: CheckoutView


class Paying:
    """Starts and ends payments of live holds."""

    def __init__(self, db: Database, engine: Engine, delivery: Delivery, closing: Closing) -> None:
        self._db = db
        self._engine = engine
        self._delivery = delivery
        self._closing = closing

    async def start(self, wish: PaymentWish) -> Payable:
        """A payment of the checkout's total that waits for its buyer: one for each key, however often it is sent.

        The hold is extended, once, where its tenant wants that. Raises GatewayUnavailable (the same key resumes),
        GatewayRefused, PriceChanged when the total is another than the key's, Gone and its like for no live hold.
        """
        start = _to_start(await begin_payment(self._db, wish))
        if start.payment_id is not None and not start.may_be_asked:
            return await self._payable(wish, start, None)
        made, start = await self._closing.start(start)
        if start.closed or start.payment_id != made.payment_id:
            await self._withdraw(start, made.payment_id)
            await self._raise_given_up(wish, start)
        held = await extend(self._db, ExtendRequest(wish.ref, PAYMENT_STARTED))
        if held.status is not CheckoutStatus.HELD or held.remaining_ms == 0:
            await self._withdraw(start, made.payment_id)
            raise_over(held.status)
        await self._tell(wish.ref, PaymentSignal(PaymentSignalKind.STARTED, start.gateway, made.payment_id))
        return await self._payable(wish, start, made)

    async def end(self, ref: CheckoutRef, buyer: BuyerKey, gateway: GatewayName, payment: PaymentId) -> CheckoutView:
        """See to it that this payment can be made no more; the checkout then.

        Raises PaymentInFlight when the buyer was quicker, NotFound for a payment that is not this checkout's.
        """
        view = await own_checkout(self._db, ref, buyer)
        if not await payment_of(self._db, ref, gateway, payment):
            raise NotFound
        said = await self._closing.end(ref, gateway, payment)
        if said is not None and said.status is PaymentStatus.CAPTURED:
            await self._hand_on(ref, said, view)
        if said is not None and said.status in (PaymentStatus.CAPTURED, PaymentStatus.PROCESSING):
            raise PaymentInFlight("The buyer was quicker; wait for its outcome.", payment_status=said.status)
        return await own_checkout(self._db, ref, buyer)

    async def _payable(self, wish: PaymentWish, start: PaymentStart, made: StartedPayment | None) -> Payable:
        view = await own_checkout(self._db, wish.ref, wish.buyer)
        payment = PaymentId(start.payment_id or "")
        status = next(
            PaymentStatus(one["status"])
            for one in view.payments
            if (one["gateway"], one["payment_id"]) == (start.gateway, payment)
        )
        return Payable(start, payment, status, made if status in _CAN_BE_PAID else None, view)

    async def _tell(self, ref: CheckoutRef, signal: PaymentSignal) -> None:
        """The run need not know: the row has the extension already. Knowing, it ends the payment after a cancel."""
        with suppress(Unavailable):
            await self._engine.tell(ref, signal)

    async def _withdraw(self, start: PaymentStart, payment: PaymentId) -> None:
        """Nobody was given what is needed to pay it. Where its gateway is silent, it ends there by itself."""
        with suppress(GatewayUnavailable):
            await self._closing.end(start.ref, start.gateway, payment)

    async def _raise_given_up(self, wish: PaymentWish, start: PaymentStart) -> NoReturn:
        view = await own_checkout(self._db, wish.ref, wish.buyer)
        if view.row["status"] != CheckoutStatus.HELD or view.row["remaining_seconds"] == 0:
            raise_over(CheckoutStatus(view.row["status"]))
        raise _given_up(replace(start, total=view.row["total"]))

    async def _hand_on(self, ref: CheckoutRef, said: GatewayPayment, view: CheckoutView) -> None:
        """What the gateway has just told us is evidence: to the run, or to the payment's own."""
        capture = Capture(said.gateway, said.payment_id, ref.checkout_id, said.amount, said.currency, view.row["now"])
        signal = PaymentSignal(PaymentSignalKind.CAPTURED, said.gateway, said.payment_id, capture)
        if not await self._engine.tell(ref, signal):
            await self._delivery.start_late_payment(
                LatePayment(ref.tenant, said.gateway, said.payment_id, capture.received_at, ref.checkout_id, capture)
            )


async def chosen(db: Database, tenant: TenantId, asked: str | None, there_are: Collection[GatewayName]) -> GatewayName:
    """The gateway that was asked for; else the only one that the tenant has set up, or the sandbox when it has none.

    Raises Invalid, naming those that can be asked for.
    """
    if asked is not None:
        if asked not in there_are:
            raise _which("Unknown gateway", there_are)
        return GatewayName(asked)
    names = {GatewayName(one.name.split("/")[1]) for one in await list_secrets(db, tenant) if "/" in one.name}
    own = (names & set(there_are)) - {SANDBOX} or {SANDBOX} & set(there_are)
    if len(own) != 1:
        raise _which("Which gateway?", own or there_are)
    return next(iter(own))


def _which(message: str, there_are: Collection[GatewayName]) -> Invalid:
    fix = f"Send one of: {', '.join(sorted(there_are))}"
    return Invalid(f"gateway: {message}. {fix}.", errors=[{"field": "gateway", "message": message, "fix": fix}])


def _to_start(begun: Begun) -> PaymentStart:
    """What is to be started, or was before. Raises what stands in its way."""
    start = begun.start
    if begun.status is None or begun.status is CheckoutStatus.NEW:
        raise NotFound
    if not begun.live:
        raise_over(begun.status)
    if start is None and begun.total <= 0:
        raise NothingToPay("The total is 0; there is nothing to pay.")
    if start is None:
        most = f"A checkout has at most {MOST_STARTS} payments; pay one of them, or start a new checkout."
        raise LimitReached(most, limit="payments", most=MOST_STARTS, frees_at=None)
    if start.amount != start.total or start.closed or (start.payment_id is None and not start.may_be_asked):
        raise _given_up(start)
    return start


def _given_up(start: PaymentStart) -> Exception:
    if start.amount != start.total:
        return price_changed(start.total)
    return GatewayRefused("Nothing came of the start with this key; use a new key.")
