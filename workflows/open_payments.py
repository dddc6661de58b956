"""A run's questions to the gateways about its checkout's open payments: one at a time, beside whatever else happens."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from domain.closing_messages import ClosedPayments, PaymentRef
from domain.ids import PaymentId
from domain.messages import CheckoutRef, PaymentSignal, PaymentSignalKind
from workflows import policies, steps


class OpenPayments:
    """Which payments the run has heard of, and the question that is being asked about them, if one is."""

    def __init__(self, ref: CheckoutRef) -> None:
        self._ref = ref
        self._started: set[PaymentRef] = set()
        self._question: asyncio.Task[ClosedPayments] | None = None
        self._pause = policies.FIRST_QUESTION_PAUSE
        self._left_over = False

    def note(self, signal: PaymentSignal) -> None:
        """A payment has started, or was captured: then there is nothing about it to end."""
        payment = PaymentRef(signal.gateway, signal.payment_id)
        if signal.kind is PaymentSignalKind.STARTED:
            self._started.add(payment)
        elif signal.kind is PaymentSignalKind.CAPTURED:
            self._started.discard(payment)

    def ask(self) -> None:
        """Have every gateway asked to end what can be ended. Does nothing while the question before is unanswered."""
        if self._question is None:
            self._question = asyncio.create_task(steps.close_payments(self._ref))

    @property
    def answered(self) -> bool:
        """Whether there is an answer to `hear`."""
        return self._question is not None and self._question.done()

    def hear(self) -> ClosedPayments:
        """The answer. What could not be asked at all is as good as silent."""
        assert self._question is not None  # noqa: S101  # `answered` says so
        try:
            heard = self._question.result()
        except ActivityError:
            heard = ClosedPayments(workflow.now(), silent=1)
        self._question = None
        self._started.clear()
        self._left_over = bool(heard.processing or heard.silent)
        return heard

    def pause(self) -> timedelta:
        """How long to wait before asking again; longer each time."""
        pause, self._pause = self._pause, min(2 * self._pause, policies.LONGEST_QUESTION_PAUSE)
        return pause

    def any_left(self, paid_by: PaymentId | None) -> bool:
        """Whether something may still be paid, as far as the run knows, but for what made the order."""
        others = any(payment.payment_id != paid_by for payment in self._started)
        return others or self._left_over or self._question is not None
