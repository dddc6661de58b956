"""Closing payments: before a hold's end gives the stock back, and after it, the gateways are asked to end them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from temporalio import activity

from activities import names
from activities.errors import translated
from activities.gateways.interface import Gateway
from db.database import Database
from db.open_payments import OpenPayment, close_payment, open_payments
from db.payment_starts import PaymentStart, close_start, finish_start
from db.payments import note_payment
from domain.closing_messages import ClosedPayments, PaymentRef
from domain.errors import GatewayRefused, GatewayUnavailable
from domain.gateway import GatewayPayment, PaymentStatus, StartedPayment
from domain.ids import GatewayName, PaymentId
from domain.messages import Capture, CheckoutRef

T = TypeVar("T")
CALL_SECONDS = 8.0
"""Of one call to a gateway, whatever its adapter allows itself."""
_STILL_COUNTS = (PaymentStatus.CAPTURED, PaymentStatus.PROCESSING, PaymentStatus.REFUNDED)
"""Too late to end these. Others are ended, or their gateway cannot end them, and asking again will not change that."""


class Silent(Enum):
    """What is heard of a payment whose gateway does not answer."""

    SILENT = "silent"


Heard = Capture | PaymentRef | Silent | None
"""Of one payment: it was captured, it is on its way, nothing, or it is over."""


class Closing:
    """Ends payments at their gateways, and notes what those say."""

    def __init__(self, db: Database, gateways: Mapping[GatewayName, Gateway]) -> None:
        self._db = db
        self._gateways = gateways

    @activity.defn(name=names.CLOSE_PAYMENTS)
    @translated
    async def close_payments(self, ref: CheckoutRef) -> ClosedPayments:
        """Ask about each of the checkout's open payments and unfinished starts, all at once, and end what can be ended.

        A gateway that does not answer is no failure: it is counted. A repeat asks again about what is still open.
        """
        found = await open_payments(self._db, ref)
        asked = [self._ask_start(start) for start in found.starts]
        asked += [self._ask(ref, one, found.now) for one in found.payments]
        said = await asyncio.gather(*asked)
        return ClosedPayments(
            found.now,
            [one for one in said if isinstance(one, Capture)],
            [one for one in said if isinstance(one, PaymentRef)],
            sum(one is Silent.SILENT for one in said),
        )

    async def start(self, start: PaymentStart) -> tuple[StartedPayment, PaymentStart]:
        """Have the gateway make the payment of a start, or find it, and note it; the start as it is then.

        Raises GatewayUnavailable, and GatewayRefused, which closes the start.
        """
        ref = start.ref
        try:
            made = await _bounded(self._gateway(start.gateway).start(ref.tenant, start.to_start))
        except GatewayRefused:
            await close_start(self._db, ref, start.request_id)
            raise
        # A capture is not noted here either, see `end`.
        status = PaymentStatus.CREATED if made.status is PaymentStatus.CAPTURED else made.status
        payment = GatewayPayment(
            start.gateway, made.payment_id, ref.checkout_id, status, start.amount, start.currency, 0, ref.tenant
        )
        return made, await finish_start(self._db, ref, start.request_id, payment)

    async def end(self, ref: CheckoutRef, gateway: GatewayName, payment: PaymentId) -> GatewayPayment | None:
        """See to it that nobody can pay it any more; how it stands then. None: the gateway has no such payment of ours.

        A capture is not noted here: it is evidence, and until it is decided the payment keeps its stock. Raises
        GatewayUnavailable.
        """
        said = await self._expired(ref, gateway, payment)
        if said is None or said.status not in _STILL_COUNTS:
            await close_payment(self._db, ref.tenant, gateway, payment, said)
        elif said.status is not PaymentStatus.CAPTURED:
            await note_payment(self._db, ref.tenant, said)
        return said

    async def _ask_start(self, start: PaymentStart) -> Heard:
        """Find out whether the gateway has acted by letting it act, which it does once for a key; then end that."""
        if not start.may_be_asked:
            await close_start(self._db, start.ref, start.request_id)
            return None
        try:
            made, _ = await self.start(start)
        except GatewayUnavailable:
            return Silent.SILENT
        except GatewayRefused:
            return None
        now = start.asked_at
        return await self._ask(start.ref, OpenPayment(start.gateway, made.payment_id, decided=False), now)

    async def _ask(self, ref: CheckoutRef, one: OpenPayment, now: datetime) -> Heard:
        try:
            said = await self.end(ref, one.gateway, one.payment_id)
        except GatewayUnavailable:
            return Silent.SILENT
        if said is None or said.status not in (PaymentStatus.CAPTURED, PaymentStatus.PROCESSING):
            return None
        if said.status is PaymentStatus.PROCESSING:
            return PaymentRef(one.gateway, one.payment_id)
        if one.decided:
            await note_payment(self._db, ref.tenant, said)
            return None
        return Capture(one.gateway, one.payment_id, ref.checkout_id, said.amount, said.currency, now)

    async def _expired(self, ref: CheckoutRef, name: GatewayName, payment: PaymentId) -> GatewayPayment | None:
        gateway = self._gateway(name)
        try:
            said = await _bounded(gateway.expire(ref.tenant, payment))
        except GatewayRefused:
            said = await _fetched(gateway, ref, payment)
        if said is None or said.tenant not in (None, ref.tenant) or said.checkout_id != ref.checkout_id:
            return None
        return said

    def _gateway(self, name: GatewayName) -> Gateway:
        """Raises GatewayUnavailable for one that this installation has no more: it may have it again."""
        gateway = self._gateways.get(name)
        if gateway is None:
            raise GatewayUnavailable(f"There is no gateway {name!r} here now.")
        return gateway


async def _fetched(gateway: Gateway, ref: CheckoutRef, payment: PaymentId) -> GatewayPayment | None:
    """Of a gateway that ends no payment: it still says how they stand."""
    try:
        return await _bounded(gateway.fetch(ref.tenant, payment))
    except GatewayRefused as error:
        raise GatewayUnavailable(f"The gateway says nothing of the payment: {error.detail}") from error


async def _bounded(call: Coroutine[Any, Any, T]) -> T:
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await call
    except TimeoutError:
        raise GatewayUnavailable("The gateway did not answer in time.") from None
