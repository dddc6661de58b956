"""Sending webhooks to tenants' endpoints: where they may go, how they are signed, and what a receiver can do."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from activities.gateways.names import Address
from activities.hooks import sender as sending
from activities.hooks.sender import Sender, body_of, client, message_id
from activities.hooks.targets import BadTarget, Targets, checked_hook_url
from db.hook_deliveries import ToSend
from domain.checkout_events import HookKind
from domain.ids import HookDeliveryId, HookId
from local.ports import free_port
from tests.e2e.test_gateway_tls import certificate, serving

URL = "https://hooks.example.com/a/b/?key=1"
NEW, OLD = "whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcy4uLi4uLg==", "whsec_b2xkLXNlY3JldC1vZi0yNC1ieXRlcy4uLi4uLg=="
DELIVERY = HookDeliveryId("5f0c1f0a-97a1-4d6c-9b0a-5d4a1f1b2c3d")
PUBLIC = "93.184.216.34"
OURS = [
    "0.0.0.1", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.9.9.9", "169.254.0.1",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip
"""Nobody on the internet has one of these: this machine, our network, link-local and metadata, CGNAT, documentation,
multicast, and IPv4 wrapped in IPv6 in every way there is."""


def message(url: str = URL, *secrets: str) -> ToSend:
    at = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    data = {"order_id": "o", "total": 1000, "currency": "COP"}
    return ToSend(HookId("h"), url, secrets or (NEW,), HookKind.ORDER_CONFIRMED, data, at)


def meaning(*answers: Sequence[str]) -> Callable[[str, int], Any]:
    """What the name means, the first time, the second time…; the last one for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[Address]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [ipaddress.ip_address(one) for one in found]

    return resolve


def targets(*answers: Sequence[str]) -> Targets:
    return Targets(development=False, resolve=meaning(*answers))


async def refusal(to: Targets, url: str = URL) -> str:
    with pytest.raises(BadTarget) as refused:
        await to.pinned(url)
    return refused.value.reason


@pytest.mark.parametrize("address", OURS)
async def test_a_name_that_means_an_address_of_ours_is_sent_nothing(address: str) -> None:
    assert await refusal(targets([address])) == "address_not_public"
    assert await refusal(targets([PUBLIC, address])) == "address_not_public", "one of several is enough"
    literal = f"[{address}]" if ":" in address else address
    assert await refusal(targets([PUBLIC]), f"https://{literal}/hooks") == "bad_address"


@pytest.mark.parametrize("odd", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "localhost."])
async def test_other_ways_to_write_an_address_of_ours_do_not_get_through(odd: str) -> None:
    """Some of them mean 127.0.0.1 to the resolver: what they mean is what counts."""
    assert await refusal(targets(["127.0.0.1"]), f"https://{odd}/hooks") in {"bad_address", "address_not_public"}


async def test_the_connection_goes_to_the_address_that_was_looked_at_with_the_names_own_host_and_certificate() -> None:
    at = await targets([PUBLIC, "8.8.8.8"]).pinned(URL)
    assert (at.url, at.host, at.name) == (
        f"https://{PUBLIC}:443/a/b/?key=1", "hooks.example.com", "hooks.example.com",
    )  # fmt: skip
    at = await targets(["2606:4700::1111"]).pinned("https://hooks.example.com:8443")
    assert (at.url, at.host) == ("https://[2606:4700::1111]:8443", "hooks.example.com:8443")


@pytest.mark.parametrize(
    "text",
    [
        "", "hooks.example.com", "http://hooks.example.com", "ftp://hooks.example.com", "https://user:pw@example.com/",
        "https://hooks.example.com/#a", "https://hooks.example.com/a b", "https://hooks.example.com/?", "https://hooks",
        "https://hooks.example.com/?a=\n", "https://hooks.example.com/" + "a" * 500, "http://127.0.0.1:1",
        "https://127.0.0.1", "https://hooks.example.com:99999", "https://hoöks.example.com",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_good_is_refused_with_a_reason_that_does_not_show_it(text: str) -> None:
    with pytest.raises(ValueError, match="the address") as refused:
        checked_hook_url(text, development=False)
    assert not text or text not in str(refused.value)


async def test_in_development_a_receiver_may_be_on_this_machine_and_in_production_never() -> None:
    near = "http://127.0.0.1:8123/hooks?a=1"
    assert checked_hook_url(near, development=True) == near
    assert (await Targets(development=True).pinned(near)).url == near
    assert await refusal(Targets(development=False), near) == "bad_address", "also one that was stored in development"
    for text in ("http://10.0.0.1/", "http://localhost/", "http://127.0.0.2/"):
        with pytest.raises(ValueError, match="https"):
            checked_hook_url(text, development=True)


class Heard:
    """A transport that remembers requests and answers as told."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer(request)


def answering(status: int, **headers: str) -> Heard:
    return Heard(lambda _: httpx.Response(status, headers=headers))


async def sent(heard: Heard, to: Targets | None = None, what: ToSend | None = None) -> sending.Told:
    async with httpx.AsyncClient(transport=httpx.MockTransport(heard)) as http:
        return await Sender(http, to or targets([PUBLIC])).send(DELIVERY, what or message())


async def test_a_name_that_means_our_network_at_the_second_try_gets_nothing_then() -> None:
    """DNS rebinding: what is looked up is what is connected to, and each try looks anew."""
    heard, to = answering(500), targets([PUBLIC], ["127.0.0.1"], [PUBLIC])
    told = [await sent(heard, to) for _ in range(3)]
    assert [one.error for one in told] == ["answer", "address_not_public", "answer"]
    assert [request.url.host for request in heard.requests] == [PUBLIC, PUBLIC]
    assert [request.headers["host"] for request in heard.requests] == ["hooks.example.com"] * 2
    assert heard.requests[0].extensions["sni_hostname"] == "hooks.example.com"


async def test_the_specifications_library_verifies_it_with_either_secret() -> None:
    heard = answering(204)
    assert await sent(heard, what=message(URL, NEW, OLD)) == sending.Told(204)
    [request] = heard.requests
    for secret in (NEW, OLD):
        told = Webhook(secret).verify(request.content, dict(request.headers))
        assert told["type"] == "order.confirmed"
        assert told["timestamp"] == "2026-11-22T06:00:00Z"
        assert told["data"] == {"order_id": "o", "total": 1000, "currency": "COP"}
    assert request.headers["webhook-id"] == message_id(DELIVERY) == "msg_5f0c1f0a97a14d6c9b0a5d4a1f1b2c3d"
    assert body_of(message()) == request.content.decode(), "the same at each try"
    assert json.loads(request.content).keys() == {"type", "timestamp", "data"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    heard = answering(status, location="http://169.254.169.254/latest/meta-data/")
    assert await sent(heard) == sending.Told(status, "redirect")
    assert len(heard.requests) == 1


@pytest.mark.parametrize(
    ("status", "wished", "pause"),
    [(503, "7", 7), (429, "999999", 3600), (500, "soon", None), (503, "-1", None), (503, "9" * 400, None)],
)
async def test_a_receiver_that_asks_for_a_pause_gets_it_within_reason(
    status: int, wished: str, pause: int | None
) -> None:
    assert await sent(answering(status, **{"retry-after": wished})) == sending.Told(status, "answer", pause)


async def test_an_answer_without_an_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    async with asyncio.timeout(3):
        assert await sent(Heard(lambda _: httpx.Response(200, content=forever()))) == sending.Told(200)


async def test_a_receiver_that_does_not_answer_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SEND_SECONDS", 0.2)

    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # Until the sender has left.
        writer.close()
        await writer.wait_closed()
        left.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server, client() as http:
        port = server.sockets[0].getsockname()[1]
        told = await Sender(http, Targets(development=True)).send(DELIVERY, message(f"http://127.0.0.1:{port}/"))
        await asyncio.wait_for(left.wait(), 5)
    assert told == sending.Told(None, "timeout")


@pytest.mark.parametrize(("shown", "error"), [("hooks.example.com", None), ("evil.example.com", "certificate")])
async def test_over_real_tls_the_certificate_must_be_the_names(tmp_path: Path, shown: str, error: str | None) -> None:
    pem, heard = certificate(tmp_path, shown), list[str]()
    to = Targets(development=False, resolve=meaning(["127.0.0.1"]), allowed=lambda _: True)
    async with serving(pem, heard) as port:
        trusting = ssl.create_default_context(cafile=str(pem))
        async with httpx.AsyncClient(verify=trusting, trust_env=False) as http:
            told = await Sender(http, to).send(DELIVERY, message(f"https://hooks.example.com:{port}/a"))
    assert told.error == error
    assert bool(heard) == (error is None)
    assert all(f"host: hooks.example.com:{port}" in one and "connection: close" in one for one in heard)


async def test_nobody_at_the_address_is_no_connection_and_the_environments_proxy_has_no_say(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port_of_nobody: int
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    monkeypatch.setenv("ALL_PROXY", "http://proxy.invalid:1")
    async with client() as http:
        to = Sender(http, Targets(development=True))
        told = await to.send(DELIVERY, message(f"http://127.0.0.1:{unused_tcp_port_of_nobody}/"))
    assert told == sending.Told(None, "no_connection")


@pytest.fixture
def unused_tcp_port_of_nobody() -> int:
    return free_port()
