"""Counting requests: windows, addresses, bounded memory, and stores that fail. No clock is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from limits import RateLimitItemPerMinute
from limits.aio.strategies import FixedWindowRateLimiter
from structlog.testing import capture_logs

from api.addresses import address_of, counted_as
from api.app import limits_from
from api.counters import Counters
from api.limits import STORE_SECONDS, Limit, Limits, storage_of
from api.tokens import Caller, CallerKind, Scope
from domain.errors import TooManyRequests
from domain.ids import TenantId
from settings import Settings


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Broken(Counters):
    """A store that is down."""

    asked = 0

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        self.asked += 1
        raise ConnectionRefusedError(key)

    async def get(self, key: str) -> int:
        raise AssertionError("asked again")


class Silent(Counters):
    """A store that never answers."""

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return await asyncio.Future()


def make_limits(clock: Callable[[], float], **per_minute: int) -> Limits:
    return Limits({Limit(name): amount for name, amount in per_minute.items()}, Counters(clock=clock))


def make_caller(subject: str = "ana", tenant: str = "demo", kind: CallerKind = CallerKind.USER) -> Caller:
    return Caller(TenantId(tenant), subject, frozenset({Scope.BUYER}), 0, kind=kind)


async def refused(limits: Limits, limit: Limit, who: str) -> TooManyRequests:
    with pytest.raises(TooManyRequests) as caught:
        await limits.hit(limit, who)
    return caught.value


async def test_the_limit_passes_and_the_next_is_told_when_and_which() -> None:
    clock = Clock()
    limits = make_limits(clock, login=3)
    for _ in range(3):
        await limits.hit(Limit.LOGIN, "a")
    clock.seconds += 40

    error = await refused(limits, Limit.LOGIN, "a")

    assert error.extra == {"limit": "login"}
    assert error.retry_after in (20, 21)  # The library compares times of day, which have gone on a little.
    await limits.hit(Limit.LOGIN, "b")


async def test_refused_requests_do_not_lengthen_the_wait() -> None:
    clock = Clock()
    limits = make_limits(clock, login=1)
    await limits.hit(Limit.LOGIN, "a")
    for _ in range(100):
        clock.seconds += 0.5
        await refused(limits, Limit.LOGIN, "a")
    clock.seconds += 10.1

    await limits.hit(Limit.LOGIN, "a")


async def test_who_waits_as_told_gets_through() -> None:
    clock = Clock()
    limits = make_limits(clock, writes=1)
    await limits.hit(Limit.WRITES, "a")
    clock.seconds += 59.9999
    error = await refused(limits, Limit.WRITES, "a")
    assert error.retry_after == 1
    clock.seconds += 1

    await limits.hit(Limit.WRITES, "a")


async def test_checking_refuses_at_the_limit_and_counts_nothing() -> None:
    limits = make_limits(Clock(), refused_tokens=1)
    for _ in range(5):
        await limits.check(Limit.REFUSED_TOKENS, "a")
    await limits.hit(Limit.REFUSED_TOKENS, "a")
    with pytest.raises(TooManyRequests):
        await limits.check(Limit.REFUSED_TOKENS, "a")


async def test_callers_reads_and_writes_are_counted_apart() -> None:
    limits = make_limits(Clock(), writes=1, reads=1, service_writes=2, service_reads=2)
    buyers = [make_caller(), make_caller("luis"), make_caller(tenant="other"), make_caller(kind=CallerKind.SESSION)]
    for caller in buyers:
        await limits.hit_by(caller, "GET")
        await limits.hit_by(caller, "PATCH")
        with pytest.raises(TooManyRequests):
            await limits.hit_by(caller, "HEAD")
        with pytest.raises(TooManyRequests):
            await limits.hit_by(caller, "POST")
    service = make_caller(kind=CallerKind.SERVICE)
    for method in ("GET", "DELETE", "GET", "DELETE"):
        await limits.hit_by(service, method)
    with pytest.raises(TooManyRequests) as caught:
        await limits.hit_by(service, "GET")
    assert caught.value.extra == {"limit": "service_reads"}


async def test_zero_does_not_limit() -> None:
    limits = make_limits(Clock(), login=0)
    for _ in range(100):
        await limits.hit(Limit.LOGIN, "a")


async def test_a_hit_limit_is_a_line_of_the_security_log() -> None:
    limits = make_limits(Clock(), login=1)
    await limits.hit(Limit.LOGIN, "203.0.113.9")
    with capture_logs() as lines:
        await refused(limits, Limit.LOGIN, "203.0.113.9")
    [line] = lines
    assert (line["event"], line["limit"], line["who"]) == ("limit_hit", "login", "203.0.113.9")


async def test_a_store_that_fails_limits_nobody_is_told_of_once_and_left_alone_for_a_while() -> None:
    broken = Broken()
    limits = Limits({Limit.LOGIN: 1}, broken)
    with capture_logs() as lines:
        for _ in range(3):
            await limits.hit(Limit.LOGIN, "a")
            await limits.check(Limit.LOGIN, "a")
    assert [(line["event"], line["error"]) for line in lines] == [("limits_not_counted", "ConnectionRefusedError")]
    assert broken.asked == 1


async def test_a_store_that_is_silent_delays_one_request_and_no_other() -> None:
    limits = Limits({Limit.LOGIN: 1}, Silent())
    with capture_logs() as lines:
        async with asyncio.timeout(2 * STORE_SECONDS):
            for _ in range(10):
                await limits.hit(Limit.LOGIN, "a")
    assert [line["error"] for line in lines] == ["TimeoutError"]


async def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    clock, item = Clock(), RateLimitItemPerMinute(1)
    counters = Counters(size=100, clock=clock)
    limiter = FixedWindowRateLimiter(counters)
    for number in range(1000):
        assert await limiter.hit(item, str(number))
    assert not await limiter.test(item, "999")
    assert not await limiter.test(item, "900")
    assert await limiter.test(item, "899")
    assert await counters.reset() == 100


async def test_counters_that_have_ended_make_room_without_a_timer() -> None:
    clock, item = Clock(), RateLimitItemPerMinute(1)
    counters = Counters(clock=clock)
    limiter = FixedWindowRateLimiter(counters)
    for number in range(100):
        await limiter.hit(item, str(number))
    clock.seconds += 61
    for number in range(60):
        await limiter.hit(item, f"later {number}")
    assert await counters.reset() == 60


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("made up", "unknown"),
        ("203.0.113.9.1", "unknown"),
    ],
)
def test_an_address_is_counted_as_what_its_owner_cannot_change(host: str, counted: str) -> None:
    assert counted_as(host) == counted
    assert address_of({"type": "http", "client": (host, 1)}) == counted


def test_a_peer_without_an_address_is_counted_too() -> None:
    assert address_of({"type": "http", "client": None}) == "unknown"


def test_every_limit_has_its_setting() -> None:
    limits_from(Settings(env="development"))
    named = {name.removeprefix("rate_limit_") for name in Settings.model_fields if name.startswith("rate_limit_")}
    assert named == {limit.value for limit in Limit} | {"storage"}


@pytest.mark.parametrize("uri", ["carrier-pigeon://loft", "redis", "", "redis://127.0.0.1:6379"])
def test_a_store_that_cannot_be_used_is_refused_at_the_start(uri: str) -> None:
    with pytest.raises(ValueError, match="HOLDFAST_RATE_LIMIT_STORAGE"):
        storage_of(uri)


@pytest.mark.parametrize("proxy", ["*", "proxy.example.com", "10.0.0.1/8", "10.0.0.0/33"])
def test_only_addresses_and_networks_are_trusted_proxies(proxy: str) -> None:
    with pytest.raises(ValueError, match="no address and no network"):
        Settings.model_validate({"env": "development", "trusted_proxies": f"10.0.0.1, {proxy}"})
