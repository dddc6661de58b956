"""Where a tenant's own gateway may be. A tenant chooses the address, so it must not lead into our own network."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from activities.gateways.names import Address, look_up
from domain.errors import GatewayUnavailable

LOOPBACK = "127.0.0.1"
_URL = re.compile(r"https?://[!-~]{1,480}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IN_USE = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out for the internet (RFC 4291); Python takes deprecated forms outside of it for global."""
_EXAMPLES = ipaddress.IPv6Network("3fff::/20")
"""For documents (RFC 9637), which this Python does not know yet."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """An address to connect to, and the host that must answer there."""

    url: str
    host: str | None = None
    """For the Host header; None where `url` has it."""
    name: str | None = None
    """Whose certificate it must show; None likewise."""


def checked_base_url(text: str, *, development: bool) -> str:
    """The base URL of a tenant's gateway, without a slash at its end.

    https on a public host; in development also http on 127.0.0.1. Raises ValueError, which says what is wrong.
    """
    url = _split(text)
    if development and url.scheme == "http" and url.hostname == LOOPBACK:
        return text.rstrip("/")
    if url.scheme != "https":
        raise ValueError("the address must begin with https://")
    host = url.hostname or ""
    literal = _literal(host)
    if literal is not None and not is_public(literal):
        raise ValueError("the address must be a public one")
    if literal is None and (not _HOST.fullmatch(host) or "." not in host):
        raise ValueError("the address must name a host such as gateway.example.com")
    return text.rstrip("/")


async def pinned(base_url: str, path: str) -> Pinned:
    """Where to connect now. The name is looked up once, so that it cannot mean two addresses, one of them ours.

    Raises GatewayUnavailable when it means none, or one that is not public.
    """
    url = urlsplit(base_url)
    if url.scheme == "http":  # Only ever 127.0.0.1, see checked_base_url.
        return Pinned(base_url + path)
    host, port = url.hostname or "", url.port or 443
    address = _chosen(await _looked_up(host, port))
    at = f"[{address}]" if address.version == 6 else str(address)
    return Pinned(f"https://{at}:{port}{url.path.rstrip('/')}{path}", url.netloc, host)


def is_public(address: Address) -> bool:
    """Whether anybody on the internet could have it; also looks at what is wrapped in an IPv6 address."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(wrapped)
        if address not in _IN_USE or address in _EXAMPLES:
            return False
    return address.is_global and not address.is_multicast


def _split(text: str) -> SplitResult:
    if not _URL.fullmatch(text):
        raise ValueError("the address must be a URL such as https://gateway.example.com/v1")
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise ValueError("the address must be a URL such as https://gateway.example.com/v1") from None
    if url.username is not None or url.password is not None or url.query or url.fragment or "?" in text or "#" in text:
        raise ValueError("the address must have no user, no ? and no #")
    return url


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def _looked_up(host: str, port: int) -> list[Address]:
    try:
        return list(await look_up(host, port))
    except (OSError, UnicodeError):  # TimeoutError is an OSError.
        raise GatewayUnavailable("the gateway's host name is not known") from None


def _chosen(addresses: list[Address]) -> Address:
    if not addresses or not all(is_public(address) for address in addresses):
        raise GatewayUnavailable("the gateway's host name does not mean a public address")
    return addresses[0]
