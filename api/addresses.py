"""Where a request comes from, as limits count it."""

from __future__ import annotations

import functools
import ipaddress

from starlette.types import Scope

IPV6_PREFIX = 64
"""One customer has at least a /64 (RFC 6177), and could use a new address of it for each request."""


def address_of(scope: Scope) -> str:
    """The peer's address, or what a trusted proxy says (`HOLDFAST_TRUSTED_PROXIES`); IPv6 as its /64."""
    client = scope.get("client")
    return counted_as(client[0]) if client else "unknown"


@functools.lru_cache(maxsize=4096)
def counted_as(host: str) -> str:
    """`203.0.113.9` as it is, `2001:db8::1` as `2001:db8::/64`; an IPv4 address in IPv6's clothes as IPv4.

    What is no address (a socket's path, or what a trusted proxy passed on without looking) is counted as one, so that
    making such things up gains nothing.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
