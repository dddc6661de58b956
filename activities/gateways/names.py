"""Looking up host names that tenants chose, where nobody waits for them but those who asked."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
SECONDS = 3.0
AT_ONCE = 32

# Threads of their own. The event loop's are few (two, in uvloop), and a look-up cannot be cancelled: two names whose
# servers do not answer would keep the database's, the mail server's and all other tenants' names waiting behind them.
_THREADS = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="names")


async def look_up(host: str, port: int) -> Sequence[Address]:
    """What the name means now. Raises OSError (TimeoutError is one) and UnicodeError."""
    asking = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    async with asyncio.timeout(SECONDS):
        found = await asyncio.get_running_loop().run_in_executor(_THREADS, asking)
    return [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
