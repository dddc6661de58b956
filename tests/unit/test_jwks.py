"""An outside issuer's keys: which of them count, and when they are fetched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from api.jwks import (
    COOLDOWN_SECONDS,
    FETCH_SECONDS,
    FRESH_SECONDS,
    KEEP_SECONDS,
    MAX_BYTES,
    KeySet,
    usable_keys,
)
from api.jws import RefusedToken
from domain.errors import Unavailable
from tests.support.issuer import Published, make_key

ALL = ("ES256", "EdDSA", "RS256")
OLD, NEW = make_key("ES256", "old"), make_key("ES256", "new")


@pytest.mark.parametrize("algorithm", ALL)
def test_a_good_key_counts(algorithm: str) -> None:
    pair = make_key(algorithm, "k")
    assert list(usable_keys({"keys": [pair.jwk()]}, ALL)) == [("k", algorithm)]
    assert list(usable_keys({"keys": [pair.jwk(use=None, alg=None)]}, ALL)) == [("k", algorithm)]
    assert usable_keys({"keys": [pair.jwk()]}, [one for one in ALL if one != algorithm]) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"kid": None},
        {"kid": ""},
        {"kid": 7},
        {"kty": "oct"},
        {"kty": "RSA"},
        {"kty": None},
        {"kty": ["EC"]},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"crv": None},
        {"crv": 7},
        {"alg": "ES384"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"d": "AA"},
        {"x": "AA"},
        {"x": None},
        {"y": 7},
    ],
    ids=repr,
)
def test_a_key_of_another_kind_or_use_does_not_count(changes: dict[str, Any]) -> None:
    assert usable_keys({"keys": [OLD.jwk(**changes)]}, ALL) == {}
    assert list(usable_keys({"keys": [OLD.jwk(**changes), NEW.jwk()]}, ALL)) == [("new", "ES256")]


def test_a_short_key_does_not_count() -> None:
    assert usable_keys({"keys": [make_key("RS256", bits=1024).jwk()]}, ALL) == {}
    assert usable_keys({"keys": [make_key("RS256", bits=2040).jwk()]}, ALL) == {}


def test_of_two_keys_with_one_name_the_first_counts() -> None:
    first, second = make_key("ES256", "k"), make_key("ES256", "k")
    only = usable_keys({"keys": [first.jwk()]}, ALL)["k", "ES256"].public_numbers()
    both = usable_keys({"keys": [first.jwk(), second.jwk()]}, ALL)
    assert [key.public_numbers() for key in both.values()] == [only]


@pytest.mark.parametrize("document", [None, [], 7, "x", {}, {"keys": None}, {"keys": {}}, {"keys": [None, 7, []]}])
def test_what_is_no_key_set_has_no_keys(document: object) -> None:
    assert usable_keys(document, ALL) == {}


class Issuer:
    """A key set under test, with a clock of its own and an issuer that behaves as told."""

    def __init__(self) -> None:
        self.published = Published([OLD.jwk()])
        self.now, self.changes = 1000.0, 0
        self.down: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer), follow_redirects=True)
        self.keys = KeySet("https://issuer.example.com/keys", ALL, http, changed=self._changed, clock=lambda: self.now)

    def _changed(self) -> None:
        self.changes += 1

    async def _answer(self, _: httpx.Request) -> httpx.Response:
        await self.answering.wait()
        status, body, headers = self.published.answer()
        if self.down is not None:
            raise self.down
        return httpx.Response(status, content=body, headers=headers)

    async def knows(self, kid: str) -> bool:
        """Whether a token with this key would be looked at."""
        try:
            await self.keys.key(kid, "ES256")
        except RefusedToken:
            return False
        return True

    async def settled(self) -> None:
        """When nothing is being fetched any more."""
        if self.keys._fetching is not None:
            await asyncio.wait([self.keys._fetching])


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.answering.set()
    await issuer.keys.close()


async def test_keys_are_fetched_once_by_however_many_requests(issuer: Issuer) -> None:
    assert await asyncio.gather(*(issuer.knows("old") for _ in range(20))) == [True] * 20
    assert await issuer.knows("old")
    assert issuer.published.asked == 1


async def test_a_new_key_is_found_without_a_restart(issuer: Issuer) -> None:
    assert await issuer.knows("old")
    issuer.published.keys = [NEW.jwk()]
    issuer.now += COOLDOWN_SECONDS
    assert await issuer.knows("new")
    assert not await issuer.knows("old")
    assert issuer.changes == 2


async def test_unknown_keys_do_not_make_us_ask_more_than_the_cooldown_allows(issuer: Issuer) -> None:
    for number in range(100):
        assert not await issuer.knows(f"made up {number}")
    assert issuer.published.asked == 1
    issuer.now += COOLDOWN_SECONDS
    assert not await issuer.knows("made up")
    assert issuer.published.asked == 2
    assert issuer.changes == 1, "what callers were verified is forgotten only when the keys are others"


async def test_a_key_that_is_taken_back_is_refused_after_the_set_is_fetched_anew(issuer: Issuer) -> None:
    assert await issuer.knows("old")
    issuer.published.keys = []
    issuer.now += FRESH_SECONDS - 1
    assert await issuer.knows("old")
    issuer.now += 1
    assert await issuer.knows("old"), "nobody waits for the fetch that this begins"
    await issuer.settled()
    assert not await issuer.knows("old")


async def test_while_the_issuer_hangs_known_keys_do_not_wait(issuer: Issuer) -> None:
    assert await issuer.knows("old")
    issuer.answering.clear()
    issuer.now += FRESH_SECONDS
    async with asyncio.timeout(FETCH_SECONDS / 3):
        assert await issuer.knows("old")


@pytest.mark.parametrize("down", [httpx.ConnectError("no"), httpx.ReadTimeout("no")])
async def test_while_the_issuer_is_down_known_keys_go_on_for_an_hour(issuer: Issuer, down: Exception) -> None:
    assert await issuer.knows("old")
    issuer.down = down
    issuer.now += KEEP_SECONDS
    assert await issuer.knows("old")
    await issuer.settled()
    issuer.now += 1
    with pytest.raises(Unavailable):
        await issuer.knows("old")
    issuer.down = None
    issuer.now += COOLDOWN_SECONDS
    with pytest.raises(Unavailable):
        await issuer.knows("old")
    await issuer.settled()
    assert await issuer.knows("old")


async def test_when_nothing_was_ever_fetched_a_token_is_not_judged(issuer: Issuer) -> None:
    issuer.down = httpx.ConnectError("no")
    with pytest.raises(Unavailable):
        await issuer.knows("old")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda published: setattr(published, "status", 500),
        lambda published: setattr(published, "status", 404),
        lambda published: setattr(published, "body", b"not json"),
        lambda published: setattr(published, "body", b"\xff"),
        lambda published: setattr(published, "body", b'{"keys": [' + b" " * MAX_BYTES + b"]}"),
        lambda published: setattr(published, "body", b"[" * 5000),
    ],
    ids=["500", "404", "no JSON", "no UTF-8", "too long", "too deep"],
)
async def test_a_bad_answer_changes_nothing(issuer: Issuer, spoil: Callable[[Published], None]) -> None:
    assert await issuer.knows("old")
    spoil(issuer.published)
    issuer.now += FRESH_SECONDS
    assert await issuer.knows("old")
    await issuer.settled()
    assert await issuer.knows("old")
    assert (issuer.published.asked, issuer.changes) == (2, 1)


async def test_a_redirect_is_not_followed(issuer: Issuer) -> None:
    issuer.published.status, issuer.published.location = 302, "https://evil.example.com/keys"
    with pytest.raises(Unavailable):
        await issuer.knows("old")
    assert issuer.published.asked == 1


async def test_a_request_that_is_given_up_does_not_end_the_fetch_for_the_others(issuer: Issuer) -> None:
    issuer.answering.clear()
    first = asyncio.create_task(issuer.knows("old"))
    second = asyncio.create_task(issuer.knows("old"))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    issuer.answering.set()
    assert await second
    assert issuer.published.asked == 1
