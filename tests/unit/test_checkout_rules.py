"""The pure rules beside the decision table: extensions, answers, money, timeouts, names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import database
from domain.checkout import CheckoutStatus, extended_end, is_over
from domain.ids import (
    BuyerKey,
    CheckoutId,
    GatewayName,
    OrderId,
    PaymentId,
    TenantId,
    buyer_hash,
    checkout_id_for,
    order_id_for,
)
from domain.messages import Answer, CancelUpdate, Capture, ConfirmUpdate, ExtendUpdate, Ruling, Settled
from domain.money import Money
from domain.payment_decision import RefundReason
from workflows import policies
from workflows.answers import answer_to_confirm, answer_to_extend, answer_when_over
from workflows.details import describe

HELD_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = HELD_AT
PAYMENT = PaymentId("p-1")
CAPTURE = Capture(GatewayName("sandbox"), PAYMENT, CheckoutId("c"), 1000, "COP", received_at=NOW)
SECONDS = st.integers(min_value=0, max_value=7200).map(lambda seconds: timedelta(seconds=seconds))


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def test_a_hold_is_over_at_its_very_end() -> None:
    assert not is_over(NOW - timedelta(microseconds=1), NOW)
    assert is_over(NOW, NOW)


def test_an_extension_gives_a_whole_step_from_now() -> None:
    end = extended_end(HELD_AT + minutes(13), HELD_AT + minutes(15), HELD_AT, minutes(15), minutes(60))
    assert end == HELD_AT + minutes(28)


def test_no_extension_goes_past_the_maximum() -> None:
    end = extended_end(HELD_AT + minutes(50), HELD_AT + minutes(55), HELD_AT, minutes(15), minutes(60))
    assert end == HELD_AT + minutes(60)


@settings(deadline=None, derandomize=True)
@given(elapsed=SECONDS, left=SECONDS, step=SECONDS, maximum=SECONDS)
def test_an_extension_never_shortens_and_only_an_old_end_outlives_the_maximum(
    elapsed: timedelta, left: timedelta, step: timedelta, maximum: timedelta
) -> None:
    now, old_end = HELD_AT + elapsed, HELD_AT + elapsed + left
    end = extended_end(now, old_end, HELD_AT, step, maximum)
    assert end >= old_end
    assert end == old_end or (end <= HELD_AT + maximum and end <= now + step)
    assert extended_end(now, end, HELD_AT, step, maximum) == end


@pytest.mark.parametrize(
    ("settled", "answer"),
    [
        (Settled(CheckoutStatus.CONFIRMED, paid_by=PAYMENT, ruling=Ruling.ORDER), Answer.DONE),
        (Settled(CheckoutStatus.CONFIRMED, paid_by=PAYMENT), Answer.DONE),
        (
            Settled(
                CheckoutStatus.CONFIRMED,
                paid_by=PaymentId("p-0"),
                ruling=Ruling.REFUND,
                reason=RefundReason.SECOND_PAYMENT,
            ),
            Answer.ALREADY_CONFIRMED,
        ),
        (Settled(CheckoutStatus.EXPIRED, ruling=Ruling.REFUND, reason=RefundReason.LATE), Answer.LATE),
        (Settled(CheckoutStatus.CANCELLED, ruling=Ruling.REFUND, reason=RefundReason.LATE), Answer.LATE),
        *(
            (Settled(status, ruling=Ruling.REFUND, reason=reason), Answer.MISMATCH)
            for status in (CheckoutStatus.HELD, CheckoutStatus.EXPIRED, CheckoutStatus.CONFIRMED)
            for reason in (RefundReason.WRONG_AMOUNT, RefundReason.WRONG_CURRENCY, RefundReason.WRONG_CHECKOUT)
        ),
    ],
)
def test_a_confirm_is_answered_by_what_the_row_said_of_its_payment(settled: Settled, answer: Answer) -> None:
    assert answer_to_confirm(settled, CAPTURE) is answer


@pytest.mark.parametrize(
    ("extended", "answer"),
    [
        (Settled(CheckoutStatus.HELD, remaining_ms=1), Answer.DONE),
        (Settled(CheckoutStatus.HELD, remaining_ms=0), Answer.OVER),
        (Settled(CheckoutStatus.EXPIRED), Answer.OVER),
        (Settled(CheckoutStatus.CANCELLED), Answer.OVER),
        (Settled(CheckoutStatus.CONFIRMED), Answer.ALREADY_CONFIRMED),
        (Settled(None), Answer.OVER),
    ],
)
def test_only_a_live_hold_extends(extended: Settled, answer: Answer) -> None:
    assert answer_to_extend(extended) is answer


UPDATES: dict[str, ConfirmUpdate | ExtendUpdate | CancelUpdate] = {
    "confirm": ConfirmUpdate(GatewayName("sandbox"), PAYMENT, NOW, "f"),
    "extend": ExtendUpdate("k", "f"),
    "cancel": CancelUpdate("f"),
}


@pytest.mark.parametrize("update", list(UPDATES))
@pytest.mark.parametrize("status", [*CheckoutStatus, None])
def test_a_request_that_finds_the_checkout_ended_hears_how(update: str, status: CheckoutStatus | None) -> None:
    answer = answer_when_over(status, UPDATES[update])
    if status is CheckoutStatus.CONFIRMED:
        assert answer is Answer.ALREADY_CONFIRMED
    elif status is CheckoutStatus.CANCELLED and update == "cancel":
        assert answer is Answer.DONE
    else:
        assert answer is Answer.OVER


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(1050, "USD"), "10.50 USD"),
        (Money(5, "USD"), "0.05 USD"),
        (Money(0, "COP"), "0.00 COP"),
        (Money(-5, "EUR"), "-0.05 EUR"),
        (Money(123_456_789, "COP"), "1,234,567.89 COP"),
        (Money(1050, "CLP"), "1,050 CLP"),
        (Money(0, "JPY"), "0 JPY"),
        (Money(7, "KWD"), "0.007 KWD"),
        (Money(1234567, "KWD"), "1,234.567 KWD"),
    ],
)
def test_money_is_written_with_its_currencys_decimals(money: Money, text: str) -> None:
    assert str(money) == text


def test_timeouts_stand_in_the_order_of_the_design() -> None:
    in_order = [
        timedelta(milliseconds=database.LOCK_TIMEOUT_MS),
        timedelta(milliseconds=database.STATEMENT_TIMEOUT_MS),
        policies.LOCAL_START_TO_CLOSE,
        policies.TASK_TIMEOUT * 0.8,
        policies.CLIENT_DEADLINE,
    ]
    assert all(earlier < later for earlier, later in pairwise(in_order)), in_order
    assert policies.TASK_TIMEOUT < policies.CLIENT_DEADLINE


def test_a_buyers_hash_is_keyed_stable_and_tells_nothing() -> None:
    ana, key = BuyerKey("user:ana"), b"k" * 32
    assert buyer_hash(ana, key) == buyer_hash(ana, key)
    assert len(buyer_hash(ana, key)) == 16
    assert "ana" not in buyer_hash(ana, key)
    assert len({buyer_hash(ana, key), buyer_hash(ana, b"l" * 32), buyer_hash(BuyerKey("user:luis"), key)}) == 3


def test_a_checkouts_id_comes_from_tenant_buyer_and_key_and_an_orders_from_its_checkout() -> None:
    tenant, buyer = TenantId("demo"), BuyerKey("user:ana")
    names = [
        ("demo", "user:ana", "k"),
        ("demo2", "user:ana", "k"),
        ("demo", "user:an", "ak"),
        ("demo", "user:ana", "l"),
    ]
    ids = {checkout_id_for(TenantId(t), BuyerKey(b), key) for t, b, key in names}
    assert len(ids) == len(names)
    checkout = checkout_id_for(tenant, buyer, "k")
    assert checkout == checkout_id_for(tenant, buyer, "k")
    assert order_id_for(tenant, checkout) == order_id_for(tenant, checkout)
    assert str(order_id_for(tenant, checkout)) != str(checkout)


@pytest.mark.parametrize("status", list(CheckoutStatus))
def test_the_details_in_the_ui_say_where_every_checkout_stands(status: CheckoutStatus) -> None:
    settled = Settled(status, order_id=OrderId("o-1"), paid_by=PAYMENT)
    text = describe(settled, NOW, declined=0)
    assert text.startswith("**" if status is not CheckoutStatus.NEW else "Nothing")
    assert "Declined payments so far: 2" in describe(Settled(CheckoutStatus.HELD), NOW, declined=2)
