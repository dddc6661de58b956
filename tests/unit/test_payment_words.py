"""Why a payment stands as it does: each case has a sentence of its own, and none is left without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.gateway import PaymentStatus
from domain.payment_decision import RefundReason
from domain.payment_words import _REASONS, PaymentStory, why

PAID = PaymentStory("sandbox", "pay_1", "captured", checkout_known=True, amount=1000)
ORDER = replace(PAID, outcome="order", order_id="o-1")
BACK = replace(PAID, outcome="refund", reason="late", refund_status="intended", refunded=1000)


def test_every_reason_to_give_money_back_is_put_in_words() -> None:
    assert set(_REASONS) >= {reason.value for reason in RefundReason}
    assert len(set(_REASONS.values())) == len(_REASONS)


@pytest.mark.parametrize("status", PaymentStatus)
@pytest.mark.parametrize("known", [True, False])
def test_a_payment_of_which_nothing_is_decided_has_a_sentence(status: PaymentStatus, known: bool) -> None:
    said = why(replace(PAID, status=status.value, checkout_known=known))
    assert said.endswith(".")
    assert "None" not in said


@pytest.mark.parametrize(
    ("story", "said"),
    [
        (ORDER, "It made order o-1."),
        (
            replace(ORDER, refunded=400, refund_status="intended"),
            "It made order o-1. Of it, 400 (minor units) is being given back: the gateway is asked until it has.",
        ),
        (replace(ORDER, refunded=1000, refund_status="refunded"), "It made order o-1. All of it was given back."),
        (
            BACK,
            "It cannot make an order: it came after the hold had ended. All of it is being given back: the gateway is"
            " asked until it has.",
        ),
        (
            replace(BACK, reason="wrong_amount", quarantined=True, refund_status="refunded"),
            "It cannot make an order: its amount is not the checkout's total. All of it was given back. Somebody should"
            " look at it.",
        ),
        (
            replace(BACK, gateway="manual", payment_id="man_1"),
            "It cannot make an order: it came after the hold had ended. All of it is to be returned by hand, and then"
            " recorded: `holdfast payments refunded man_1`.",
        ),
        (replace(BACK, reason="new_reason", refund_status="refunded"),
         "It cannot make an order: new_reason. All of it was given back."),
        (
            replace(PAID, checkout_known=False),
            "It was captured, and its checkout is not known (yet): it is kept, and given back if none appears.",
        ),
    ],
)  # fmt: skip
def test_what_became_of_a_payment_is_said_in_words(story: PaymentStory, said: str) -> None:
    assert why(story) == said
