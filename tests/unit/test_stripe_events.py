"""What a signed event of Stripe's tells us; whose it is; and that nonsense is Invalid whatever it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.gateways.stripe_amounts import from_stripe, to_stripe
from activities.gateways.stripe_events import Told, told
from domain.errors import GatewayRefused, Invalid
from domain.gateway import PaymentStatus
from domain.ids import TenantId
from domain.money import EXPONENTS

CHECKOUT = "0b5c1f5e-6d0e-5c57-9f0e-2a8f6f3f1c11"
MARKER = {"holdfast_tenant": "demo", "holdfast_checkout": CHECKOUT, "holdfast_start": "start-1"}
INTENT: Mapping[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 5500,
    "amount_received": 5500,
    "currency": "cop",
    "status": "succeeded",
    "metadata": MARKER,
}
SESSION: Mapping[str, Any] = {
    "id": "cs_test_1",
    "object": "checkout.session",
    "amount_total": 5500,
    "currency": "cop",
    "payment_status": "paid",
    "payment_intent": "pi_1",
    "metadata": MARKER,
}
CHARGE: Mapping[str, Any] = {
    "id": "ch_1",
    "object": "charge",
    "amount": 5500,
    "amount_refunded": 100,
    "currency": "cop",
    "payment_intent": "pi_1",
    "metadata": MARKER,
}


def event(kind: str, data: Mapping[str, Any], **changes: Any) -> bytes:
    whole = {"id": "evt_1", "type": kind, "created": 1795262400, "livemode": False, "data": {"object": data}, **changes}
    return json.dumps(whole).encode()


def read(kind: str = "payment_intent.succeeded", data: Mapping[str, Any] = INTENT, **changes: Any) -> Told | None:
    return told(TenantId("demo"), event(kind, data, **changes), live=False)


@pytest.mark.parametrize(
    ("kind", "data", "payment", "status"),
    [
        ("payment_intent.created", INTENT, "pi_1", PaymentStatus.CREATED),
        ("payment_intent.processing", INTENT, "pi_1", PaymentStatus.PROCESSING),
        ("payment_intent.succeeded", INTENT, "pi_1", PaymentStatus.CAPTURED),
        ("payment_intent.payment_failed", INTENT, "pi_1", PaymentStatus.FAILED),
        ("payment_intent.canceled", INTENT, "pi_1", PaymentStatus.EXPIRED),
        ("checkout.session.completed", SESSION, "cs_test_1", PaymentStatus.CAPTURED),
        ("checkout.session.completed", {**SESSION, "payment_status": "unpaid"}, "cs_test_1", PaymentStatus.PROCESSING),
        ("checkout.session.async_payment_succeeded", SESSION, "cs_test_1", PaymentStatus.CAPTURED),
        ("checkout.session.async_payment_failed", SESSION, "cs_test_1", PaymentStatus.FAILED),
        ("checkout.session.expired", SESSION, "cs_test_1", PaymentStatus.EXPIRED),
        ("charge.refunded", CHARGE, "pi_1", PaymentStatus.REFUNDED),
    ],
)
def test_each_kind_of_event_is_read(kind: str, data: Mapping[str, Any], payment: str, status: PaymentStatus) -> None:
    heard = read(kind, data)
    assert heard is not None
    found = heard.event
    assert (found.gateway, found.event_id, found.kind, found.payment_id) == ("stripe", "evt_1", status, payment)
    assert (found.checkout_id, found.amount, found.currency) == (CHECKOUT, 5500, "COP")
    assert found.occurred_at == datetime.fromtimestamp(1795262400, UTC)
    assert (found.foreign_tenant, heard.of_session) == (False, False)


@pytest.mark.parametrize("metadata", [{}, None, "text", {"order": "7"}, {"holdfast_start": "x"}])
@pytest.mark.parametrize("kind", ["payment_intent.succeeded", "checkout.session.completed", "charge.refunded"])
def test_money_that_the_shop_takes_elsewhere_in_the_same_account_is_nothing_to_us(kind: str, metadata: Any) -> None:
    """It is not ours to give back."""
    data = {"p": INTENT, "c": SESSION}[kind[0]] if kind != "charge.refunded" else CHARGE
    assert read(kind, {**data, "metadata": metadata}) is None


@pytest.mark.parametrize(
    "kind",
    ["invoice.paid", "payment_intent.requires_action", "charge.succeeded", "charge.updated", "customer.created", "x"],
)
def test_events_that_say_nothing_of_how_far_a_payment_is_are_nothing_to_us(kind: str) -> None:
    assert read(kind) is None


def test_an_event_of_another_account_that_hangs_on_this_one_is_nothing_to_us() -> None:
    assert read(account="acct_1") is None


def test_the_intent_of_a_session_is_told_of_by_the_session_only() -> None:
    of_session = {**INTENT, "metadata": {**MARKER, "holdfast_via": "session"}}
    for kind in ("created", "processing", "succeeded", "payment_failed", "canceled"):
        assert read(f"payment_intent.{kind}", of_session) is None
    refund = read("charge.refunded", {**CHARGE, "metadata": {**MARKER, "holdfast_via": "session"}})
    assert refund is not None
    assert refund.of_session


def test_another_tenants_payment_in_this_tenants_account_is_money_in_the_wrong_hands() -> None:
    heard = read(data={**INTENT, "metadata": {**MARKER, "holdfast_tenant": "other"}})
    assert heard is not None
    assert (heard.event.foreign_tenant, heard.event.checkout_id) == (True, None)


def test_a_payment_that_the_shop_itself_made_for_a_checkout_is_ours() -> None:
    heard = read(data={**INTENT, "metadata": {"holdfast_checkout": CHECKOUT}})
    assert heard is not None
    assert (heard.event.foreign_tenant, heard.event.checkout_id) == (False, CHECKOUT)


@pytest.mark.parametrize("value", ["", "order 17", CHECKOUT.upper(), "x" * 500, "a\x00b", 7, None])
def test_money_for_no_checkout_of_ours_is_an_event_without_checkout(value: Any) -> None:
    heard = read(data={**INTENT, "metadata": {**MARKER, "holdfast_checkout": value}})
    assert heard is not None
    assert heard.event.checkout_id is None


def test_the_amount_of_a_capture_is_what_was_received() -> None:
    heard = read(data={**INTENT, "amount_received": 5000})
    assert heard is not None
    assert heard.event.amount == 5000


def test_an_event_of_the_test_mode_is_nothing_for_a_live_key() -> None:
    body = event("payment_intent.succeeded", INTENT, livemode=False)
    with pytest.raises(Invalid, match="livemode"):
        told(TenantId("demo"), body, live=True)
    with pytest.raises(Invalid, match="livemode"):
        told(TenantId("demo"), event("payment_intent.succeeded", INTENT, livemode=True), live=False)
    assert told(TenantId("demo"), body, live=None) is not None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b'{"type":1}', b'{"type":"x","data":{}}', b"\xff", b"[" * 100_000]
)
def test_a_signed_body_that_is_no_event_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        told(TenantId("demo"), body, live=None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["id", "type", "created", "livemode", "data", *INTENT]), json_values)
def test_any_value_in_any_field_is_read_ignored_or_invalid(name: str, value: Any) -> None:
    whole = json.loads(event("payment_intent.succeeded", INTENT))
    (whole if name in whole and name != "id" else whole["data"]["object"])[name] = value
    try:
        heard = told(TenantId("demo"), json.dumps(whole).encode(), live=None)
    except Invalid:
        return
    assert heard is None or type(heard.event.amount) is int


def test_errors_never_repeat_what_was_sent() -> None:
    with pytest.raises(Invalid) as caught:
        read(data={**INTENT, "currency": "4111111111111111"})
    assert "4111" not in caught.value.detail


@given(st.integers(0, 10**12), st.sampled_from([*EXPONENTS, "ISK", "UGX", "MGA", "BHD", "TWD", "HUF", "XAF"]))
def test_an_amount_that_stripe_takes_comes_back_the_same(amount: int, currency: str) -> None:
    try:
        theirs = to_stripe(amount, currency)
    except GatewayRefused:
        assert currency in ("MGA", "BHD", "KWD")
        return
    assert from_stripe(theirs, currency) == amount


@pytest.mark.parametrize(
    ("amount", "currency", "theirs"),
    [(5500, "COP", 5500), (5500, "CLP", 5500), (500, "JPY", 500), (5120, "KWD", 5120), (5, "ISK", 500), (5, "UGX", 500),
     (300, "MGA", 3), (1000, "TWD", 1000), (1045, "HUF", 1045), (1050, "USD", 1050)],
)  # fmt: skip
def test_stripes_documented_amounts(amount: int, currency: str, theirs: int) -> None:
    assert to_stripe(amount, currency) == theirs


def test_a_part_of_a_crown_that_there_is_not_is_invalid() -> None:
    with pytest.raises(Invalid):
        from_stripe(150, "ISK")
