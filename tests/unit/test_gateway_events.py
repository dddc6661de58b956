"""What a signed webhook of the sandbox gateway may say, and that nonsense is Invalid whatever it is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.gateways.sandbox import SandboxGateway
from domain.errors import Invalid, InvalidSignature
from domain.gateway import PaymentEvent, PaymentStatus
from domain.ids import TenantId
from tests.unit.test_standard_webhooks import NEW, NOW, signed

CHECKOUT = "0b5c1f5e-6d0e-5c57-9f0e-2a8f6f3f1c11"
DATA: Mapping[str, Any] = {
    "payment_id": "pay_1",
    "checkout_id": CHECKOUT,
    "tenant": "demo",
    "amount": 5500,
    "currency": "COP",
    "status": "captured",
}
EVENT: Mapping[str, Any] = {
    "id": "evt_1",
    "type": "payment.captured",
    "created_at": "2026-11-21T12:00:00+00:00",
    "data": DATA,
}


def gateway() -> SandboxGateway:
    """An adapter that calls nobody: webhooks are verified without the gateway."""
    return SandboxGateway("http://gateway.invalid", [NEW], httpx.AsyncClient(transport=httpx.MockTransport(_nobody)))


def _nobody(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"nothing should call {request.url}")


def parse(body: bytes, tenant: str = "demo") -> PaymentEvent:
    """As if the gateway had signed exactly this body."""
    return verified(TenantId(tenant), signed_over(body), body)


def verified(tenant: TenantId, headers: dict[str, str], body: bytes) -> PaymentEvent:
    """Where no tenant has a secret of its own, verifying waits for nothing, and needs no event loop."""
    parsing = gateway().parse_webhook(tenant, headers, body, NOW)
    try:
        parsing.send(None)
    except StopIteration as done:
        event: PaymentEvent = done.value
        return event
    raise AssertionError("it waited")


def signed_over(body: bytes) -> dict[str, str]:
    headers = signed()
    key = base64.b64decode(NEW.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(key, content, hashlib.sha256).digest()
    return headers | {"webhook-signature": "v1," + base64.b64encode(mac).decode()}


def body_with(**changes: Any) -> bytes:
    return json.dumps({**EVENT, "data": {**DATA, **changes}}).encode()


def test_a_capture_is_read_whole() -> None:
    event = parse(json.dumps(EVENT).encode())
    assert (event.gateway, event.event_id, event.kind) == ("sandbox", "evt_1", PaymentStatus.CAPTURED)
    assert (event.payment_id, event.checkout_id, event.amount, event.currency) == ("pay_1", CHECKOUT, 5500, "COP")
    assert event.occurred_at == datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("kind", list(PaymentStatus))
def test_every_kind_of_event_is_known(kind: PaymentStatus) -> None:
    assert parse(json.dumps({**EVENT, "type": f"payment.{kind}"}).encode()).kind is kind


def test_what_a_gateway_adds_later_is_ignored() -> None:
    assert parse(json.dumps({**EVENT, "livemode": False, "fee": 1.5}).encode()).payment_id == "pay_1"


def test_a_time_in_another_zone_is_read_in_utc() -> None:
    event = parse(json.dumps({**EVENT, "created_at": "2026-11-21T07:00:00-05:00"}).encode())
    assert event.occurred_at.isoformat() == "2026-11-21T12:00:00+00:00"


@pytest.mark.parametrize("amount", [0, 1, 10**15])
def test_amounts_up_to_the_bound_are_taken(amount: int) -> None:
    assert parse(body_with(amount=amount)).amount == amount


@pytest.mark.parametrize(
    "amount", [-1, 10**15 + 1, 2**63, 10**400, True, False, 1.0, 5500.5, "5500", None, [], {}, float("nan"), 1e400]
)
def test_an_amount_that_is_no_sane_whole_number_is_invalid(amount: Any) -> None:
    with pytest.raises(Invalid):
        parse(body_with(amount=amount))


def test_an_integer_of_ten_thousand_digits_is_invalid() -> None:
    with pytest.raises(Invalid):
        parse(body_with().replace(b"5500", b"9" * 10_000))


@pytest.mark.parametrize("currency", ["", "cop", "COPS", "CO", "C0P", "COP\n", None, 170, ["COP"], "\u0421OP"])
def test_a_currency_that_is_no_iso_code_is_invalid(currency: Any) -> None:
    with pytest.raises(Invalid):
        parse(body_with(currency=currency))


@pytest.mark.parametrize("value", ["", "x" * 201, "a\x00b", "a\nb", "\x7f", "\ud800", None, 7, True, ["pay_1"], {}])
def test_a_payment_id_that_cannot_be_stored_is_invalid(value: Any) -> None:
    with pytest.raises(Invalid):
        parse(body_with(payment_id=value))


@pytest.mark.parametrize("value", [None, "order 17", CHECKOUT.upper(), CHECKOUT.replace("-", ""), f"{{{CHECKOUT}}}"])
def test_money_for_no_checkout_of_ours_is_an_event_without_checkout(value: Any) -> None:
    assert parse(body_with(checkout_id=value)).checkout_id is None


@pytest.mark.parametrize("value", ["", 7, True, "a\x00", "\ud800", "x" * 201, [CHECKOUT]])
def test_a_checkout_id_that_is_no_text_is_invalid(value: Any) -> None:
    with pytest.raises(Invalid):
        parse(body_with(checkout_id=value))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "2026-11-21T12:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        1795262400,
        None,
        "2026-11-21T12:00:00+00:00\x00",
        "2026-13-01T00:00:00Z",
        "\ud800",
    ],
)
def test_a_time_that_makes_no_sense_is_invalid(value: Any) -> None:
    with pytest.raises(Invalid):
        parse(json.dumps({**EVENT, "created_at": value}).encode())


@pytest.mark.parametrize("kind", ["", "captured", "payment.", "payment.stolen", "payment.CAPTURED", None, 1, "\ud800"])
def test_an_unknown_kind_is_invalid(kind: Any) -> None:
    with pytest.raises(Invalid):
        parse(json.dumps({**EVENT, "type": kind}).encode())


def test_a_webhook_overheard_at_one_shop_does_nothing_at_another() -> None:
    with pytest.raises(Invalid):
        parse(body_with(), tenant="other")


def test_an_event_id_other_than_the_signed_one_is_invalid() -> None:
    with pytest.raises(Invalid):
        parse(json.dumps({**EVENT, "id": "evt_2"}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"data":' * 100_000,
        b'{"id":"evt_1","id":"evt_1"}',
        b'{"id":NaN}',
        b'{"id":Infinity}',
        b"{}\x00",
        b"{'id': 1}",
    ],
)
def test_a_signed_body_that_is_no_object_of_ours_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse(body)


def test_a_repeated_name_is_invalid_also_deep_inside() -> None:
    with pytest.raises(Invalid):
        parse(body_with().replace(b'"amount": 5500', b'"amount": 1, "amount": 5500'))


def test_errors_never_repeat_what_was_sent() -> None:
    with pytest.raises(Invalid) as caught:
        parse(body_with(currency="4111111111111111"))
    assert "4111" not in caught.value.detail


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*EVENT, *DATA]), json_values)
def test_any_value_in_any_field_is_read_or_invalid(name: str, value: Any) -> None:
    whole = {**EVENT, name: value} if name in EVENT else {**EVENT, "data": {**DATA, name: value}}
    try:
        event = parse(json.dumps(whole).encode())
    except Invalid:
        return
    assert type(event.amount) is int
    assert event.event_id == "evt_1"


@given(st.binary(max_size=300))
def test_any_other_signed_bytes_are_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse(body)


def test_an_unsigned_body_is_not_even_read() -> None:
    with pytest.raises(InvalidSignature):
        verified(TenantId("demo"), signed(), b"{")
