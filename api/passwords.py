"""Checking passwords without stopping the event loop, and without letting logins take the whole machine."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.to_thread import run_sync

from db.passwords import hash_password, password_matches
from domain.errors import Unavailable

AT_ONCE = 2
"""Each check takes 64 MiB and most of a core."""
WAITING = 40


class Passwords:
    """A bounded queue of password checks."""

    def __init__(self, reference: str, check: Callable[[str, str], bool] = password_matches) -> None:
        """`reference`: a hash of no one's password, checked when there is no such user, so that both take as long."""
        self._reference, self._check = reference, check
        self._limit = anyio.CapacityLimiter(AT_ONCE)

    @classmethod
    async def create(cls, check: Callable[[str, str], bool] = password_matches) -> Passwords:
        """Ready to check: makes the reference hash."""
        return cls(await run_sync(hash_password, "no one has this password"), check)

    async def match(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one `stored` was made of; without `stored`, false after the same time.

        Raises Unavailable when too many checks are waiting already.
        """
        if self._limit.statistics().tasks_waiting >= WAITING:
            raise Unavailable("Too many logins at once.", retry_after=2)
        matches = await run_sync(self._check, stored or self._reference, password, limiter=self._limit)
        return matches and stored is not None
