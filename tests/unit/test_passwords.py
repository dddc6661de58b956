"""Checking passwords: the same work for everyone, and only so much of it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from api.passwords import AT_ONCE, WAITING, Passwords
from db.passwords import hash_password
from domain.errors import Unavailable


class Checks:
    """Says yes and remembers what was asked; waits while `gate` is closed; `busy` when all threads are."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Event()

    def __call__(self, stored: str, password: str) -> bool:
        self.asked.append((stored, password))
        if len(self.asked) >= AT_ONCE:
            self.busy.set()
        return self.gate.wait(10)


async def test_an_unknown_user_costs_one_check_too_and_never_matches() -> None:
    checks = Checks()
    passwords = Passwords("reference", checks)
    assert await passwords.match("stored", "secret") is True
    assert await passwords.match(None, "secret") is False
    assert checks.asked == [("stored", "secret"), ("reference", "secret")]


async def test_the_reference_costs_what_a_users_hash_costs() -> None:
    checks = Checks()
    created = await Passwords.create(checks)
    await created.match(None, "secret")
    [(reference, _)] = checks.asked
    parameters = [text.split("$")[:4] for text in (reference, hash_password("another"))]
    assert parameters[0] == parameters[1], "algorithm, version, memory, passes and lanes"


async def test_checks_past_the_queue_are_sent_away() -> None:
    checks = Checks()
    checks.gate.clear()
    passwords = Passwords("reference", checks)
    waiting = [asyncio.create_task(passwords.match("stored", str(n))) for n in range(AT_ONCE + WAITING)]
    try:
        await asyncio.to_thread(checks.busy.wait, 10)
        with pytest.raises(Unavailable) as refused:
            await passwords.match("stored", "one too many")
        assert refused.value.retry_after
        assert len(checks.asked) == AT_ONCE
    finally:
        checks.gate.set()
    assert all(await asyncio.gather(*waiting))
