"""Tickets' tokens: signed, verified with the public keys alone, and of one form only."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.fulfilment.ticket_keys import TicketKeys, TicketVerifier
from domain.ids import OrderId, TenantId
from domain.ticket_token import BadToken, Ticket, read_payload, split_token
from tests.support.fulfilment import KEYS, ORDER

TICKET = Ticket(TenantId("demo"), ORDER, 1, 2, 1, "s17", 3, 1_795_359_840)
OTHER_KEY = "Y" * 43 + "="
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."


def verifier() -> TicketVerifier:
    return TicketVerifier.parse(KEYS.public())


def test_a_ticket_verifies_with_the_public_key_alone() -> None:
    assert verifier().verify(KEYS.token(TICKET)) == TICKET


def test_the_same_ticket_always_has_the_same_token() -> None:
    assert KEYS.token(TICKET) == KEYS.token(TICKET)


def test_a_token_is_short_enough_for_a_code_that_is_easy_to_read() -> None:
    assert len(KEYS.token(TICKET)) < 200


@settings(max_examples=60, deadline=None)
@given(
    tenant=st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True),
    order=st.uuids(),
    numbers=st.tuples(*[st.integers(0, 2**53)] * 5),
    kind=st.sampled_from("pzs"),
    item=st.integers(1, 2**63 - 1),
)
def test_every_ticket_reads_back_as_it_was(
    tenant: str, order: object, numbers: tuple[int, int, int, int, int], kind: str, item: int
) -> None:
    line, unit, units, event, issued = numbers
    ticket = Ticket(TenantId(tenant), OrderId(str(order)), line, unit, units, f"{kind}{item}", event, issued)
    assert verifier().verify(KEYS.token(ticket)) == ticket


def test_no_changed_character_goes_unnoticed() -> None:
    token = KEYS.token(TICKET)
    for place, old in enumerate(token):
        for new in random.Random(place).sample(ALPHABET, 8):
            if new != old:
                with pytest.raises(BadToken):
                    verifier().verify(token[:place] + new + token[place + 1 :])


@pytest.mark.parametrize(
    "text",
    ["", "HF1", "HF1..", "HF2.a.b", "HF1.a.b.c", "HF1." + "A" * 2000, "HF1.W10.AAAA", "hf1.x.y", "HF1.é.x", "\x00"],
)
def test_what_is_no_ticket_is_said_to_be_none(text: str) -> None:
    with pytest.raises(BadToken):
        verifier().verify(text)


def test_another_installations_ticket_is_refused() -> None:
    stranger = TicketKeys.parse(f"k1:{OTHER_KEY}")
    with pytest.raises(BadToken, match="signature is not good"):
        verifier().verify(stranger.token(TICKET))


def test_a_ticket_of_a_replaced_key_still_verifies_and_new_ones_are_signed_by_the_new_key() -> None:
    both = TicketKeys.parse(f"k2:{OTHER_KEY},k1:aG9sZGZhc3QtZGV2ZWxvcG1lbnQtdGlja2V0cy1rZXk=")
    public = TicketVerifier.parse(both.public())
    assert public.verify(KEYS.token(TICKET)) == TICKET
    assert public.verify(both.token(TICKET)) == TICKET
    with pytest.raises(BadToken, match="'k2'"):
        verifier().verify(both.token(TICKET))


@pytest.mark.parametrize("text", ["", "k1", "k1:short", f"k1:{OTHER_KEY},k1:{OTHER_KEY}", f"a b:{OTHER_KEY}"])
def test_keys_that_are_none_are_refused_without_being_shown(text: str) -> None:
    for parse in (TicketKeys.parse, TicketVerifier.parse):
        with pytest.raises(ValueError, match="keys are id:key") as refused:
            parse(text)
        assert OTHER_KEY not in str(refused.value)


def test_keys_show_nothing_of_themselves() -> None:
    assert repr(KEYS) == "TicketKeys(k1)"


def test_a_payload_in_another_spelling_is_refused_though_it_says_the_same() -> None:
    payload, _ = split_token(KEYS.token(TICKET))
    assert read_payload(payload) == ("k1", TICKET)
    import base64

    spaced = base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_").replace(b",", b", ")
    with pytest.raises(BadToken, match="not as we write it"):
        read_payload(base64.urlsafe_b64encode(spaced).decode().rstrip("="))
