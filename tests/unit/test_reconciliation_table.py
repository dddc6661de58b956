"""The whole table of reconciliation: what the gateway has, what we have, and what is to be said of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.disagreements import ADVICE, Kind, Remedy
from domain.gateway import GatewayPayment, PaymentStatus
from domain.ids import CheckoutId, GatewayName, PaymentId, TenantId
from domain.messages import Ruling
from domain.reconciliation import (
    AGREED,
    GRACE,
    REPAIR_PATIENCE,
    TOO_YOUNG,
    Counts,
    Judgement,
    Ours,
    detail,
    is_behind,
    judge,
    needs_people,
)

TENANT = TenantId("demo")
PAYMENT = PaymentId("pay_1")
TAKEN = (PaymentStatus.CAPTURED, PaymentStatus.REFUNDED)
NOT_TAKEN = tuple(status for status in PaymentStatus if status not in TAKEN)


def theirs(status: PaymentStatus = PaymentStatus.CAPTURED, **changes: Any) -> GatewayPayment:
    """1000 COP; a refunded payment's money has all gone back."""
    refunded = 1000 if status is PaymentStatus.REFUNDED else 0
    checkout = CheckoutId("00000000-0000-4000-8000-000000000000")
    made = GatewayPayment(GatewayName("sandbox"), PAYMENT, checkout, status, 1000, "COP", refunded, TENANT)
    return replace(made, **changes)


def ours(outcome: Ruling = Ruling.NONE, **changes: Any) -> Ours:
    """Quiet for an hour."""
    money: dict[str, Any] = {} if outcome is Ruling.NONE else {"amount": 1000, "currency": "COP"}
    return replace(Ours(PAYMENT, outcome=outcome, quiet_seconds=3600.0, **money), **changes)


def said(theirs: GatewayPayment | None, ours: Ours) -> Kind | None:
    """The kind of disagreement."""
    judgement = judge(TENANT, theirs, ours)
    assert not judgement.too_young
    return judgement.kind


ORDER, REFUND, NONE = Ruling.ORDER, Ruling.REFUND, Ruling.NONE
CAPTURED, REFUNDED = PaymentStatus.CAPTURED, PaymentStatus.REFUNDED
REFUND_IS_MADE = {"refund_made": True}
TABLE: list[tuple[str, GatewayPayment | None, Ours, Kind | None]] = [
    ("paid, and nothing of ours", theirs(), ours(), Kind.PAID_WITHOUT_OUTCOME),
    ("paid, never heard of", theirs(), Ours(PAYMENT), Kind.PAID_WITHOUT_OUTCOME),
    ("paid in part refunded, nothing of ours", theirs(refunded_amount=400), ours(), Kind.PAID_WITHOUT_OUTCOME),
    ("paid twice", theirs(), ours(paid_by_another=True), Kind.SECOND_CAPTURE),
    ("paid, its event waits", theirs(), ours(in_inbox=True), Kind.PAID_AND_WAITING),
    ("paid twice, its event waits", theirs(), ours(in_inbox=True, paid_by_another=True), Kind.PAID_AND_WAITING),
    ("came and went", theirs(REFUNDED), ours(), Kind.REFUNDED_UNSEEN),
    ("came and went, never heard of", theirs(REFUNDED), Ours(PAYMENT), Kind.REFUNDED_UNSEEN),
    ("came and went, its event waits", theirs(REFUNDED), ours(in_inbox=True), Kind.REFUNDED_UNSEEN),
    ("order, paid", theirs(), ours(ORDER), None),
    ("order, unknown there", None, ours(ORDER), Kind.PAYMENT_UNKNOWN),
    ("order, less taken", theirs(amount=999), ours(ORDER), Kind.AMOUNT_DIFFERS),
    ("order, more taken", theirs(amount=1001), ours(ORDER), Kind.AMOUNT_DIFFERS),
    ("order, other currency", theirs(currency="USD"), ours(ORDER), Kind.AMOUNT_DIFFERS),
    ("order, given back by hand", theirs(REFUNDED), ours(ORDER), Kind.REFUNDED_ELSEWHERE),
    ("order, part given back by hand", theirs(refunded_amount=1), ours(ORDER), Kind.REFUNDED_ELSEWHERE),
    ("order refunded in part", theirs(refunded_amount=400), ours(ORDER, refunds_made=400), None),
    ("order refunded wholly", theirs(REFUNDED), ours(ORDER, refunds_made=1000), None),
    ("more by hand", theirs(refunded_amount=500), ours(ORDER, refunds_made=400), Kind.REFUNDED_ELSEWHERE),
    ("refund not there", theirs(refunded_amount=300), ours(ORDER, refunds_made=400), Kind.REFUND_MISSING),
    ("order refund not made", theirs(), ours(ORDER, refunds_intended=400), Kind.ORDER_REFUND_UNFINISHED),
    (
        "order refund made, not recorded",
        theirs(refunded_amount=400),
        ours(ORDER, refunds_intended=400),
        Kind.ORDER_REFUND_UNFINISHED,
    ),
    (
        "one made, one not",
        theirs(refunded_amount=100),
        ours(ORDER, refunds_made=100, refunds_intended=400),
        Kind.ORDER_REFUND_UNFINISHED,
    ),
    (
        "by hand beside one that is owed",
        theirs(refunded_amount=501),
        ours(ORDER, refunds_made=100, refunds_intended=400),
        Kind.REFUNDED_ELSEWHERE,
    ),
    (
        "less than made, another owed",
        theirs(refunded_amount=50),
        ours(ORDER, refunds_made=100, refunds_intended=400),
        Kind.REFUND_MISSING,
    ),
    ("refund made", theirs(REFUNDED), ours(REFUND, **REFUND_IS_MADE), None),
    ("refund owed", theirs(), ours(REFUND), Kind.REFUND_UNFINISHED),
    ("refund made there, not recorded", theirs(REFUNDED), ours(REFUND), Kind.REFUND_UNFINISHED),
    ("refund not there", theirs(), ours(REFUND, **REFUND_IS_MADE), Kind.REFUND_MISSING),
    ("refund there in part", theirs(refunded_amount=999), ours(REFUND, **REFUND_IS_MADE), Kind.REFUND_MISSING),
    ("refund, unknown there", None, ours(REFUND), Kind.PAYMENT_UNKNOWN),
    ("refund made, unknown there", None, ours(REFUND, **REFUND_IS_MADE), Kind.PAYMENT_UNKNOWN),
    ("refund, less taken", theirs(amount=999), ours(REFUND), Kind.AMOUNT_DIFFERS),
    ("heard of as paid, unknown there", None, ours(status=CAPTURED), Kind.PAYMENT_UNKNOWN),
    ("started, unknown there", None, ours(status=PaymentStatus.CREATED), None),
    ("nobody knows it", None, Ours(PAYMENT), None),
    ("another tenant's, paid", theirs(tenant="other"), ours(), Kind.FOREIGN_TENANT),
    ("another tenant's, refunded", theirs(REFUNDED, tenant="other"), ours(), Kind.FOREIGN_TENANT),
    ("another tenant's, our order", theirs(tenant="other"), ours(ORDER), Kind.FOREIGN_TENANT),
    ("another tenant's, our order, not paid", theirs(NOT_TAKEN[0], tenant="other"), ours(ORDER), Kind.FOREIGN_TENANT),
    ("another tenant's, not paid", theirs(NOT_TAKEN[0], tenant="other"), ours(), None),
    ("no tenant said", theirs(tenant=None), ours(ORDER), None),
    *((f"{status}, nothing of ours", theirs(status), ours(), None) for status in NOT_TAKEN),
    *((f"order, {status} there", theirs(status), ours(ORDER), Kind.NOT_CAPTURED) for status in NOT_TAKEN),
    *((f"refund, {status} there", theirs(status), ours(REFUND), Kind.NOT_CAPTURED) for status in NOT_TAKEN),
]


@pytest.mark.parametrize(("theirs", "ours", "kind"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_table(theirs: GatewayPayment | None, ours: Ours, kind: Kind | None) -> None:
    assert said(theirs, ours) is kind
    young = replace(ours, quiet_seconds=GRACE.total_seconds() - 1)
    assert judge(TENANT, theirs, young) == (AGREED if kind is None else TOO_YOUNG)
    assert judge(TENANT, theirs, young, timedelta(0)) == Judgement(kind)


def test_the_table_names_every_kind() -> None:
    assert {kind for *_, kind in TABLE} == {None, *Kind}
    assert set(ADVICE) == set(Kind)


def test_agreement_is_only_with_money_that_ended_the_same_on_both_sides() -> None:
    """Every combination: whoever agrees has nothing taken and nothing decided, or the same amounts in and out."""
    agreed = 0
    for status, refunded, outcome, made, intended, done in itertools.product(
        PaymentStatus, (0, 400, 1000), Ruling, (0, 400, 1000), (0, 400), (False, True)
    ):
        gateway = theirs(status, refunded_amount=1000 if status is REFUNDED else refunded)
        mine = ours(outcome, refunds_made=made, refunds_intended=intended, refund_made=done)
        if said(gateway, mine) is not None:
            continue
        agreed += 1
        if outcome is Ruling.NONE:
            assert status in NOT_TAKEN
        else:
            assert status in TAKEN
            assert gateway.refunded_amount == (made + intended if outcome is ORDER else 1000)
    assert agreed > 50


def test_what_just_changed_is_not_judged_and_at_ten_minutes_it_is() -> None:
    assert judge(TENANT, theirs(), ours(quiet_seconds=599.9)) == TOO_YOUNG
    assert judge(TENANT, theirs(), ours(quiet_seconds=600.0)).kind is Kind.PAID_WITHOUT_OUTCOME


def test_only_people_can_mend_what_somebody_may_have_meant() -> None:
    by_itself = {kind for kind in Kind if ADVICE[kind].remedy is not Remedy.PEOPLE}
    assert by_itself == {
        Kind.PAID_WITHOUT_OUTCOME,
        Kind.SECOND_CAPTURE,
        Kind.PAID_AND_WAITING,
        Kind.REFUNDED_UNSEEN,
        Kind.REFUND_UNFINISHED,
        Kind.ORDER_REFUND_UNFINISHED,
    }
    assert all(needs_people(kind, None) == (kind not in by_itself) for kind in Kind)


def test_a_repair_that_does_not_help_is_shown_to_people() -> None:
    patience = REPAIR_PATIENCE.total_seconds()
    assert not needs_people(Kind.REFUND_UNFINISHED, 0.0)
    assert not needs_people(Kind.REFUND_UNFINISHED, patience - 1)
    assert needs_people(Kind.REFUND_UNFINISHED, patience)


@pytest.mark.parametrize(
    ("known", "said", "news"),
    [
        (None, "created", True),
        ("created", "created", False),
        ("created", "captured", True),
        ("processing", "failed", True),
        ("failed", "processing", True),
        ("processing", "created", False),
        ("captured", "processing", False),
        ("captured", "refunded", True),
        ("expired", "captured", True),
        ("captured", "expired", False),
        ("refunded", "captured", False),
    ],
)
def test_news_of_a_payments_stand_only_go_forward(known: str | None, said: str, news: bool) -> None:
    assert is_behind(theirs(PaymentStatus(said)), ours(status=known and PaymentStatus(known))) is news


def test_the_detail_is_of_states_and_amounts_and_changes_with_them() -> None:
    of_order = detail(theirs(REFUNDED), ours(ORDER, refunds_made=400, refunds_intended=100))
    assert of_order == {
        "gateway": {"status": "refunded", "amount": 1000, "currency": "COP", "refunded": 1000},
        "ours": {"outcome": "order", "amount": 1000, "currency": "COP", "refunded": 400, "to_refund": 100},
    }
    assert detail(None, ours(REFUND))["ours"]["to_refund"] == 1000
    assert detail(None, ours(REFUND, refund_made=True))["ours"]["to_refund"] == 0
    assert detail(theirs(), ours(status=CAPTURED))["ours"] == {"status": "captured", "outcome": None}


def test_counts_add_up() -> None:
    assert Counts(compared=2, flagged=1) + Counts(compared=3, repaired=4) == Counts(compared=5, repaired=4, flagged=1)
