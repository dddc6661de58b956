"""What we read from Stripe and send to it is what its own library says there is; so is what the stand-in speaks."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from stripe.checkout import Session
from stripe.params._payment_intent_cancel_params import PaymentIntentCancelParams
from stripe.params._payment_intent_create_params import PaymentIntentCreateParams
from stripe.params._refund_create_params import RefundCreateParams
from stripe.params.checkout import _session_create_params as session_params

from activities.gateways import stripe_requests
from activities.gateways.stripe_events import _INTENT_EVENTS, _REFUNDED, _SESSION_EVENTS
from activities.gateways.stripe_reading import _INTENT_STATUS
from domain.gateway import PaymentToStart
from domain.ids import CheckoutId, TenantId
from tests.support.stripe_state import StripeState

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WISH = PaymentToStart(CheckoutId("c"), 500, "COP", "key", NOW + timedelta(hours=1), "Order", "https://shop.example.com")


def literals(annotation: Any) -> set[str]:
    """Every value of the Literals in a type."""
    if typing.get_origin(annotation) is typing.Literal:
        return set(typing.get_args(annotation))
    return {value for part in typing.get_args(annotation) for value in literals(part)}


def fields(kind: type) -> set[str]:
    """What objects of this kind have, by the library."""
    return {name for each in kind.__mro__ for name in getattr(each, "__annotations__", {})}


def test_every_status_of_a_payment_intent_is_known() -> None:
    assert set(_INTENT_STATUS) | {"requires_payment_method"} == literals(fields_of(stripe.PaymentIntent, "status"))


def test_the_statuses_of_a_session_are_those_we_read() -> None:
    assert literals(fields_of(Session, "status")) == {"open", "complete", "expired"}
    assert literals(fields_of(Session, "payment_status")) == {"paid", "unpaid", "no_payment_required"}


def test_every_kind_of_event_that_we_read_is_one_of_stripes() -> None:
    assert {*_INTENT_EVENTS, *_SESSION_EVENTS, _REFUNDED} <= literals(fields_of(stripe.Event, "type"))


def test_every_kind_of_event_about_how_far_a_payment_is_is_read() -> None:
    """A new one of the library's is looked at by a person before it is ignored."""
    all_of_them = literals(fields_of(stripe.Event, "type"))
    about = {kind for kind in all_of_them if kind.startswith(("payment_intent.", "checkout.session."))}
    ignored = {
        "payment_intent.amount_capturable_updated",  # We ask for capture at once.
        "payment_intent.partially_funded",  # Bank transfers by parts, told by succeeded at the end.
        "payment_intent.requires_action",  # The buyer is asked something; nothing is decided.
    }
    assert about - set(_INTENT_EVENTS) - set(_SESSION_EVENTS) == ignored & about


def fields_of(kind: type, name: str) -> Any:
    return kind.__annotations__[name]


def spoken() -> Iterator[tuple[type, dict[str, Any]]]:
    """One object of each kind that the stand-in makes."""
    state = StripeState()
    price = {"unit_amount": "500", "currency": "cop"}
    asked = {"line_items": {"0": {"price_data": price}}, "mode": "payment", "success_url": "https://shop.example.com"}
    session = state.create_session(asked)
    state.pay(session["id"])
    [intent], [charge] = state.intents.values(), state.charges.values()
    yield stripe.PaymentIntent, intent
    yield stripe.Charge, charge
    yield Session, session
    yield stripe.Refund, state.create_refund({"payment_intent": intent["id"]})
    yield stripe.Event, state.events[0]
    yield stripe.ListObject, state.page(state.intents, {})


@pytest.mark.parametrize(("kind", "data"), list(spoken()), ids=lambda value: getattr(value, "__name__", ""))
def test_the_stand_in_speaks_of_nothing_that_the_library_does_not_know(kind: type, data: dict[str, Any]) -> None:
    assert set(data) - fields(kind) - {"object"} == set()
    assert data["object"] == kind.OBJECT_NAME  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        (PaymentIntentCreateParams, stripe_requests.intent(TenantId("demo"), WISH)),
        (session_params.SessionCreateParams, stripe_requests.session(TenantId("demo"), WISH, NOW)),
        (
            session_params.SessionCreateParamsPaymentIntentData,
            stripe_requests.session(TenantId("demo"), WISH, NOW)["payment_intent_data"],
        ),
        (
            session_params.SessionCreateParamsLineItemPriceData,
            stripe_requests.session(TenantId("demo"), WISH, NOW)["line_items"][0]["price_data"],
        ),
        (
            session_params.SessionCreateParamsAdaptivePricing,
            stripe_requests.session(TenantId("demo"), WISH, NOW)["adaptive_pricing"],
        ),
        (PaymentIntentCancelParams, {"cancellation_reason": "abandoned", "expand": []}),
        (RefundCreateParams, {"payment_intent": "pi_1", "amount": 1, "metadata": {}}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_sent_are_parameters_that_the_library_names(params: Any, sent: dict[str, Any]) -> None:
    assert set(sent) - set(params.__annotations__) == set()


def test_what_people_read_has_no_controls_and_is_never_empty() -> None:
    odd = PaymentToStart(CheckoutId("c-1"), 500, "COP", "key", NOW, "\x00\n\ud800", None)
    assert stripe_requests.intent(TenantId("demo"), odd)["description"] == "c-1"
    long = PaymentToStart(CheckoutId("c-1"), 500, "COP", "key", NOW, "a\nb" + "x" * 500, None)
    assert stripe_requests.intent(TenantId("demo"), long)["description"] == "a b" + "x" * 197
