"""The key ring: what is sealed opens for its own tenant and name only, by any key, and shows nothing."""

from __future__ import annotations

import base64
import itertools
import os
import traceback
from dataclasses import replace

import pytest

from db.keyring import KeyRing, Sealed, Unreadable
from domain.ids import TenantId

A, B = TenantId("a"), TenantId("b")
NAME = "gateway/sandbox"
SECRET = "whsec_dGhlLXZlcnktc2VjcmV0LXNlY3JldC1vZi1hbHBoYQ=="


def key(text: str = "") -> str:
    return base64.b64encode(text.encode().ljust(32, b"-") if text else os.urandom(32)).decode()


ONE, TWO = f"k1:{key()}", f"k2:{key()}"
RING = KeyRing.parse(ONE)


def test_what_is_sealed_opens() -> None:
    sealed = RING.seal(A, NAME, SECRET)
    assert (RING.open(A, NAME, sealed), sealed.key_id) == (SECRET, "k1")
    assert SECRET.encode() not in sealed.ciphertext


def test_the_same_secret_is_never_sealed_the_same() -> None:
    assert len({RING.seal(A, NAME, SECRET).ciphertext for _ in range(100)}) == 100


def test_it_does_not_open_for_another_tenant_or_name() -> None:
    sealed = RING.seal(A, NAME, SECRET)
    for tenant, name in ((B, NAME), (A, "gateway/other"), (TenantId("a\x1fgateway"), "sandbox")):
        with pytest.raises(Unreadable):
            RING.open(tenant, name, sealed)


def test_a_changed_bit_anywhere_does_not_open() -> None:
    sealed = RING.seal(A, NAME, "x")
    for place in range(len(sealed.ciphertext)):
        bad = bytearray(sealed.ciphertext)
        bad[place] ^= 1
        with pytest.raises(Unreadable):
            RING.open(A, NAME, replace(sealed, ciphertext=bytes(bad)))
    for length in range(len(sealed.ciphertext)):
        with pytest.raises(Unreadable):
            RING.open(A, NAME, replace(sealed, ciphertext=sealed.ciphertext[:length]))


def test_the_first_key_seals_and_the_others_still_open() -> None:
    old = RING.seal(A, NAME, SECRET)
    both = KeyRing.parse(f"{TWO}, {ONE}")
    assert both.open(A, NAME, old) == SECRET
    new = both.seal(A, NAME, SECRET)
    assert (new.key_id, both.first) == ("k2", "k2")
    with pytest.raises(Unreadable, match="'k2' is not in the key ring"):
        RING.open(A, NAME, new)


def test_another_key_under_the_same_id_does_not_open() -> None:
    with pytest.raises(Unreadable, match="does not open with key 'k1'"):
        KeyRing.parse(f"k1:{key()}").open(A, NAME, RING.seal(A, NAME, SECRET))


def test_a_key_id_cannot_be_exchanged() -> None:
    same = key()
    ring = KeyRing.parse(f"k1:{same},k2:{same}")
    with pytest.raises(Unreadable):
        ring.open(A, NAME, replace(ring.seal(A, NAME, SECRET), key_id="k2"))


@pytest.mark.parametrize(
    "text",
    ["", ",", "k1", "k1:", f":{key()}", f"k 1:{key()}", f"{'k' * 33}:{key()}", "k1:c2hvcnQ=", f"k1:{key()}x",
     f"k1:{key()[:-1]}", f"{ONE},k1:{key()}", f"{ONE},", f"{ONE} {TWO}", "k1:" + "é" * 44],
    ids=itertools.count(),  # Not the keys, which are others each time.
)  # fmt: skip
def test_a_ring_that_is_none_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="a key ring is") as refused:
        KeyRing.parse(text)
    for part in text.replace(",", ":").split(":"):
        assert len(part) < 6 or part not in "".join(traceback.format_exception(refused.value))


def test_neither_key_nor_secret_shows_in_what_is_printed_or_raised() -> None:
    material = key("never-show-this-key")
    ring = KeyRing.parse(f"k9:{material}")
    assert repr(ring) == "KeyRing(k9)"
    with pytest.raises(Unreadable) as refused:
        ring.open(B, NAME, Sealed(ring.seal(A, NAME, SECRET).ciphertext, "k9"))
    shown = "".join(traceback.format_exception(refused.value)) + repr(ring) + str(vars(ring))
    for hidden in (material, "never-show-this-key", SECRET):
        assert hidden not in shown
