"""A payment that no open checkout can take: it becomes an order after all, or it is given back."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from domain.fulfilment import OrderRef, TellRefund
from domain.gateway import PaymentStatus
from domain.messages import Capture, CheckoutRef, PaymentSignal, Ruling, SettleRequest, Wanted
from domain.naming import LATE_PAYMENT, PAYMENT_SIGNAL
from domain.payment_messages import LatePayment, LatePaymentResult, RefundRequest, VerifyPayment
from workflows import policies, steps

WAITS = "late-payment-waits"
"""The patch since which a payment that is still on its way is waited for."""
FULFILS = "late-payment-fulfils"
"""The patch since which its order is fulfilled, or its buyer told of the refund."""


@workflow.defn(name=LATE_PAYMENT)
class LatePaymentWorkflow:
    """One run per payment. The checkout's row decides; a refund is asked for until the gateway has made it."""

    @workflow.init
    def __init__(self, payment: LatePayment) -> None:
        self._capture = payment.capture

    @workflow.run
    async def run(self, payment: LatePayment) -> LatePaymentResult:
        if payment.checkout_id is None:
            return await self._refunded(payment, "there is no such checkout")
        capture = self._capture or await self._captured(payment)
        if capture is None:
            return self._ended(LatePaymentResult(Ruling.NONE, "nothing was captured for this checkout"))
        ref = CheckoutRef(payment.tenant, payment.checkout_id)
        settled = await steps.settle(SettleRequest(ref, Wanted.CONFIRM, capture))
        if settled.ruling is Ruling.REFUND:
            return await self._refunded(payment, settled.reason)
        if settled.order_id is not None and workflow.patched(FULFILS):
            await steps.start_fulfilment(OrderRef(payment.tenant, settled.order_id))
        return self._ended(LatePaymentResult(settled.ruling, settled.reason))

    @workflow.signal(name=PAYMENT_SIGNAL)
    def payment(self, signal: PaymentSignal) -> None:
        """The gateway's word that it was captured came while it was still waited for."""
        self._capture = self._capture or signal.capture

    async def _captured(self, payment: LatePayment) -> Capture | None:
        """Evidence, as soon as the gateway has captured this payment for this very checkout.

        One that the buyer has begun to pay is asked about for days, with growing pauses; a webhook ends the wait.
        """
        pause, until = policies.FIRST_PAUSE, payment.received_at + policies.WAITS_FOR_CAPTURE
        while True:
            status, capture = await self._ask_gateway(payment)
            on_its_way = status == PaymentStatus.PROCESSING and workflow.patched(WAITS)
            if capture is not None or not on_its_way or workflow.now() >= until:
                return capture or self._capture  # A webhook may have told of it while the gateway was being asked.
            workflow.set_current_details(f"**Waiting**: the gateway says that the payment is {status}.")
            if await self._told_within(pause):
                return self._capture
            pause = min(2 * pause, policies.LONGEST_PAUSE)

    async def _told_within(self, pause: timedelta) -> bool:
        try:
            await workflow.wait_condition(
                lambda: self._capture is not None, timeout=pause, timeout_summary="Ask the gateway again"
            )
        except TimeoutError:
            return False
        return True

    async def _ask_gateway(self, payment: LatePayment) -> tuple[str | None, Capture | None]:
        ask = VerifyPayment(payment.tenant, payment.gateway, payment.payment_id, payment.received_at)
        verified = await steps.verify(ask, policies.UNTIL_IT_SPEAKS)
        capture = verified.evidence(ask)
        ours = capture is not None and capture.checkout_id == payment.checkout_id
        return verified.status, capture if ours else None

    async def _refunded(self, payment: LatePayment, reason: str) -> LatePaymentResult:
        amount = f"{payment.capture.amount} {payment.capture.currency}" if payment.capture else "it"
        workflow.set_current_details(f"**Refunding** {amount}: {reason}")
        refunded = await steps.refund(RefundRequest(payment.tenant, payment.gateway, payment.payment_id))
        result = self._ended(LatePaymentResult(Ruling.REFUND, reason, refunded.refund_id))
        if workflow.patched(FULFILS):
            await steps.tell_refund(TellRefund(payment.tenant, payment.gateway, payment.payment_id))
        return result

    def _ended(self, result: LatePaymentResult) -> LatePaymentResult:
        details = {
            Ruling.ORDER: "The payment became an **order**.",
            Ruling.REFUND: f"**Refunded** ({result.reason}), refund `{result.refund_id}`.",
            Ruling.NONE: f"Nothing to do: {result.reason or 'already decided'}.",
        }
        workflow.set_current_details(details[result.ruling])
        return result
