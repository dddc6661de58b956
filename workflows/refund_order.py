"""An order's refunds: each is asked for at the gateway until it is made, one after the other."""

from __future__ import annotations

from temporalio import workflow

from activities import names
from domain.naming import REFUND_ORDER, REFUND_SIGNAL
from domain.refund_messages import OrderRefundMade, OrderRefunds, OrderRefundsResult
from workflows import policies


@workflow.defn(name=REFUND_ORDER)
class RefundOrderWorkflow:
    """One run at a time per order. Each refund was stored before; a signal says that there may be another."""

    def __init__(self) -> None:
        self._asked = 0

    @workflow.signal(name=REFUND_SIGNAL)
    def refund(self) -> None:
        self._asked += 1

    @workflow.run
    async def run(self, order: OrderRefunds) -> OrderRefundsResult:
        refunds = amount = 0
        looked, left = -1, 0
        while looked < self._asked or left:
            looked = self._asked
            made = await self._make_one(order)
            left = made.left
            if made.amount:
                refunds, amount = refunds + 1, amount + made.amount
                workflow.set_current_details(f"**Refunded** {amount} in {refunds} refunds, {left} still owed.")
        return OrderRefundsResult(refunds, amount)

    async def _make_one(self, order: OrderRefunds) -> OrderRefundMade:
        patience = policies.UNTIL_IT_PAYS
        made: OrderRefundMade = await workflow.execute_activity(
            names.REFUND_ORDER,
            order,
            result_type=OrderRefundMade,
            start_to_close_timeout=patience.attempt,
            retry_policy=patience.retry,
            summary=f"Refund order {order.order_id}, the oldest refund that is owed",
        )
        return made
