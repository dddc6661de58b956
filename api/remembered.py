"""Callers of tokens that were verified before: looking at a signature again and again would cost most of a request."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict

from api.caller import Caller


class Remembered:
    """The newest so many callers, by their token's digest, each until its token is over."""

    def __init__(self, most: int = 10_000) -> None:
        self._most, self._known = most, OrderedDict[bytes, Caller]()

    def get(self, token: str) -> Caller | None:
        """The caller; None for a token that was not put here, or is over."""
        digest = _digest(token)
        caller = self._known.get(digest)
        if caller is None or caller.expires_at <= time.time():
            return None
        self._known.move_to_end(digest)
        return caller

    def put(self, token: str, caller: Caller) -> None:
        """Remember a token that has just been verified."""
        self._known[_digest(token)] = caller
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def clear(self) -> None:
        """Forget everything: the keys have changed."""
        self._known.clear()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
