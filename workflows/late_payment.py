"""A payment that no open checkout can take: it becomes an order after all, or it is given back."""

from __future__ import annotations

from temporalio import workflow

from domain.messages import Capture, CheckoutRef, Ruling, SettleRequest, Wanted
from domain.naming import LATE_PAYMENT
from domain.payment_messages import LatePayment, LatePaymentResult, RefundRequest, VerifyPayment
from workflows import policies, steps


@workflow.defn(name=LATE_PAYMENT)
class LatePaymentWorkflow:
    """One run per payment. The checkout's row decides; a refund is asked for until the gateway has made it."""

    @workflow.run
    async def run(self, payment: LatePayment) -> LatePaymentResult:
        capture = payment.capture or await self._ask_gateway(payment)
        if capture is None:
            return self._ended(LatePaymentResult(Ruling.NONE, "nothing was captured for this checkout"))
        ref = CheckoutRef(payment.tenant, payment.checkout_id)
        settled = await steps.settle(SettleRequest(ref, Wanted.CONFIRM, capture))
        if settled.ruling is not Ruling.REFUND:
            return self._ended(LatePaymentResult(settled.ruling, settled.reason))
        workflow.set_current_details(f"**Refunding** {capture.amount} {capture.currency}: {settled.reason}")
        refunded = await steps.refund(RefundRequest(payment.tenant, payment.gateway, payment.payment_id))
        return self._ended(LatePaymentResult(Ruling.REFUND, settled.reason, refunded.refund_id))

    async def _ask_gateway(self, payment: LatePayment) -> Capture | None:
        """Evidence, if the gateway has captured this payment for this very checkout."""
        ask = VerifyPayment(payment.tenant, payment.gateway, payment.payment_id, payment.received_at)
        capture = (await steps.verify(ask, policies.UNTIL_IT_SPEAKS)).evidence(ask)
        return capture if capture and capture.checkout_id == payment.checkout_id else None

    def _ended(self, result: LatePaymentResult) -> LatePaymentResult:
        details = {
            Ruling.ORDER: "The payment became an **order**.",
            Ruling.REFUND: f"**Refunded** ({result.reason}), refund `{result.refund_id}`.",
            Ruling.NONE: f"Nothing to do: {result.reason or 'already decided'}.",
        }
        workflow.set_current_details(details[result.ruling])
        return result
