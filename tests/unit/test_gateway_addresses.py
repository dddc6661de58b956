"""Where a tenant's own gateway may be: public hosts by https, and never our own network, whatever a name means."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from typing import Any

import pytest

from activities.gateways import names
from activities.gateways.addresses import checked_base_url, is_public, pinned
from domain.errors import GatewayUnavailable

GOOD = "https://gateway.example.com/v1"


@pytest.mark.parametrize(
    "text", [GOOD, "https://gateway.example.com", "https://gateway.example.com:8443/a/b/", "https://93.184.216.34/x"]
)
def test_a_public_host_by_https_is_taken_without_its_last_slash(text: str) -> None:
    assert checked_base_url(text, development=False) == text.rstrip("/")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "URL"),
        ("gateway.example.com", "URL"),
        ("ftp://gateway.example.com", "URL"),
        ("http://gateway.example.com", "https"),
        ("http://127.0.0.1:8100", "https"),
        ("https://", "URL"),
        ("https://user:secret@gateway.example.com", "no user"),
        ("https://@gateway.example.com", "no user"),
        ("https://gateway.example.com/?a=b", "no user"),
        ("https://gateway.example.com/#a", "no user"),
        ("https://gateway.example.com?", "no user"),
        ("https://gateway.example.com:port", "URL"),
        ("https://gateway.example.com:99999", "URL"),
        ("https://localhost", "name a host"),
        ("https://gateway", "name a host"),
        ("https://[::1]", "public"),
        ("https://127.0.0.1", "public"),
        ("https://10.0.0.1", "public"),
        ("https://169.254.169.254/latest", "public"),
        ("https://[::ffff:10.0.0.1]", "public"),
        ("https://[fd00::1]", "public"),
        ("https://gateway.example.com/\x00", "URL"),
        ("https://gateway.example.com/a b", "URL"),
        ("https://gâteway.example.com", "URL"),
        ("https://gateway.example.com\n", "URL"),
        ("https://a\\@b.example.com", "no user|name a host"),
        ("https://" + "a" * 600 + ".com", "URL"),
    ],
)
def test_anything_else_is_refused_with_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        checked_base_url(text, development=False)


def test_in_development_it_may_be_on_this_machine_and_nowhere_else_in_the_clear() -> None:
    assert checked_base_url("http://127.0.0.1:8100/", development=True) == "http://127.0.0.1:8100"
    for text in ("http://gateway.example.com", "http://127.0.0.2", "http://localhost:1", "http://10.0.0.1"):
        with pytest.raises(ValueError, match="https"):
            checked_base_url(text, development=True)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.1", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "198.18.0.1",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1",
    ],
)  # fmt: skip
def test_an_address_of_our_own_is_not_public_however_it_is_wrapped(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_that_anybody_has_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name mean these."""

    def found(host: Any, port: Any, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


async def test_the_connection_goes_to_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "93.184.216.34", "93.184.216.35")
    at = await pinned(GOOD, "/payments")
    assert at.url == "https://93.184.216.34:443/v1/payments"
    assert (at.host, at.name) == ("gateway.example.com", "gateway.example.com")
    resolving(monkeypatch, "2606:4700::1111")
    at = await pinned("https://gateway.example.com:8443", "/payments")
    assert at.url == "https://[2606:4700::1111]:8443/payments"
    assert (at.host, at.name) == ("gateway.example.com:8443", "gateway.example.com")


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"], []])
async def test_a_name_that_means_an_address_of_ours_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    resolving(monkeypatch, *addresses)
    with pytest.raises(GatewayUnavailable, match="public"):
        await pinned(GOOD, "/payments")


async def test_a_name_that_means_nothing_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: Any, port: Any, **_: Any) -> list[Any]:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(GatewayUnavailable, match="not known"):
        await pinned(GOOD, "/payments")


async def test_names_whose_servers_do_not_answer_keep_no_other_name_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    answering, real = threading.Event(), socket.getaddrinfo

    def slow(host: str, *args: Any, **more: Any) -> Any:
        if host == "slow.example.com":
            assert answering.wait(30)
            raise socket.gaierror
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(names, "SECONDS", 0.05)
    try:
        for _ in range(5):
            with pytest.raises(GatewayUnavailable, match="not known"):
                await pinned("https://slow.example.com", "/payments")
        async with asyncio.timeout(5):
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1)
        monkeypatch.setattr(names, "SECONDS", 5.0)
        assert [str(one) for one in await names.look_up("127.0.0.1", 443)] == ["127.0.0.1"]
    finally:
        answering.set()
