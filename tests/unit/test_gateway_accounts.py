"""Whose account is asked, what a tenant sets for it, and whose webhooks count as whose."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import activities.gateways.addresses as addresses_module
from activities.gateways.options import GatewayOptions
from activities.gateways.registry import GATEWAYS, gateways_from, tenant_secrets
from activities.gateways.sandbox import SandboxGateway
from activities.gateways.standard import NAME, StandardGateway, gateway
from domain.errors import GatewayNotConfigured, GatewayRefused, GatewayUnavailable, Invalid, InvalidSignature, NotFound
from domain.gateway import PaymentEvent, PaymentStatus, PaymentToStart
from domain.ids import CheckoutId, PaymentId, TenantId
from settings import Settings
from tests.support.secrets import FixedSecrets
from tests.unit.test_gateway_answers import ANSWER
from tests.unit.test_gateway_events import CHECKOUT, EVENT, signed_over
from tests.unit.test_standard_webhooks import NEW, NOW, OLD, signed

DEMO, OTHER, NOBODY, PAYMENT = TenantId("demo"), TenantId("other"), TenantId("nobody"), PaymentId("pay_1")
OPTIONS = GatewayOptions("http://gateway.invalid", NEW)
THIRD = "whsec_dGhlLXRoaXJkLXNlY3JldC1vZi0yNC1ieXRlcw=="
WISH = PaymentToStart(CheckoutId(CHECKOUT), 5500, "COP", "key", NOW + timedelta(minutes=15), "Order 7")


def own(**more: str) -> FixedSecrets:
    """DEMO has a gateway of its own; `more`: by tenant, its webhook secrets."""
    kept = {
        ("demo", "gateway/standard/url"): "http://127.0.0.1:1/v1",
        ("demo", "gateway/standard/api-key"): "key-of-demo",
        ("demo", "gateway/standard/webhooks"): NEW,
    }
    return FixedSecrets(kept | {(tenant, "gateway/standard/webhooks"): secret for tenant, secret in more.items()})


class Seen:
    """A gateway that answers everything alike, and what it was asked."""

    def __init__(self, answer: Any, status: int = 200, secrets: FixedSecrets | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.status = status
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._take))
        self.gateway: StandardGateway = gateway(OPTIONS, client, secrets or own())

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, content=self.content)


async def test_a_tenants_own_gateway_is_asked_with_its_own_key() -> None:
    seen = Seen(ANSWER)
    found = await seen.gateway.fetch(DEMO, PAYMENT)
    assert found is not None
    assert found.gateway == "standard"
    assert str(seen.requests[0].url) == "http://127.0.0.1:1/v1/payments/pay_1"
    assert seen.requests[0].headers["authorization"] == "Bearer key-of-demo"


async def test_by_name_it_is_asked_at_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def looked_up(host: str, port: int) -> list[Any]:
        return [addresses_module._literal("93.184.216.34")]

    monkeypatch.setattr(addresses_module, "_looked_up", looked_up)
    secrets = own()
    secrets.kept["demo", "gateway/standard/url"] = "https://gateway.example.com/v1"
    seen = Seen(ANSWER, secrets=secrets)
    await seen.gateway.fetch(DEMO, PAYMENT)
    [request] = seen.requests
    assert str(request.url) == "https://93.184.216.34/v1/payments/pay_1"
    assert (request.headers["host"], request.headers["connection"]) == ("gateway.example.com", "close")
    assert request.extensions["sni_hostname"] == "gateway.example.com"


async def test_a_shop_without_one_is_told_what_to_set_and_what_is_owed_stays_owed() -> None:
    seen = Seen(ANSWER)
    since = datetime.now(UTC)
    for asking in (
        seen.gateway.start(NOBODY, WISH),
        seen.gateway.fetch(NOBODY, PAYMENT),
        anext(seen.gateway.payments(NOBODY, since, since)),
    ):
        with pytest.raises(GatewayNotConfigured, match="gateway/standard/url"):
            await asking
    with pytest.raises(GatewayUnavailable, match="gateway/standard/url"):
        await seen.gateway.refund(NOBODY, PAYMENT, 1, "key")
    with pytest.raises(GatewayUnavailable, match="gateway/standard/url"):
        await seen.gateway.expire(NOBODY, PAYMENT)
    with pytest.raises(NotFound):
        await seen.gateway.parse_webhook(NOBODY, signed(), b"{}", NOW)
    assert seen.requests == []


START = {**ANSWER, "checkout_id": CHECKOUT, "status": "created", "url": "https://pay.example.com/p/1"}


async def test_a_start_says_what_is_wanted_once_and_gives_the_page() -> None:
    seen = Seen({**START, "client_secret": "secret-1"}, 201)
    started = await seen.gateway.start(DEMO, WISH)
    assert (started.payment_id, started.status, started.url) == ("pay_1", "created", "https://pay.example.com/p/1")
    assert started.client_secret == "secret-1"
    [request] = seen.requests
    assert (request.method, request.headers["idempotency-key"]) == ("POST", "key")
    assert json.loads(request.content) == {
        "tenant": "demo",
        "checkout_id": CHECKOUT,
        "amount": 5500,
        "currency": "COP",
        "ends_at": "2026-11-21T12:15:00+00:00",
        "reference": "Order 7",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 5501},
        {"currency": "USD"},
        {"checkout_id": None},
        {"tenant": "other"},
        {"tenant": None},
        {"id": "a/b"},
        {"id": ""},
        {"status": "stolen"},
        {"url": "javascript:alert(1)"},
        {"url": "https://x y"},
        {"url": 7},
        {"client_secret": 7},
    ],
)
async def test_an_answer_to_a_start_that_is_not_what_was_asked_for_is_asked_again(change: dict[str, Any]) -> None:
    with pytest.raises(GatewayUnavailable):
        await Seen(START | change, 201).gateway.start(DEMO, WISH)


@pytest.mark.parametrize("status", [400, 402, 409, 422])
async def test_a_gateway_that_cannot_end_a_payment_is_asked_how_it_stands(status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status) if request.method == "POST" else httpx.Response(200, json=ANSWER)

    asked = gateway(OPTIONS, httpx.AsyncClient(transport=httpx.MockTransport(answer)), own())
    found = await asked.expire(DEMO, PAYMENT)
    assert found is not None
    assert found.status is PaymentStatus.CAPTURED


async def test_ending_a_payment_that_is_not_there_is_none() -> None:
    assert await Seen({}, 404).gateway.expire(DEMO, PAYMENT) is None
    assert await Seen({}, 404).gateway.expire(DEMO, PaymentId("../x")) is None


async def all_of(seen: Seen) -> list[Any]:
    return [one async for one in seen.gateway.payments(DEMO, NOW, NOW + timedelta(hours=1))]


async def test_what_a_shop_takes_elsewhere_in_its_account_is_not_listed_and_another_tenants_is() -> None:
    items = [ANSWER, {**ANSWER, "id": "pay_2", "tenant": None}, {**ANSWER, "id": "pay_3", "tenant": "other"}]
    seen = Seen({"items": items, "next": None})
    assert [(one.payment_id, one.tenant) for one in await all_of(seen)] == [("pay_1", "demo"), ("pay_3", "other")]
    query = dict(seen.requests[0].url.params)
    assert query == {"since": "2026-11-21T12:00:00+00:00", "until": "2026-11-21T13:00:00+00:00", "limit": "100"}


@pytest.mark.parametrize(
    "answer",
    [
        {"items": [ANSWER], "next": "same"},
        {"items": {}, "next": None},
        {"items": [1], "next": None},
        {"items": [{}], "next": None},
        {"items": [], "next": 7},
        {},
        b"[]",
        b"<html>",
        b"\x00" * 9_000_000,
    ],
    ids=range(9),
)
async def test_a_list_that_makes_no_sense_or_no_end_is_asked_again_later(answer: Any) -> None:
    with pytest.raises(GatewayUnavailable):
        await all_of(Seen(answer))


async def test_a_compressed_answer_is_not_opened() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b"))

    asked = gateway(OPTIONS, httpx.AsyncClient(transport=httpx.MockTransport(answer)), own())
    with pytest.raises(GatewayUnavailable, match="compressed"):
        await asked.fetch(DEMO, PAYMENT)


async def test_json_under_another_content_type_is_read_and_html_is_not() -> None:
    for content, good in ((json.dumps(ANSWER).encode(), True), (b"<html></html>", False)):

        def answer(_: httpx.Request, content: bytes = content) -> httpx.Response:
            return httpx.Response(200, content=content, headers={"content-type": "text/html"})

        asked = gateway(OPTIONS, httpx.AsyncClient(transport=httpx.MockTransport(answer)), own())
        if good:
            assert await asked.fetch(DEMO, PAYMENT) is not None
        else:
            with pytest.raises(GatewayUnavailable):
                await asked.fetch(DEMO, PAYMENT)


async def test_an_idempotency_key_longer_than_gateways_take_is_sent_as_its_digest() -> None:
    seen = Seen({"id": "ref_1", "status": "succeeded", "amount": 1})
    await seen.gateway.refund(DEMO, PAYMENT, 1, "x" * 201)
    assert len(seen.requests[0].headers["idempotency-key"]) == 64


async def parsed(gateway: StandardGateway, **changes: Any) -> PaymentEvent | None:
    """What it makes of an event that came for DEMO and that its secret signed."""
    body = json.dumps({**EVENT, "data": {**EVENT["data"], **changes}}).encode()
    return await gateway.parse_webhook(DEMO, signed_over(body), body, NOW)


async def test_another_tenants_money_in_a_tenants_own_account_is_told_as_such() -> None:
    event = await parsed(Seen({}).gateway, tenant="other")
    assert event is not None
    assert (event.foreign_tenant, event.checkout_id, event.gateway) == (True, None, NAME)
    own_event = await parsed(Seen({}).gateway)
    assert own_event is not None
    assert (own_event.foreign_tenant, own_event.checkout_id) == (False, CHECKOUT)


async def test_what_was_not_made_for_a_shop_of_ours_is_nothing_to_us() -> None:
    assert await parsed(Seen({}).gateway, tenant=None) is None


@pytest.mark.parametrize("tenant", ["other", None])
async def test_in_the_account_that_tenants_share_it_stays_invalid(tenant: str | None) -> None:
    shared = SandboxGateway("http://gateway.invalid", [NEW], httpx.AsyncClient())
    with pytest.raises(Invalid):
        await parsed(shared, tenant=tenant)


async def test_the_secret_is_that_of_the_tenant_in_the_address() -> None:
    """The installation's own secret, and another tenant's, sign nothing for this one."""
    body = json.dumps(EVENT).encode()
    other = Seen({}, secrets=own(other=OLD)).gateway
    with pytest.raises(InvalidSignature):
        await other.parse_webhook(OTHER, signed_over(body), body, NOW)
    assert await parsed(other) is not None


async def test_while_a_tenant_replaces_its_secret_both_are_good_and_no_third() -> None:
    body = json.dumps(EVENT).encode()
    for secret, good in ((OLD, True), (NEW, True), (THIRD, False)):
        asked = Seen({}, secrets=own(demo=f"{NEW} {OLD}")).gateway
        headers = signed(secret, body)
        if good:
            assert await asked.parse_webhook(DEMO, headers, body, NOW) is not None
        else:
            with pytest.raises(InvalidSignature):
                await asked.parse_webhook(DEMO, headers, body, NOW)


def test_every_gateway_names_itself_once_and_reads_its_own_secrets() -> None:
    assert len({module.NAME for module in GATEWAYS}) == len(GATEWAYS)
    assert list(gateways_from(OPTIONS, httpx.AsyncClient())) == [module.NAME for module in GATEWAYS]
    assert sorted(name for name in tenant_secrets(OPTIONS) if name.startswith("gateway/")) == [
        "gateway/sandbox",
        "gateway/standard/api-key",
        "gateway/standard/url",
        "gateway/standard/webhooks",
        "gateway/stripe/api-key",
        "gateway/stripe/webhooks",
    ]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("gateway/standard/url", "https://gateway.example.com/v1", "https://10.0.0.1"),
        ("gateway/standard/url", "https://gateway.example.com/v1", "http://127.0.0.1:8100"),
        ("gateway/standard/api-key", "a.b-c_d~e+f/g=", "two words here"),
        ("gateway/standard/api-key", "x" * 500, "line\r\nx-header: 1"),
        ("gateway/standard/webhooks", f"{NEW} {OLD}", "whsec_short"),
        ("gateway/stripe/api-key", "sk_live_51abcdefgh", "pk_live_51abcdefgh"),
        ("gateway/stripe/api-key", "rk_test_51abcdefgh", "sk_live_51abcdefgh\n"),
        ("gateway/stripe/webhooks", "whsec_" + "a" * 32, "sk_live_51abcdefgh"),
        ("gateway/sandbox", NEW, ""),
    ],
)
def test_a_secret_that_cannot_be_one_is_refused_when_it_is_set(name: str, good: str, bad: str) -> None:
    reader = tenant_secrets(OPTIONS)[name]
    reader(good)
    with pytest.raises(ValueError) as caught:
        reader(bad)
    assert not bad or bad not in str(caught.value)


def test_only_in_development_may_a_shops_gateway_be_on_this_machine() -> None:
    local = tenant_secrets(GatewayOptions("http://gateway.invalid", NEW, development=True))["gateway/standard/url"]
    assert local("http://127.0.0.1:8100") == "http://127.0.0.1:8100"


async def test_a_refused_refund_is_refused() -> None:
    with pytest.raises(GatewayRefused):
        await Seen({}, 422).gateway.refund(DEMO, PAYMENT, 1, "key")


def test_in_production_nothing_may_stand_in_for_stripe() -> None:
    """It would be sent every shop's API key."""
    safe = {
        "env": "production",
        "jwt_secret": SecretStr("j" * 32),
        "buyer_hash_key": SecretStr("b" * 32),
        "sandbox_gateway_secret": SecretStr(NEW),
        "secret_keys": SecretStr("k1:" + "A" * 43 + "="),
        "ticket_keys": SecretStr("t1:" + "A" * 43 + "="),
        "allowed_hosts": ("shop.example.com",),
    }
    options = Settings.model_validate(safe).gateways
    assert (options.stripe_api_base, options.development, options.sandbox_secrets) == (None, False, NEW)
    assert NEW not in repr(options)
    with pytest.raises(ValueError, match="HOLDFAST_STRIPE_API_BASE"):
        Settings.model_validate({**safe, "stripe_api_base": "http://127.0.0.1:1"})


def test_production_has_no_sandbox_until_somebody_says_where() -> None:
    secret, ring = SecretStr("s" * 40), "QUFB" * 10 + "QUE="
    more: Any = {"jwt_secret": secret, "buyer_hash_key": secret, "sandbox_gateway_secret": secret}
    more |= {"secret_keys": SecretStr(f"k:{ring}"), "ticket_keys": SecretStr(f"t:{ring}")}
    production = Settings(env="production", allowed_hosts="shop.example.com", **more)
    assert production.gateways.sandbox_url is None
    assert Settings(env="development").gateways.sandbox_url == "http://127.0.0.1:8100"
    told = production.model_copy(update={"sandbox_gateway_url": "http://sandbox.example.com"})
    assert told.gateways.sandbox_url == "http://sandbox.example.com"
    none = GatewayOptions(None, NEW)
    assert set(gateways_from(none, httpx.AsyncClient())) == {one.NAME for one in GATEWAYS} - {"sandbox"}
