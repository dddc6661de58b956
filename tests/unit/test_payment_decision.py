"""What becomes of a payment: the whole table, each combination of all that bears on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from domain.checkout import CheckoutStatus
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId
from domain.payment_decision import (
    QUARANTINED,
    CheckoutFacts,
    Decision,
    Judgement,
    Others,
    PaymentFacts,
    RefundReason,
    judge,
)
from domain.tenant_settings import LatePayments

END = datetime(2026, 1, 1, 12, 15, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HERE, ELSEWHERE = CheckoutId("here"), CheckoutId("elsewhere")
HELD = CheckoutFacts(HERE, CheckoutStatus.HELD, END, 1000, "COP")
PAID = PaymentFacts(PaymentStatus.CAPTURED, HERE, 1000, "COP", END - TICK)
R = RefundReason

CHECKOUTS = [None, *(replace(HELD, status=status) for status in CheckoutStatus)]
MONEY: list[dict[str, Any]] = [
    {}, {"amount": 999}, {"amount": 1001}, {"currency": "USD"}, {"checkout_id": ELSEWHERE}, {"checkout_id": None}
]  # fmt: skip
BOTH = [False, True]
_combinations: Any = product
"""The type checker's own knows no products of so many."""
TABLE: list[tuple[PaymentFacts, CheckoutFacts | None, LatePayments, Others, bool]] = [
    (replace(PAID, state=state, received_at=at, known_in_time=known, foreign_tenant=foreign, given_back=back,
             waited_out=out, **money), checkout, policy, others, to_be_had)
    for state, money, at, known, foreign, back, out, checkout, policy, others, to_be_had in _combinations(
        PaymentStatus, MONEY, [END - TICK, END], BOTH, BOTH, BOTH, BOTH, CHECKOUTS, LatePayments, Others, BOTH
    )
]  # fmt: skip


def expected(
    payment: PaymentFacts, checkout: CheckoutFacts | None, policy: LatePayments, others: Others, to_be_had: bool
) -> tuple[str, str | None]:
    """The rules as spec.md 4 and failures.md 29 say them, the strongest first, as (condition, what follows)."""
    status = checkout.status if checkout else None
    keeps = policy is not LatePayments.REFUND
    rules = [
        (others == "this_one", ("ignore", None)),
        (payment.state in ("created", "processing"), ("wait", None)),
        (payment.state in ("failed", "expired", "refunded"), ("ignore", None)),
        (payment.foreign_tenant, ("refund", "wrong_tenant")),
        (checkout is None and payment.waited_out, ("refund", "unmatched")),
        (checkout is None, ("wait", None)),
        (payment.checkout_id != HERE, ("refund", "wrong_checkout")),
        (payment.currency != "COP", ("refund", "wrong_currency")),
        (payment.amount != 1000, ("refund", "wrong_amount")),
        (payment.given_back, ("refund", "given_back")),
        (others == "another" or status == "confirmed", ("refund", "second_payment")),
        (status == "held" and (payment.received_at < END or payment.known_in_time or keeps), ("confirm", None)),
        (status in ("expired", "cancelled") and keeps and to_be_had, ("reserve", None)),
        (True, ("refund", "late")),
    ]
    return next(follows for holds, follows in rules if holds)


def test_every_line_of_the_table() -> None:
    seen: Counter[tuple[str, str | None]] = Counter()
    for payment, checkout, policy, others, to_be_had in TABLE:
        judgement = judge(payment, checkout, policy, others, to_be_had=to_be_had)
        reason = judgement.reason.value if judgement.reason else None
        assert (judgement.decision.value, reason) == expected(payment, checkout, policy, others, to_be_had), (
            payment, checkout, policy, others, to_be_had
        )  # fmt: skip
        seen[(judgement.decision.value, reason)] += 1
    everything = {(decision.value, None) for decision in Decision if decision is not Decision.REFUND}
    assert set(seen) == everything | {("refund", reason.value) for reason in RefundReason}


def test_exactly_the_wrong_money_is_quarantined() -> None:
    for payment, checkout, policy, others, to_be_had in TABLE:
        judgement = judge(payment, checkout, policy, others, to_be_had=to_be_had)
        assert judgement.quarantined == (judgement.reason is not None and judgement.reason.startswith("wrong_"))
    assert len(QUARANTINED) == 4


def test_money_that_was_taken_is_never_ignored_and_never_left_waiting_for_good() -> None:
    for payment, checkout, policy, others, to_be_had in TABLE:
        if payment.state is PaymentStatus.CAPTURED and others is not Others.THIS_ONE:
            decision = judge(payment, checkout, policy, others, to_be_had=to_be_had).decision
            assert decision is not Decision.IGNORE
            assert decision is not Decision.WAIT or (checkout is None and not payment.waited_out)


def test_what_was_tried_to_be_held_again_in_vain_is_not_tried_again() -> None:
    over = replace(HELD, status=CheckoutStatus.EXPIRED)
    assert judge(PAID, over, LatePayments.RESERVE) == Judgement(Decision.RESERVE)
    assert judge(PAID, over, LatePayments.RESERVE, to_be_had=False) == Judgement(Decision.REFUND, R.LATE)
