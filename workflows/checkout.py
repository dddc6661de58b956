"""The checkout: reserve, wait for the payment, then let the row decide how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from domain.checkout import CheckoutStatus
from domain.fulfilment import OrderRef
from domain.ids import GatewayName, PaymentId
from domain.messages import (
    Answer,
    Answered,
    CancelUpdate,
    Capture,
    CheckoutRef,
    CheckoutResult,
    ConfirmUpdate,
    ExtendRequest,
    ExtendUpdate,
    LinesRequest,
    LinesUpdate,
    PaymentSignal,
    PaymentSignalKind,
    Ruling,
    Settled,
    SettleRequest,
    StartCheckout,
    Started,
    Wanted,
)
from domain.naming import (
    CANCEL_UPDATE,
    CHECKOUT,
    CHECKOUT_OVER,
    CONFIRM_UPDATE,
    EXTEND_UPDATE,
    LINES_UPDATE,
    PAYMENT_SIGNAL,
    PAYMENT_STARTED,
    RESERVE_UPDATE,
)
from domain.payment_messages import LatePayment, Verified, VerifyPayment
from workflows import policies, steps
from workflows.answers import answer_to_confirm, answer_to_extend, answer_to_lines, answer_when_over
from workflows.details import describe
from workflows.open_payments import OpenPayments
from workflows.requests import Request

T = TypeVar("T")
CLOSES_PAYMENTS = "closes-payments"
"""The patch since which payments that are still open after the end are ended."""


@workflow.defn(name=CHECKOUT)
class CheckoutWorkflow:
    """One run per checkout. Handlers record facts; `run` decides when to ask the row; the row decides what happens."""

    @workflow.init
    def __init__(self, start: StartCheckout) -> None:
        self._start = start
        self._started: Started | None = None
        self._settled = Settled(status=CheckoutStatus.NEW)
        self._end: datetime = workflow.now()
        self._captures: list[Capture] = []
        self._requests: list[Request] = []
        self._declined = 0
        self._payment_started = False
        self._payments = OpenPayments(start.ref)
        self._extended_itself = False
        self._asking_gateway = 0
        self._cancel_run = False
        self._closing = False

    @workflow.run
    async def run(self, start: StartCheckout) -> CheckoutResult:
        self._started = await self._shielded(steps.reserve(start))
        self._obey(Settled(status=self._started.status, remaining_ms=self._started.remaining_ms))
        while self._held:
            await self._wait_for_news()
            await self._decide()
        self._closing = True
        await self._answer_the_rest()
        if start.fulfils and self._settled.order_id is not None:
            await self._shielded(steps.start_fulfilment(OrderRef(start.tenant, self._settled.order_id)))
        if self._payments.any_left(self._settled.paid_by) and workflow.patched(CLOSES_PAYMENTS):
            await self._close_payments()
        return CheckoutResult(self._settled.status or CheckoutStatus.NEW, self._settled.order_id)

    @workflow.update(name=RESERVE_UPDATE)
    async def reserve(self) -> Started:
        """The result of this run's reserve, once it is there."""
        await workflow.wait_condition(lambda: self._started is not None)
        assert self._started is not None  # noqa: S101  # the wait above says so
        return self._started

    @workflow.signal(name=PAYMENT_SIGNAL)
    def payment(self, signal: PaymentSignal) -> None:
        """A verified payment event. A decline shows and changes nothing, least of all the end."""
        self._payments.note(signal)
        if signal.capture is not None:
            self._captures.append(signal.capture)
        elif signal.kind is PaymentSignalKind.STARTED:
            self._payment_started = True
        else:
            self._declined += 1
            self._show()

    @workflow.update(name=CONFIRM_UPDATE)
    async def confirm(self, update: ConfirmUpdate) -> Answered:
        """The storefront says that it was paid. Without a webhook's evidence the gateway is asked first."""
        capture = update.evidence(self._start.checkout_id)
        if capture is None:
            ask = VerifyPayment(self._start.tenant, update.gateway, update.payment_id, update.received_at)
            verified = await self._ask_gateway(ask)
            if verified is None:
                return replace(self._answered(Answer.NOT_CAPTURED, update.fingerprint), asked_at=update.received_at)
            capture = verified.evidence(ask)
            if capture is None:
                status = verified.status or "not_found"
                return self._answered(Answer.NOT_CAPTURED, update.fingerprint, payment_status=status)
        if capture.checkout_id != self._start.checkout_id:
            return self._answered(Answer.MISMATCH, update.fingerprint)
        return await self._ask_run(update, capture)

    @workflow.update(name=EXTEND_UPDATE)
    async def extend(self, update: ExtendUpdate) -> Answered:
        """The storefront asks for more time."""
        return await self._ask_run(update)

    @workflow.update(name=LINES_UPDATE)
    async def lines(self, update: LinesUpdate) -> Answered:
        """The storefront adds lines, or takes one out."""
        return await self._ask_run(update)

    @workflow.update(name=CANCEL_UPDATE)
    async def cancel(self, update: CancelUpdate) -> Answered:
        """The buyer gives the stock back."""
        return await self._ask_run(update)

    @confirm.validator
    def _confirm_in_time(self, update: ConfirmUpdate) -> None:  # noqa: ARG002  # the SDK hands it over
        self._refuse_when_closing()

    @extend.validator
    def _extend_in_time(self, update: ExtendUpdate) -> None:  # noqa: ARG002  # the SDK hands it over
        self._refuse_when_closing()

    @lines.validator
    def _lines_in_time(self, update: LinesUpdate) -> None:  # noqa: ARG002  # the SDK hands it over
        self._refuse_when_closing()

    @cancel.validator
    def _cancel_in_time(self, update: CancelUpdate) -> None:  # noqa: ARG002  # the SDK hands it over
        self._refuse_when_closing()

    def _refuse_when_closing(self) -> None:
        """A refused update leaves no history; the caller reads the row instead."""
        if self._closing:
            raise ApplicationError("the checkout is over", type=CHECKOUT_OVER, non_retryable=True)

    async def _wait_for_news(self) -> None:
        """Until there is something to decide, or the end. A decline is no news: it must not restart the time.

        Past the end, while the gateway is being asked about a payment, its answer is waited for (it is bounded): stock
        is not given back before the gateway has spoken.
        """
        try:
            await workflow.wait_condition(
                lambda: self._news,
                timeout=max(self._end - workflow.now(), timedelta(0)),
                timeout_summary="The hold ends",
            )
        except TimeoutError:
            await self._shielded(workflow.wait_condition(lambda: self._news or not self._asking_gateway))
        except asyncio.CancelledError:
            self._cancel_run = True

    async def _decide(self) -> None:
        """One thing a turn: payments before wishes, wishes before the end."""
        if self._captures:
            await self._take(self._captures.pop(0))
        elif self._requests:
            await self._answer(self._requests.pop(0))
        elif self._cancel_run:
            self._obey(await self._settle(Wanted.CANCEL))
        elif self._may_extend_itself:
            self._extended_itself = True
            self._obey(await self._shielded(steps.extend(ExtendRequest(self._ref, PAYMENT_STARTED))))
        elif self._payments.answered:
            self._hear()
        else:
            self._obey(await self._settle(Wanted.EXPIRE))
            if self._settled.in_flight:
                self._payments.ask()

    def _hear(self) -> None:
        """What the gateways say at the hold's end: a capture is evidence, and what is on its way is asked about again.

        The row has said how long at most; if nothing can be captured any more, it is over at once.
        """
        heard = self._payments.hear()
        self._captures += heard.captures
        self._end = workflow.now() if heard.all_ended else min(self._end, workflow.now() + self._payments.pause())

    async def _take(self, capture: Capture) -> Settled:
        """Let the row judge a capture; money that cannot be this order's gets its own workflow."""
        settled = await self._settle(Wanted.CONFIRM, capture)
        self._obey(settled)
        if settled.ruling is Ruling.REFUND:
            await self._hand_on(capture.gateway, capture.payment_id, capture.received_at, capture)
        return settled

    async def _hand_on(
        self, gateway: GatewayName, payment: PaymentId, received_at: datetime, capture: Capture | None = None
    ) -> None:
        """Give a payment a workflow of its own; without a capture, that asks the gateway."""
        late = LatePayment(self._start.tenant, gateway, payment, received_at, self._start.checkout_id, capture)
        await self._shielded(steps.start_late_payment(late))

    async def _answer(self, request: Request) -> None:
        update = request.update
        if isinstance(update, ConfirmUpdate) and request.capture is not None:
            answer = answer_to_confirm(await self._take(request.capture), request.capture)
        elif not self._held:
            answer = answer_when_over(self._settled.status, update)
        elif isinstance(update, ExtendUpdate):
            extend = ExtendRequest(self._ref, update.request_id, update.seconds)
            extended = await self._shielded(steps.extend(extend))
            self._obey(extended)
            answer = answer_to_extend(extended)
        elif isinstance(update, LinesUpdate):
            lines = LinesRequest(self._ref, update.request_id, update.fingerprint, update.add, update.remove)
            changed = await self._shielded(steps.change_lines(lines))
            self._obey(changed.row)
            answer = answer_to_lines(changed)
        else:
            self._obey(await self._settle(Wanted.CANCEL))
            answer = answer_when_over(self._settled.status, update)
        request.answered = self._answered(answer, update.fingerprint)

    async def _answer_the_rest(self) -> None:
        """Nothing acknowledged is lost: what came in while the end was settled is looked at before returning."""
        while True:
            while self._to_answer:
                await self._decide()
            await self._shielded(workflow.wait_condition(lambda: workflow.all_handlers_finished() or self._to_answer))
            if not self._to_answer:
                return

    async def _close_payments(self) -> None:
        """Nobody waits for this: end what can still be paid, and hand on what was taken after all, or may be yet."""
        for pause in policies.PAUSES_AFTERWARDS:
            self._payments.ask()
            while not self._payments.answered:
                await self._shielded(workflow.wait_condition(lambda: self._payments.answered or self._to_answer))
                await self._answer_the_rest()
            heard = self._payments.hear()
            self._captures += heard.captures
            for payment in heard.processing:
                await self._hand_on(payment.gateway, payment.payment_id, heard.asked_at)
            await self._answer_the_rest()
            if not heard.silent:
                return
            with suppress(TimeoutError):
                await self._shielded(workflow.wait_condition(lambda: self._to_answer, timeout=pause))
            await self._answer_the_rest()

    @property
    def _to_answer(self) -> bool:
        return bool(self._captures or self._requests)

    @property
    def _may_extend_itself(self) -> bool:
        return self._payment_started and not self._extended_itself

    @property
    def _news(self) -> bool:
        return self._to_answer or self._cancel_run or self._may_extend_itself or self._payments.answered

    @property
    def _held(self) -> bool:
        return self._settled.status is CheckoutStatus.HELD

    @property
    def _ref(self) -> CheckoutRef:
        return self._start.ref

    async def _settle(self, wanted: Wanted, capture: Capture | None = None) -> Settled:
        return await self._shielded(steps.settle(SettleRequest(self._ref, wanted, capture)))

    def _obey(self, settled: Settled) -> None:
        """What the row says is so. While it says `held`, it also says until when."""
        self._settled = settled
        if self._held:
            self._end = workflow.now() + timedelta(milliseconds=settled.remaining_ms)
        self._show()

    async def _ask_run(self, update: Any, capture: Capture | None = None) -> Answered:
        request = Request(update, capture)
        self._requests.append(request)
        await workflow.wait_condition(lambda: request.answered is not None)
        assert request.answered is not None  # noqa: S101  # the wait above says so
        return request.answered

    async def _ask_gateway(self, ask: VerifyPayment) -> Verified | None:
        """What the gateway says; None when it does not answer in time."""
        self._asking_gateway += 1
        try:
            return await steps.verify(ask, policies.WHILE_A_CLIENT_WAITS)
        except ActivityError:
            return None
        finally:
            self._asking_gateway -= 1

    def _answered(self, answer: Answer, fingerprint: str, payment_status: str = "") -> Answered:
        return Answered(answer, fingerprint, self._settled.status or CheckoutStatus.NEW, payment_status)

    async def _shielded(self, step: Coroutine[Any, Any, T]) -> T:
        """Run a step to its end even when the run is cancelled meanwhile, which asks to cancel the checkout."""
        task = asyncio.create_task(step)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._cancel_run = True
            return await task

    def _show(self) -> None:
        workflow.set_current_details(describe(self._settled, self._end, self._declined))
