"""Where a tenant's endpoint may be: never in our own network, whatever its name means at the moment."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from activities.gateways.addresses import Pinned, checked_base_url, is_public
from activities.gateways.names import Address, look_up

MOST_CHARACTERS = 500
_QUERY = re.compile(r"[!-~]*")
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class BadTarget(Exception):
    """It cannot be sent anything. `reason` is one word for the delivery's row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def checked_hook_url(text: str, *, development: bool) -> str:
    """The address of an endpoint: https on a public host; in development also http on 127.0.0.1.

    Raises ValueError, which says what is wrong and does not show it.
    """
    base, mark, query = text.partition("?")
    checked_base_url(base, development=development)
    if len(text) > MOST_CHARACTERS or not _QUERY.fullmatch(query) or "#" in query or (mark and not query):
        raise ValueError(f"the address must have at most {MOST_CHARACTERS} visible ASCII characters, and no #")
    return text


class Targets:
    """Turns an endpoint's address into one to connect to."""

    def __init__(
        self, *, development: bool, resolve: Resolve = look_up, allowed: Callable[[Address], bool] = is_public
    ) -> None:
        """`development`: http on 127.0.0.1 is good too. `allowed`: which addresses may be connected to."""
        self._development, self._resolve, self._allowed = development, resolve, allowed

    async def pinned(self, url: str) -> Pinned:
        """Where to connect now. The name is looked up once, and what it means is what is connected to, so that it
        cannot mean something else a moment later. Raises BadTarget."""
        try:
            split = urlsplit(checked_hook_url(url, development=self._development))
        except ValueError:
            raise BadTarget("bad_address") from None
        if split.scheme == "http":  # 127.0.0.1, in development.
            return Pinned(url)
        host, port = split.hostname or "", split.port or 443
        address = self._chosen(await self._meant(host, port))
        at = f"[{address}]" if address.version == 6 else str(address)
        query = f"?{split.query}" if split.query else ""
        return Pinned(f"https://{at}:{port}{split.path}{query}", split.netloc, host)

    async def _meant(self, host: str, port: int) -> Sequence[Address]:
        try:
            return await self._resolve(host, port)
        except (OSError, UnicodeError, ValueError):  # TimeoutError is an OSError.
            raise BadTarget("name_not_known") from None

    def _chosen(self, addresses: Sequence[Address]) -> Address:
        """The first. All must be good: one that is not is an attempt to get in, whichever comes first."""
        if not addresses:
            raise BadTarget("name_not_known")
        if not all(self._allowed(address) for address in addresses):
            raise BadTarget("address_not_public")
        return addresses[0]
