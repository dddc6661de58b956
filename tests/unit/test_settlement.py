"""The decision table, row by row, and what must hold for every row there could be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.checkout import CheckoutStatus
from domain.ids import CheckoutId, GatewayName, PaymentId
from domain.messages import Capture, Ruling, Wanted
from domain.payment_decision import QUARANTINED, RefundReason
from domain.settlement import Situation, Verdict, decide
from domain.tenant_settings import LatePayments

END = datetime(2026, 1, 1, 12, 15, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HERE, ELSEWHERE = CheckoutId("here"), CheckoutId("elsewhere")
SANDBOX = GatewayName("sandbox")
IN_TIME = Capture(SANDBOX, PaymentId("p-1"), HERE, 1000, "COP", received_at=END - TICK)
AT_THE_END = replace(IN_TIME, received_at=END)
AFTER_THE_END = replace(IN_TIME, received_at=END + TICK)
WRONG = {
    RefundReason.WRONG_AMOUNT: replace(IN_TIME, amount=999),
    RefundReason.WRONG_CURRENCY: replace(IN_TIME, currency="USD"),
    RefundReason.WRONG_CHECKOUT: replace(IN_TIME, checkout_id=ELSEWHERE),
}
EVIDENCE = {"in time": IN_TIME, "at the end": AT_THE_END, "after the end": AFTER_THE_END}
NEVER_HELD = (CheckoutStatus.NEW, CheckoutStatus.REFUSED)
NOT_HELD = tuple(status for status in CheckoutStatus if status is not CheckoutStatus.HELD)
NOT_CONFIRMED = tuple(status for status in NOT_HELD if status is not CheckoutStatus.CONFIRMED)


def situation(
    status: CheckoutStatus = CheckoutStatus.HELD,
    now: datetime = END - TICK,
    policy: LatePayments = LatePayments.REFUND,
) -> Situation:
    """A checkout of 1000 COP as its row would be; a confirmed one was paid by another payment, p-0."""
    return Situation(
        checkout_id=HERE,
        status=status,
        expires_at=None if status in NEVER_HELD else END,
        now=now,
        total=1000,
        currency="COP",
        policy=policy,
        order_payment=(SANDBOX, PaymentId("p-0")) if status is CheckoutStatus.CONFIRMED else None,
    )


def refund(reason: RefundReason, capture: Capture) -> Verdict:
    return Verdict(ruling=Ruling.REFUND, reason=reason, capture=capture)


def order(capture: Capture) -> Verdict:
    return Verdict(becomes=CheckoutStatus.CONFIRMED, ruling=Ruling.ORDER, capture=capture)


@pytest.mark.parametrize("now", [END - TICK, END, END + timedelta(hours=1)])
def test_a_payment_that_came_in_time_confirms_a_held_checkout_however_late_it_is_looked_at(now: datetime) -> None:
    assert decide(situation(now=now), Wanted.CONFIRM, IN_TIME) == order(IN_TIME)


@pytest.mark.parametrize("capture", [AT_THE_END, AFTER_THE_END])
def test_a_payment_at_or_after_the_end_is_late_where_the_tenant_wants_it_back(capture: Capture) -> None:
    assert decide(situation(), Wanted.CONFIRM, capture) == refund(RefundReason.LATE, capture)


@pytest.mark.parametrize("status", list(CheckoutStatus))
@pytest.mark.parametrize("reason", list(WRONG))
def test_wrong_money_is_given_back_whatever_the_checkout_is(status: CheckoutStatus, reason: RefundReason) -> None:
    assert decide(situation(status), Wanted.CONFIRM, WRONG[reason]) == refund(reason, WRONG[reason])
    assert reason in QUARANTINED


@pytest.mark.parametrize("status", NOT_CONFIRMED)
@pytest.mark.parametrize("when", list(EVIDENCE))
def test_a_payment_for_a_checkout_that_holds_nothing_is_late(status: CheckoutStatus, when: str) -> None:
    assert decide(situation(status), Wanted.CONFIRM, EVIDENCE[when]) == refund(RefundReason.LATE, EVIDENCE[when])
    assert RefundReason.LATE not in QUARANTINED


@pytest.mark.parametrize("policy", [LatePayments.RESERVE, LatePayments.EQUIVALENT])
@pytest.mark.parametrize("status", [CheckoutStatus.EXPIRED, CheckoutStatus.CANCELLED])
@pytest.mark.parametrize("when", list(EVIDENCE))
def test_a_payment_for_what_is_over_has_it_held_again_and_is_late_only_when_that_fails(
    status: CheckoutStatus, when: str, policy: LatePayments
) -> None:
    seen, capture = situation(status, policy=policy), EVIDENCE[when]
    assert decide(seen, Wanted.CONFIRM, capture) == replace(order(capture), reserves=True)
    gone = replace(seen, to_be_had=False)
    assert decide(gone, Wanted.CONFIRM, capture) == refund(RefundReason.LATE, capture)


@pytest.mark.parametrize("capture", [AT_THE_END, AFTER_THE_END])
def test_after_the_end_what_is_still_held_goes_to_a_payment_where_the_tenant_would_hold_it_again(
    capture: Capture,
) -> None:
    for policy in (LatePayments.RESERVE, LatePayments.EQUIVALENT):
        assert decide(situation(now=END + TICK, policy=policy), Wanted.CONFIRM, capture) == order(capture)


@pytest.mark.parametrize("capture", [AT_THE_END, AFTER_THE_END])
def test_after_the_end_what_is_still_held_goes_to_the_payment_that_was_waited_for(capture: Capture) -> None:
    seen = replace(situation(now=END + TICK), known_in_time=True)
    assert decide(seen, Wanted.CONFIRM, capture) == order(capture)


@pytest.mark.parametrize("now", [END, END + TICK])
def test_the_end_waits_for_a_payment_in_flight_until_its_grace_is_over(now: datetime) -> None:
    waiting = replace(situation(now=now), in_flight=True, waits_until=END + 2 * TICK)
    assert decide(waiting, Wanted.EXPIRE) == Verdict(waits=True)
    assert decide(waiting, Wanted.CANCEL) == Verdict(becomes=CheckoutStatus.CANCELLED)
    over = replace(waiting, now=END + 2 * TICK)
    assert decide(over, Wanted.EXPIRE) == Verdict(becomes=CheckoutStatus.EXPIRED)
    assert decide(replace(waiting, in_flight=False), Wanted.EXPIRE) == Verdict(becomes=CheckoutStatus.EXPIRED)


def test_a_hold_before_its_end_does_not_wait() -> None:
    seen = replace(situation(now=END - TICK), in_flight=True, waits_until=END + TICK)
    assert decide(seen, Wanted.EXPIRE) == Verdict()


@pytest.mark.parametrize("status", list(CheckoutStatus))
def test_money_that_went_back_already_never_makes_an_order(status: CheckoutStatus) -> None:
    seen = replace(situation(status, policy=LatePayments.RESERVE), given_back=True)
    assert decide(seen, Wanted.CONFIRM, IN_TIME) == refund(RefundReason.GIVEN_BACK, IN_TIME)


@pytest.mark.parametrize("when", list(EVIDENCE))
def test_the_second_payment_of_a_confirmed_checkout_is_given_back(when: str) -> None:
    verdict = decide(situation(CheckoutStatus.CONFIRMED), Wanted.CONFIRM, EVIDENCE[when])
    assert verdict == refund(RefundReason.SECOND_PAYMENT, EVIDENCE[when])
    assert RefundReason.SECOND_PAYMENT not in QUARANTINED


@pytest.mark.parametrize("status", list(CheckoutStatus))
@pytest.mark.parametrize("decided", [Ruling.ORDER, Ruling.REFUND])
@pytest.mark.parametrize("capture", [*EVIDENCE.values(), *WRONG.values()])
def test_what_was_decided_of_a_payment_stands(status: CheckoutStatus, decided: Ruling, capture: Capture) -> None:
    seen = replace(situation(status), decided=decided)
    assert decide(seen, Wanted.CONFIRM, capture) == Verdict(capture=capture)


def test_the_payment_that_made_the_order_is_a_repeat_and_another_gateways_of_the_same_id_is_not() -> None:
    seen = situation(CheckoutStatus.CONFIRMED)
    own = replace(IN_TIME, payment_id=PaymentId("p-0"))
    other = replace(own, gateway=GatewayName("other"))
    assert decide(seen, Wanted.CONFIRM, own) == Verdict(capture=own)
    assert decide(seen, Wanted.CONFIRM, other) == refund(RefundReason.SECOND_PAYMENT, other)


def test_to_confirm_without_evidence_is_a_fault() -> None:
    with pytest.raises(ValueError, match="capture"):
        decide(situation(), Wanted.CONFIRM)


@pytest.mark.parametrize("now", [END - TICK, END, END + TICK])
def test_a_held_checkout_can_be_cancelled(now: datetime) -> None:
    assert decide(situation(now=now), Wanted.CANCEL) == Verdict(becomes=CheckoutStatus.CANCELLED)


@pytest.mark.parametrize("status", NOT_HELD)
@pytest.mark.parametrize("wanted", [Wanted.CANCEL, Wanted.EXPIRE])
@pytest.mark.parametrize("in_hand", [None, IN_TIME])
def test_only_a_held_checkout_can_end(status: CheckoutStatus, wanted: Wanted, in_hand: Capture | None) -> None:
    seen = replace(situation(status, now=END + TICK), in_hand=in_hand)
    assert decide(seen, wanted) == Verdict()


@pytest.mark.parametrize("in_hand", [None, IN_TIME])
def test_before_its_end_a_hold_does_not_expire(in_hand: Capture | None) -> None:
    assert decide(replace(situation(now=END - TICK), in_hand=in_hand), Wanted.EXPIRE) == Verdict()


@pytest.mark.parametrize("now", [END, END + TICK])
def test_at_its_very_end_a_hold_is_over(now: datetime) -> None:
    assert decide(situation(now=now), Wanted.EXPIRE) == Verdict(becomes=CheckoutStatus.EXPIRED)


def test_a_payment_in_hand_wins_over_the_end() -> None:
    assert decide(replace(situation(now=END), in_hand=IN_TIME), Wanted.EXPIRE) == order(IN_TIME)


@pytest.mark.parametrize("in_hand", [AT_THE_END, AFTER_THE_END, *WRONG.values()])
def test_a_payment_in_hand_that_cannot_be_the_order_does_not_stop_the_end(in_hand: Capture) -> None:
    verdict = decide(replace(situation(now=END), in_hand=in_hand), Wanted.EXPIRE)
    assert verdict == Verdict(becomes=CheckoutStatus.EXPIRED)


TIMES = st.sampled_from([END - TICK, END, END + TICK])
CAPTURES = st.builds(
    Capture,
    gateway=st.sampled_from([SANDBOX, GatewayName("other")]),
    payment_id=st.sampled_from([PaymentId("p-0"), PaymentId("p-1")]),
    checkout_id=st.sampled_from([HERE, ELSEWHERE]),
    amount=st.sampled_from([999, 1000]),
    currency=st.sampled_from(["COP", "USD"]),
    received_at=TIMES,
)
SITUATIONS = st.builds(
    lambda status, now, policy, **more: replace(situation(status, now, policy), **more),
    st.sampled_from(list(CheckoutStatus)),
    TIMES,
    st.sampled_from(list(LatePayments)),
    decided=st.sampled_from(list(Ruling)),
    in_hand=st.none() | CAPTURES,
    known_in_time=st.booleans(),
    in_hand_known_in_time=st.booleans(),
    given_back=st.booleans(),
    in_flight=st.booleans(),
    waits_until=st.none() | st.just(END + TICK),
    to_be_had=st.booleans(),
)


@settings(deadline=None, derandomize=True)
@given(SITUATIONS, st.sampled_from(list(Wanted)), CAPTURES)
def test_every_verdict_is_one_that_can_be_carried_out(seen: Situation, wanted: Wanted, capture: Capture) -> None:
    verdict = decide(seen, wanted, capture)
    if verdict.becomes is not None:
        assert seen.status is CheckoutStatus.HELD or verdict.reserves
        assert verdict.becomes in (CheckoutStatus.CONFIRMED, CheckoutStatus.CANCELLED, CheckoutStatus.EXPIRED)
    if verdict.ruling is not Ruling.NONE:
        assert verdict.capture is not None
        assert wanted is Wanted.EXPIRE or seen.decided is Ruling.NONE
    assert (verdict.ruling is Ruling.ORDER) == (verdict.becomes is CheckoutStatus.CONFIRMED)
    assert (verdict.ruling is Ruling.REFUND) == (verdict.reason is not None)
    if verdict.reserves:
        assert seen.status in (CheckoutStatus.EXPIRED, CheckoutStatus.CANCELLED)
        assert (seen.to_be_had, verdict.becomes) == (True, CheckoutStatus.CONFIRMED)
    if verdict.waits:
        assert (wanted, seen.in_flight, verdict.becomes) == (Wanted.EXPIRE, True, None)


@settings(deadline=None, derandomize=True)
@given(SITUATIONS, st.sampled_from(list(Wanted)), CAPTURES)
def test_an_order_is_only_made_with_the_right_money(seen: Situation, wanted: Wanted, capture: Capture) -> None:
    verdict = decide(seen, wanted, capture)
    if verdict.ruling is Ruling.ORDER:
        paid = verdict.capture
        assert paid is not None
        assert (paid.amount, paid.currency, paid.checkout_id) == (seen.total, seen.currency, seen.checkout_id)
        known = seen.known_in_time if wanted is Wanted.CONFIRM else seen.in_hand_known_in_time
        assert paid.received_at < END or known or seen.policy is not LatePayments.REFUND


@settings(deadline=None, derandomize=True)
@given(SITUATIONS, st.sampled_from(list(Wanted)), CAPTURES)
def test_a_repeat_changes_nothing(seen: Situation, wanted: Wanted, capture: Capture) -> None:
    first = decide(seen, wanted, capture)
    after = replace(seen, status=first.becomes or seen.status)
    if first.capture is not None and first.ruling is not Ruling.NONE:
        after = replace(after, decided=first.ruling, in_hand=None)
        if first.ruling is Ruling.ORDER:
            after = replace(after, order_payment=(first.capture.gateway, first.capture.payment_id))
    asked = first.capture or capture
    again = decide(after, wanted, asked)
    assert (again.becomes, again.ruling, again.reason) == (None, Ruling.NONE, None)
