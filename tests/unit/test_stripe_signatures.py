"""Stripe's webhook signatures: what verifies, and that everything else is InvalidSignature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from activities.gateways.stripe_signatures import secrets_from, verify
from domain.errors import InvalidSignature

OLD, NEW, THIRD = ("whsec_" + name * 8 for name in ("old1", "new2", "thr3"))
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
BODY = b'{"id": "evt_1", "object": "event", "type": "payment_intent.succeeded"}'


def header(body: bytes = BODY, secret: str = NEW, at: datetime = NOW) -> str:
    """By the library's own function."""
    made: str = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, int(at.timestamp()))
    return made


def refused(text: str, body: bytes = BODY, secrets: tuple[str, ...] = (NEW,), now: datetime = NOW) -> None:
    with pytest.raises(InvalidSignature):
        verify(secrets, text, body, now)


def test_what_stripes_library_signs_verifies() -> None:
    verify([NEW], header(), BODY, NOW)


def test_a_test_signature_beside_the_real_one_is_no_hindrance() -> None:
    """In test mode Stripe sends v0 too."""
    verify([NEW], header() + ",v0=" + "0" * 64, BODY, NOW)
    refused(header().replace("v1=", "v0="))


def test_every_flipped_bit_of_the_body_is_refused() -> None:
    good = header()
    for position in range(len(BODY) * 8):
        flipped = bytearray(BODY)
        flipped[position // 8] ^= 1 << position % 8
        refused(good, bytes(flipped))


def test_every_flipped_bit_of_the_header_is_refused() -> None:
    good = header().encode()
    for position in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[position // 8] ^= 1 << position % 8
        refused(flipped.decode("latin-1"))


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_time_within_five_minutes_is_taken_either_way(seconds: int) -> None:
    verify([NEW], header(at=NOW + timedelta(seconds=seconds)), BODY, NOW)


@pytest.mark.parametrize("seconds", [-86_400, -301, 301, 86_400, 10**9])
def test_a_time_beyond_five_minutes_is_refused_either_way(seconds: int) -> None:
    """The library alone would take every time to come."""
    refused(header(at=NOW + timedelta(seconds=seconds)))


def test_a_replay_with_a_fresh_time_is_refused() -> None:
    old = header(at=NOW - timedelta(hours=1))
    refused(f"t={int(NOW.timestamp())},{old.partition(',')[2]}")


def test_a_second_time_in_the_header_is_refused() -> None:
    """The library signs with the first; whoever looked at the second would take an old event for a new one."""
    refused(header() + f",t={int(NOW.timestamp())}")
    refused(f"t={int(NOW.timestamp())}," + header(at=NOW - timedelta(hours=1)))


def test_while_a_secret_is_replaced_both_verify_and_no_third() -> None:
    for secret in (OLD, NEW):
        verify([NEW, OLD], header(secret=secret), BODY, NOW)
    verify([NEW], header(secret=OLD) + "," + header().partition(",")[2], BODY, NOW)
    refused(header(secret=THIRD), secrets=(NEW, OLD))


@pytest.mark.parametrize("text", ["", "v1=", "t=", "t=1", ",", "=", "t==,v1==", "t=1,v1=\x00", "v1=" + "a" * 64])
def test_a_header_that_is_none_is_refused(text: str) -> None:
    refused(text)


def test_a_header_with_many_signatures_is_refused_unread() -> None:
    stamp, _, good = header().partition(",")
    verify([NEW], ",".join([stamp, *["v1=" + "0" * 64] * 15, good]), BODY, NOW)
    refused(",".join([stamp, *["v1=" + "0" * 64] * 16, good]))
    refused(stamp + ",v1=" + "0" * 64 * 10_000)


@pytest.mark.parametrize(
    "change", [str.upper, lambda text: f" {text}", lambda text: f"{text},", lambda text: text + "\n"]
)
def test_another_spelling_of_a_good_header_is_refused(change: object) -> None:
    assert callable(change)
    refused(change(header()))


def test_bytes_that_are_no_text_are_refused() -> None:
    refused(header(), b"\xff\xfe")
    refused(header(), b"")


@given(
    st.one_of(
        st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")), st.text(st.characters(exclude_categories=()))
    )
)
def test_a_header_of_any_bytes_is_refused_and_nothing_else_happens(text: str) -> None:
    refused(text)


@given(st.binary(max_size=300))
def test_any_other_body_under_a_good_header_is_refused(body: bytes) -> None:
    if body != BODY:
        refused(header(), body)


@pytest.mark.parametrize("text", ["", " ", "whsec_", "whsec_short", "sk_test_" + "a" * 24, f"{NEW} nonsense", "\x00"])
def test_what_is_no_signing_secret_is_not_taken_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        secrets_from(text)
    assert len(text.strip()) < 7 or text not in str(caught.value)


def test_up_to_four_secrets_are_good_at_once() -> None:
    assert list(secrets_from(f"{NEW}  {OLD}\n")) == [NEW, OLD]
    with pytest.raises(ValueError):
        secrets_from(" ".join([NEW] * 5))
