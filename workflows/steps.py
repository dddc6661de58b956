"""The steps a workflow can take: each an activity with its timeouts, named for what it does.

A database step runs as a local activity (no round trip to the server). When that fails it becomes the same function as
a regular activity, retried without limit, so that an outage shows in the UI and ends by itself.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

from activities import names
from domain.closing_messages import ClosedPayments
from domain.fulfilment import OrderRef, StepResult, TellRefund
from domain.messages import (
    Changed,
    CheckoutRef,
    ExtendRequest,
    LinesRequest,
    Settled,
    SettleRequest,
    StartCheckout,
    Started,
    Wanted,
)
from domain.naming import PAYMENT_STARTED, fulfilment_queue
from domain.payment_messages import LatePayment, Refunded, RefundRequest, Verified, VerifyPayment
from workflows import policies
from workflows.details import units

T = TypeVar("T")

_SETTLE = {
    Wanted.CONFIRM: "Paid: confirm, if the row agrees",
    Wanted.CANCEL: "Cancel, if the row agrees",
    Wanted.EXPIRE: "The time is up: expire, if the row agrees",
}


async def reserve(start: StartCheckout) -> Started:
    """Hold the lines, all or nothing."""
    what = "what the cart has" if start.from_cart else units(start.lines)
    return await _database_step(names.RESERVE, start, Started, f"Hold {what}, all or nothing")


async def settle(request: SettleRequest) -> Settled:
    """Ask the row to end the checkout, and hear what it says."""
    return await _database_step(names.SETTLE, request, Settled, _SETTLE[request.wanted])


async def extend(request: ExtendRequest) -> Settled:
    """Move the end of the hold."""
    why = "A payment has started: extend the hold once" if request.request_id == PAYMENT_STARTED else "Extend the hold"
    return await _database_step(names.EXTEND, request, Settled, why)


async def change_lines(request: LinesRequest) -> Changed:
    """Add lines to the hold, all or nothing, or take one out."""
    what = f"Hold {units(request.add)} more, all or nothing" if request.add else f"Take line {request.remove} out"
    return await _database_step(names.CHANGE_LINES, request, Changed, what)


async def start_late_payment(payment: LatePayment) -> None:
    """Give a payment that this checkout cannot take a workflow of its own."""
    await _database_step(
        names.START_LATE_PAYMENT, payment, type(None), f"Hand payment {payment.payment_id} to a run of its own"
    )


async def start_fulfilment(order: OrderRef) -> None:
    """Start what follows a sale, in a workflow of its own."""
    await _database_step(names.START_FULFILMENT, order, type(None), "Start the order's fulfilment")


async def tell_refund(payment: TellRefund) -> None:
    """Write to the buyer that the money goes back; given up after days, for the money is on its way all the same."""
    summary = f"Tell the buyer of the refund of {payment.payment_id}"
    queue = fulfilment_queue(workflow.info().task_queue)  # A mail server that is slow keeps no payment waiting.
    with suppress(ActivityError):
        await _regular_step(names.TELL_REFUND, payment, StepResult, summary, policies.TELL_REFUND, queue)


async def verify(ask: VerifyPayment, patience: policies.Patience) -> Verified:
    """Ask the gateway what became of a payment. Raises ActivityError when the patience ends first."""
    summary = f"Ask {ask.gateway} about {ask.payment_id}"
    return await _regular_step(names.VERIFY_PAYMENT, ask, Verified, summary, patience)


async def close_payments(ref: CheckoutRef) -> ClosedPayments:
    """Ask the gateways to end the checkout's open payments, and hear how they stand."""
    summary = "Ask the gateways to end what is not paid"
    return await _regular_step(names.CLOSE_PAYMENTS, ref, ClosedPayments, summary, policies.ASKING)


async def refund(request: RefundRequest) -> Refunded:
    """Give the money back, however long the gateway takes."""
    summary = f"Refund {request.payment_id} at {request.gateway}"
    return await _regular_step(names.REFUND_PAYMENT, request, Refunded, summary, policies.UNTIL_IT_PAYS)


def _is_final(error: FailureError) -> bool:
    """Whether trying again gives the same. A local activity's own failure comes bare, a timeout in an ActivityError."""
    cause = error.cause if isinstance(error, ActivityError) else error
    return isinstance(cause, ApplicationError) and cause.non_retryable


async def _database_step(name: str, argument: Any, result_type: type[T], summary: str) -> T:
    try:
        near: T = await workflow.execute_local_activity(
            name,
            argument,
            result_type=result_type,
            start_to_close_timeout=policies.LOCAL_START_TO_CLOSE,
            schedule_to_close_timeout=policies.LOCAL_SCHEDULE_TO_CLOSE,
            retry_policy=policies.LOCAL_RETRY,
            summary=summary,
        )
    except FailureError as error:
        if is_cancelled_exception(error) or _is_final(error):
            raise
    else:
        return near
    return await _regular_step(name, argument, result_type, f"{summary} (the local attempt failed)", policies.FALLBACK)


async def _regular_step(
    name: str,
    argument: Any,
    result_type: type[T],
    summary: str,
    patience: policies.Patience,
    task_queue: str | None = None,
) -> T:
    """`task_queue`: None for the run's own."""
    answer: T = await workflow.execute_activity(
        name,
        argument,
        task_queue=task_queue,
        result_type=result_type,
        start_to_close_timeout=patience.attempt,
        schedule_to_close_timeout=patience.altogether,
        retry_policy=patience.retry,
        summary=summary,
    )
    return answer
