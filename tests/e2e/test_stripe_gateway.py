"""The adapter for Stripe against a stand-in of Stripe's API, through Stripe's own library and real HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from activities.gateways.stripe import StripeGateway
from activities.gateways.stripe_api import StripeApi
from domain.errors import GatewayNotConfigured, GatewayRefused, GatewayUnavailable
from domain.gateway import GatewayPayment, PaymentStatus, PaymentToStart, RefundStatus
from domain.ids import CheckoutId, PaymentId, TenantId
from tests.support.gateway import served
from tests.support.secrets import FixedSecrets, stripe_secrets
from tests.support.stripe_server import KEY, SECRET, StripeStandIn, signed, standing_in

DEMO, OTHER, NOBODY = TenantId("demo"), TenantId("other"), TenantId("nobody")
CHECKOUT = CheckoutId("0b5c1f5e-6d0e-5c57-9f0e-2a8f6f3f1c11")
SHOP = "https://shop.example.com/back"
LONG_AGO, FAR_AHEAD = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass
class Desk:
    """The adapter and the stand-in that it asks."""

    stripe: StripeStandIn
    adapter: StripeGateway
    http: httpx.AsyncClient
    secrets: FixedSecrets
    clock: list[datetime] = field(default_factory=list)

    async def intent(self, key: str = "start-1", **changes: Any) -> PaymentId:
        return (await self.adapter.start(DEMO, wish(key, **changes))).payment_id

    async def session(self, key: str = "start-1", **changes: Any) -> PaymentId:
        return (await self.adapter.start(DEMO, wish(key, return_url=SHOP, **changes))).payment_id

    async def fetched(self, payment_id: PaymentId) -> GatewayPayment:
        found = await self.adapter.fetch(DEMO, payment_id)
        assert found is not None
        return found

    async def listed(self) -> list[GatewayPayment]:
        return [one async for one in self.adapter.payments(DEMO, LONG_AGO, FAR_AHEAD)]


@pytest.fixture
def stripe() -> Iterator[StripeStandIn]:
    with standing_in() as stand_in:
        yield stand_in


@pytest.fixture
async def desk(stripe: StripeStandIn) -> AsyncIterator[Desk]:
    async with httpx.AsyncClient(trust_env=False) as http:
        secrets = stripe_secrets(KEY, SECRET, "demo", "other")
        clock: list[datetime] = []
        adapter = StripeGateway(StripeApi(http, stripe.url), secrets, lambda: clock[-1] if clock else datetime.now(UTC))
        yield Desk(stripe, adapter, http, secrets, clock)


def wish(key: str = "start-1", **changes: Any) -> PaymentToStart:
    wanted: dict[str, Any] = {
        "checkout_id": CHECKOUT,
        "amount": 5500,
        "currency": "COP",
        "idempotency_key": key,
        "ends_at": datetime.now(UTC) + timedelta(minutes=15),
        "description": "Order 7",
    }
    return PaymentToStart(**(wanted | changes))


async def test_an_intent_is_started_with_its_checkout_and_a_secret_for_the_browser(desk: Desk) -> None:
    started = await desk.adapter.start(DEMO, wish())
    assert started.payment_id.startswith("pi_")
    assert (started.status, started.url) == (PaymentStatus.CREATED, None)
    assert started.client_secret is not None
    assert started.client_secret.startswith(started.payment_id)
    assert started.client_secret not in repr(started)
    [kept] = desk.stripe.state.intents.values()
    assert kept["metadata"] == {
        "holdfast_tenant": "demo",
        "holdfast_checkout": CHECKOUT,
        "holdfast_start": "start-1",
    }
    assert (kept["amount"], kept["currency"], kept["description"]) == (5500, "cop", "Order 7")


async def test_with_a_way_back_a_session_on_stripes_page_is_started(desk: Desk) -> None:
    started = await desk.adapter.start(DEMO, wish(return_url=SHOP))
    assert started.payment_id.startswith("cs_test_")
    assert started.client_secret is None
    assert started.url is not None
    assert started.url.startswith("https://checkout.stripe.com/")
    [kept] = desk.stripe.state.sessions.values()
    assert (kept["amount_total"], kept["currency"], kept["success_url"]) == (5500, "cop", SHOP)
    assert desk.stripe.state.intent_data[started.payment_id]["metadata"]["holdfast_via"] == "session"


@pytest.mark.parametrize(
    ("minutes", "ends_in"), [(-5, 32 * 60), (5, 32 * 60), (31, 32 * 60), (45, 45 * 60), (2000, 23 * 3600)]
)
async def test_a_session_ends_with_the_hold_or_as_soon_as_stripe_allows(desk: Desk, minutes: int, ends_in: int) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    desk.clock.append(now)
    session = await desk.session(ends_at=now + timedelta(minutes=minutes))
    assert desk.stripe.state.sessions[session]["expires_at"] == int(now.timestamp()) + ends_in


@pytest.mark.parametrize("back", [None, SHOP])
async def test_asking_again_with_the_same_key_starts_one_payment(desk: Desk, back: str | None) -> None:
    same = wish(return_url=back)
    desk.clock.append(datetime.now(UTC))
    made = await asyncio.gather(*[desk.adapter.start(DEMO, same) for _ in range(5)])
    assert len({one.payment_id for one in made}) == 1
    assert len(desk.stripe.state.intents) + len(desk.stripe.state.sessions) == 1


async def test_asking_again_with_another_end_finds_what_was_made(desk: Desk) -> None:
    """The hold was extended in between, so the request is another one to Stripe, which then refuses the key."""
    first = await desk.adapter.start(DEMO, wish(return_url=SHOP))
    for _ in range(130):  # More than a page of other buyers' sessions came later.
        desk.stripe.state.create_session(
            {"line_items": {"0": {"price_data": {"unit_amount": 1, "currency": "cop"}}}, "mode": "payment",
             "success_url": SHOP}
        )  # fmt: skip
    later = wish(return_url=SHOP, ends_at=datetime.now(UTC) + timedelta(minutes=50))
    again = await desk.adapter.start(DEMO, later)
    assert again == first
    assert len(desk.stripe.state.sessions) == 131


async def test_asking_again_for_another_amount_with_the_same_key_is_no_payment(desk: Desk) -> None:
    await desk.intent()
    with pytest.raises(GatewayUnavailable, match="another payment"):
        await desk.intent(amount=5600)
    assert len(desk.stripe.state.intents) == 1


@pytest.mark.parametrize("back", [None, SHOP])
async def test_a_start_whose_answer_was_lost_is_made_once(desk: Desk, back: str | None) -> None:
    thing = "sessions" if back else "intents"
    desk.stripe.faults = {thing: "timeout_after_acting"}
    desk.clock.append(datetime.now(UTC))
    same = wish(return_url=back)
    with pytest.raises(GatewayUnavailable):
        await desk.adapter.start(DEMO, same)
    desk.stripe.faults = {}
    await desk.adapter.start(DEMO, same)
    assert len(desk.stripe.state.intents) + len(desk.stripe.state.sessions) == 1


@pytest.mark.parametrize("back", [None, SHOP])
async def test_a_payment_is_known_by_one_id_from_start_to_refund(desk: Desk, back: str | None) -> None:
    payment = await (desk.session() if back else desk.intent())
    assert (await desk.fetched(payment)).status is PaymentStatus.CREATED
    desk.stripe.state.decline(payment)
    assert (await desk.fetched(payment)).status is PaymentStatus.FAILED
    desk.stripe.state.process(payment)
    assert (await desk.fetched(payment)).status is PaymentStatus.PROCESSING
    desk.stripe.state.pay(payment)
    paid = await desk.fetched(payment)
    assert paid == GatewayPayment(paid.gateway, payment, CHECKOUT, PaymentStatus.CAPTURED, 5500, "COP", 0, "demo")
    result = await desk.adapter.refund(DEMO, payment, 2000, "refund-1")
    assert (result.status, result.amount) == (RefundStatus.SUCCEEDED, 2000)
    assert ((await desk.fetched(payment)).status, (await desk.fetched(payment)).refunded_amount) == ("captured", 2000)
    await desk.adapter.refund(DEMO, payment, 3500, "refund-2")
    assert ((await desk.fetched(payment)).status, (await desk.fetched(payment)).refunded_amount) == ("refunded", 5500)
    assert [one.payment_id for one in await desk.listed()] == [payment]
    told = await events(desk)
    assert {event.payment_id for event in told} == {payment}
    assert [event.kind for event in told if event.kind is PaymentStatus.CAPTURED] == [PaymentStatus.CAPTURED]


async def events(desk: Desk, tenant: TenantId = DEMO) -> list[Any]:
    """What our adapter makes of every event that the stand-in would send."""
    found = []
    for event in desk.stripe.state.events:
        body = json.dumps(event)
        headers = {"stripe-signature": signed(body)}
        found.append(await desk.adapter.parse_webhook(tenant, headers, body.encode(), datetime.now(UTC)))
    return [event for event in found if event is not None]


async def test_the_intent_of_a_session_is_no_payment_of_its_own(desk: Desk) -> None:
    """Else its money would count twice: a confirm by the intent's id would make an order, the session a refund."""
    session = await desk.session()
    intent = PaymentId(desk.stripe.state.pay(session)["id"])
    assert await desk.adapter.fetch(DEMO, intent) is None
    assert [one.payment_id for one in await desk.listed()] == [session]


async def test_a_payment_that_was_never_made_is_none(desk: Desk) -> None:
    for unknown in ("pi_unknown", "cs_test_unknown"):
        assert await desk.adapter.fetch(DEMO, PaymentId(unknown)) is None
        assert await desk.adapter.expire(DEMO, PaymentId(unknown)) is None
        with pytest.raises(GatewayRefused):
            await desk.adapter.refund(DEMO, PaymentId(unknown), 1, "key")


@pytest.mark.parametrize(
    "payment_id",
    ["", "pay_1", "pi_", "pi_1/cancel", "pi_1?x=1", "../refunds", "cs_test_", "pi_1_secret_2", "pi_\ud800"],
)
async def test_an_id_that_cannot_be_stripes_is_never_sent(desk: Desk, payment_id: str) -> None:
    assert await desk.adapter.fetch(DEMO, PaymentId(payment_id)) is None
    assert await desk.adapter.expire(DEMO, PaymentId(payment_id)) is None
    with pytest.raises(GatewayRefused):
        await desk.adapter.refund(DEMO, PaymentId(payment_id), 1, "key")
    assert desk.stripe.seen == []


@pytest.mark.parametrize("back", [None, SHOP])
async def test_an_expired_payment_can_be_paid_no_more_and_a_repeat_says_the_same(desk: Desk, back: str | None) -> None:
    payment = await (desk.session() if back else desk.intent())
    desk.stripe.state.decline(payment)
    for _ in range(2):
        ended = await desk.adapter.expire(DEMO, payment)
        assert ended is not None
        assert ended.status is PaymentStatus.EXPIRED
    with pytest.raises(Exception, match=r"expired|unexpected_state"):
        desk.stripe.state.pay(payment)


@pytest.mark.parametrize("back", [None, SHOP])
async def test_a_payment_that_the_buyer_was_quicker_to_make_is_told_as_it_is(desk: Desk, back: str | None) -> None:
    payment = await (desk.session() if back else desk.intent())
    desk.stripe.state.process(payment)
    late = await desk.adapter.expire(DEMO, payment)
    assert late is not None
    assert late.status is PaymentStatus.PROCESSING
    desk.stripe.state.pay(payment)
    paid = await desk.adapter.expire(DEMO, payment)
    assert paid is not None
    assert paid.status is PaymentStatus.CAPTURED


async def test_a_session_whose_slow_payment_failed_can_be_paid_no_more(desk: Desk) -> None:
    session = await desk.session()
    desk.stripe.state.process(session)
    desk.stripe.state.decline(session)
    assert (await desk.fetched(session)).status is PaymentStatus.EXPIRED
    assert [event.kind for event in await events(desk)] == ["processing", "failed"]


@pytest.mark.parametrize("back", [None, SHOP])
async def test_a_refund_asked_again_with_its_key_is_the_same_refund(desk: Desk, back: str | None) -> None:
    payment = await (desk.session() if back else desk.intent())
    desk.stripe.state.pay(payment)
    results = await asyncio.gather(*[desk.adapter.refund(DEMO, payment, 2000, "key-1") for _ in range(5)])
    assert len(set(results)) == 1
    assert (await desk.fetched(payment)).refunded_amount == 2000


async def test_a_refund_is_the_same_also_after_stripe_has_forgotten_the_key(desk: Desk) -> None:
    payment = await desk.intent()
    desk.stripe.state.pay(payment)
    first = await desk.adapter.refund(DEMO, payment, 2000, "key-1")
    desk.stripe.state.keys.clear()  # A day later.
    assert await desk.adapter.refund(DEMO, payment, 2000, "key-1") == first
    assert (await desk.fetched(payment)).refunded_amount == 2000


async def test_a_refund_that_failed_is_made_anew_when_it_is_asked_for_again(desk: Desk) -> None:
    payment = await desk.intent()
    desk.stripe.state.pay(payment)
    desk.stripe.state.refund_status = "failed"
    for _ in range(2):
        assert (await desk.adapter.refund(DEMO, payment, 5500, "key-1")).status is RefundStatus.FAILED
    desk.stripe.state.refund_status = "pending"
    assert (await desk.adapter.refund(DEMO, payment, 5500, "key-1")).status is RefundStatus.PENDING
    assert (await desk.adapter.refund(DEMO, payment, 5500, "key-1")).status is RefundStatus.PENDING
    assert sorted(one["status"] for one in desk.stripe.state.refunds.values()) == ["failed", "failed", "pending"]


@pytest.mark.parametrize(("fault", "acted"), [("down", 0), ("garbage", 0), ("timeout_after_acting", 1)])
async def test_a_refund_whose_answer_was_lost_is_made_once(desk: Desk, fault: str, acted: int) -> None:
    payment = await desk.intent()
    desk.stripe.state.pay(payment)
    desk.stripe.faults = {"refunds": fault}
    with pytest.raises(GatewayUnavailable):
        await desk.adapter.refund(DEMO, payment, 5500, "key-1")
    assert len(desk.stripe.state.refunds) == acted
    desk.stripe.faults = {}
    await desk.adapter.refund(DEMO, payment, 5500, "key-1")
    assert len(desk.stripe.state.refunds) == 1


async def test_never_more_goes_back_than_came_in(desk: Desk) -> None:
    payment = await desk.intent()
    with pytest.raises(GatewayRefused):
        await desk.adapter.refund(DEMO, payment, 5500, "unpaid")
    desk.stripe.state.pay(payment)
    await desk.adapter.refund(DEMO, payment, 5500, "key-1")
    with pytest.raises(GatewayRefused) as caught:
        await desk.adapter.refund(DEMO, payment, 1, "key-2")
    assert caught.value.extra["reason"] == "charge_already_refunded"


async def test_every_payment_of_ours_is_listed_over_many_pages_and_no_other(desk: Desk) -> None:
    ours = {await desk.intent(f"i-{n}") for n in range(120)} | {await desk.session(f"s-{n}") for n in range(105)}
    for _ in range(30):
        desk.stripe.state.create_intent({"amount": "900", "currency": "cop"})
    paid = await desk.session("paid")
    desk.stripe.state.pay(paid)
    listed = await desk.listed()
    assert {one.payment_id for one in listed} == ours | {paid}
    assert len(listed) == len(ours) + 1
    assert [one.payment_id for one in listed if one.status is PaymentStatus.CAPTURED] == [paid]


async def test_the_list_holds_to_the_second_what_was_made_from_then_to_then(desk: Desk) -> None:
    at = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
    for second in range(4):
        desk.stripe.state.now = at.timestamp() + second
        await desk.intent(f"start-{second}")
    whole = [one async for one in desk.adapter.payments(DEMO, at + timedelta(seconds=1), at + timedelta(seconds=3))]
    assert len(whole) == 2
    parts = [one async for one in desk.adapter.payments(DEMO, at, at + timedelta(seconds=1.5))]
    parts += [one async for one in desk.adapter.payments(DEMO, at + timedelta(seconds=1.5), at + timedelta(seconds=9))]
    assert len(parts) == len({one.payment_id for one in parts}) == 4


@pytest.mark.parametrize(
    ("amount", "currency", "theirs"),
    [(5500, "COP", 5500), (500, "JPY", 500), (500, "CLP", 500), (5120, "KWD", 5120), (5, "ISK", 500), (700, "MGA", 7)],
)
async def test_amounts_are_stripes_there_and_ours_here(desk: Desk, amount: int, currency: str, theirs: int) -> None:
    for number, payment in enumerate(
        (await desk.intent(amount=amount, currency=currency), await desk.session("s", amount=amount, currency=currency))
    ):
        desk.stripe.state.pay(payment)
        found = await desk.fetched(payment)
        assert (found.amount, found.currency, found.status) == (amount, currency, PaymentStatus.CAPTURED)
        assert list(desk.stripe.state.charges.values())[number]["amount"] == theirs
        result = await desk.adapter.refund(DEMO, payment, amount, f"key-{number}")
        assert result.amount == amount
    captured = [event for event in await events(desk) if event.kind is PaymentStatus.CAPTURED]
    assert [(event.amount, event.currency) for event in captured] == [(amount, currency)] * 2


@pytest.mark.parametrize(("amount", "currency"), [(5124, "KWD"), (750, "MGA")])
async def test_an_amount_that_stripe_cannot_take_is_refused_with_why(desk: Desk, amount: int, currency: str) -> None:
    with pytest.raises(GatewayRefused, match="multiples"):
        await desk.intent(amount=amount, currency=currency)
    assert desk.stripe.seen == []


Act = Callable[[Desk, PaymentId], Any]
ACTS: list[tuple[str, str, Act]] = [
    ("fetch", "intents:fetch", lambda desk, payment: desk.adapter.fetch(DEMO, payment)),
    ("start", "intents", lambda desk, payment: desk.intent("another")),
    ("expire", "intents:cancel", lambda desk, payment: desk.adapter.expire(DEMO, payment)),
    ("list", "sessions:list", lambda desk, payment: desk.listed()),
    ("refund", "refunds:list", lambda desk, payment: desk.adapter.refund(DEMO, payment, 1, "key")),
]


@pytest.mark.parametrize("fault", ["down", "garbage", "slow", "500", "502", "429", "409", "403"])
@pytest.mark.parametrize(("name", "operation", "act"), ACTS, ids=[name for name, _, _ in ACTS])
async def test_a_stripe_in_trouble_is_asked_again_later(
    desk: Desk, name: str, operation: str, act: Act, fault: str
) -> None:
    payment = await desk.intent()
    asked = len(desk.stripe.seen)
    desk.stripe.faults = {operation: fault}
    started = time.monotonic()
    with pytest.raises(GatewayUnavailable) as caught:
        await act(desk, payment)
    assert time.monotonic() - started < 3.9
    assert KEY not in str(caught.value)
    assert len(desk.stripe.seen) - asked <= 2, "the library asks once; retries are ours"
    desk.stripe.faults = {}
    assert (await desk.fetched(payment)).status is PaymentStatus.CREATED


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b'"text"', b"{}", b"[{}]", b'{"object":"list"}', b'{"error":"no"}', b"\xff", b"{" * 9999,
        b'{"object":"list","data":{},"has_more":false}', b'{"object":"list","data":[1],"has_more":false}',
        b'{"object":"list","data":[],"has_more":true}', b'{"id":"pi_other","object":"payment_intent"}',
        b'{"id":"pi_1","object":"payment_intent","amount":5,"amount_received":"5","currency":"cop","status":"succeeded"}',
        b'{"id":"pi_1","object":"payment_intent","amount":5,"amount_received":5,"currency":"cop","status":"eaten"}',
        b'{"id":"pi_2","object":"payment_intent","amount":5,"amount_received":5,"currency":"cop","status":"succeeded"}',
        b'{"data":"' + b"x" * 9_000_000 + b'"}',
    ],
    ids=range(18),
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_that_makes_no_sense_is_asked_again_or_refused_and_nothing_else(
    content: bytes, status: int
) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=content, headers={"content-type": "application/json"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        adapter = StripeGateway(StripeApi(http, "http://stripe.invalid"), stripe_secrets(KEY, SECRET, "demo"))
        for asking in (
            adapter.fetch(DEMO, PaymentId("pi_1")),
            adapter.fetch(DEMO, PaymentId("cs_test_1")),
            adapter.start(DEMO, wish()),
            adapter.start(DEMO, wish(return_url=SHOP)),
            adapter.expire(DEMO, PaymentId("pi_1")),
            adapter.refund(DEMO, PaymentId("pi_1"), 5, "key"),
            anext(adapter.payments(DEMO, LONG_AGO, FAR_AHEAD)),
        ):
            with pytest.raises((GatewayUnavailable, GatewayRefused)):
                await asking


async def test_a_wrong_key_is_asked_again_until_it_is_mended(desk: Desk) -> None:
    """A refund that is owed must not be dropped because somebody set a wrong key for an hour."""
    payment = await desk.intent()
    desk.stripe.state.pay(payment)
    name = ("demo", "gateway/stripe/api-key")
    desk.secrets.kept[name] = "sk_test_somebodyelses"
    with pytest.raises(GatewayUnavailable, match="API key"):
        await desk.adapter.refund(DEMO, payment, 5500, "key-1")
    desk.secrets.kept[name] = KEY
    await desk.adapter.refund(DEMO, payment, 5500, "key-1")


async def test_a_shop_without_a_key_is_told_what_to_set_and_what_is_owed_stays_owed(desk: Desk) -> None:
    for asking in (
        desk.adapter.start(NOBODY, wish()),
        desk.adapter.fetch(NOBODY, PaymentId("pi_1")),
        anext(desk.adapter.payments(NOBODY, LONG_AGO, FAR_AHEAD)),
    ):
        with pytest.raises(GatewayNotConfigured, match="gateway/stripe/api-key"):
            await asking
    with pytest.raises(GatewayUnavailable, match="gateway/stripe/api-key"):
        await desk.adapter.refund(NOBODY, PaymentId("pi_1"), 1, "key")
    with pytest.raises(GatewayUnavailable, match="gateway/stripe/api-key"):
        await desk.adapter.expire(NOBODY, PaymentId("pi_1"))
    assert desk.stripe.seen == []


async def test_nothing_is_logged_and_no_telemetry_sent(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="stripe"):
        started = await desk.adapter.start(DEMO, wish())
        await desk.fetched(started.payment_id)
        with pytest.raises(GatewayRefused):
            await desk.adapter.refund(DEMO, started.payment_id, 10**6, "key")
    assert [record for record in caplog.records if record.name == "stripe"] == []
    for _, _, headers in desk.stripe.seen:  # The stand-in itself refuses telemetry.
        assert headers["authorization"] == f"Bearer {KEY}"


async def test_redirects_are_not_followed() -> None:
    """They would carry the API key wherever they point."""

    class Elsewhere:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                return
            headers = [(b"location", b"http://127.0.0.1:9/steal")]
            await send({"type": "http.response.start", "status": 307, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

    with served(Elsewhere) as url:
        async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as http:
            adapter = StripeGateway(StripeApi(http, url), stripe_secrets(KEY, SECRET, "demo"))
            with pytest.raises(GatewayUnavailable):
                await adapter.fetch(DEMO, PaymentId("pi_1"))
