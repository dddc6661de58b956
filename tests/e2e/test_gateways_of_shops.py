"""A shop's own gateways, Stripe and a generic one: from its secrets to the order or the refund, and its webhooks."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from api.tokens import Scope
from db.invariants import check_ledger
from domain.ids import TenantId
from local.postgres import Postgres
from local.temporal import Temporal
from tests.support import servers, shop
from tests.support.buyers import Buyer, code
from tests.support.stripe_server import KEY, SECRET, StripeStandIn, signed, standing_in
from tests.support.stripe_state import StripeState
from tests.support.system import System, running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")
OWN = "whsec_" + base64.b64encode(b"the shop's own secret, of 32 by").decode()
SHOP = "https://shop.example.com/back"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StripeStandIn]:
    """What plays Stripe."""
    with standing_in() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_system(
    postgres: Postgres,
    temporal: Temporal,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    stand_in: StripeStandIn,
) -> AsyncIterator[System]:
    """As every module's, and Stripe is where the stand-in is."""
    name = servers.create_database(postgres)
    namespace = await servers.create_namespace(temporal.address, request.node.name)
    folder = tmp_path_factory.mktemp("gateway")
    async with running_system(
        postgres.url(name), temporal.address, namespace, folder, stripe_api_base=stand_in.url
    ) as one:
        yield one
    servers.drop_database(postgres, name)


@dataclass
class Boutique:
    """A shop with a Stripe account, and a generic gateway (the sandbox gateway plays it)."""

    system: System
    tenant: TenantId
    stripe: StripeStandIn
    boss: Buyer

    async def set(self, name: str, secret: str) -> httpx.Response:
        return await self.system.http.put(
            f"/v1/admin/tenant/secrets/{name}", json={"secret": secret}, headers=self.boss.headers
        )

    async def hold(self, **product: Any) -> tuple[Buyer, Json]:
        buyer = self.system.buyer(self.tenant)
        return buyer, await buyer.hold((await self.system.product(tenant=self.tenant, **product), 1))

    async def start(self, buyer: Buyer, held: Json, gateway: str = "stripe", **more: Any) -> Json:
        answer = await buyer.start_payment(held["id"], {"gateway": gateway, **more})
        assert answer.status_code == 201, answer.text
        started: Json = answer.json()
        return started

    async def stored(self) -> list[tuple[str, str]]:
        """(payment, kind) of every event in the inbox."""
        cursor = await self.system.admin.execute(
            "SELECT payment_id, kind FROM payment_events WHERE tenant_id = %s ORDER BY received_at", (self.tenant,)
        )
        return [(row[0], row[1]) for row in await cursor.fetchall()]

    async def outcomes(self) -> list[tuple[str, str, bool]]:
        """(payment, order or refund, quarantined) of everything that was decided."""
        cursor = await self.system.admin.execute(
            "SELECT payment_id, kind, quarantined FROM payment_outcomes WHERE tenant_id = %s", (self.tenant,)
        )
        return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]

    async def send(self, event: Json, **more: Any) -> httpx.Response:
        return await self.stripe.send(self.system.http, self.tenant, event, **more)


@pytest_asyncio.fixture(loop_scope="module")
async def boutique(system: System, stand_in: StripeStandIn) -> AsyncIterator[Boutique]:
    """A new shop; at the end its captures at Stripe and its outcomes agree."""
    tenant = await shop.make_tenant(system.admin, f"boutique-{secrets.token_hex(4)}")
    stand_in.state, stand_in.faults = StripeState(), {}
    one = Boutique(system, tenant, stand_in, system.buyer(tenant, "boss", Scope.ADMIN))
    for name, secret in (
        ("stripe/api-key", KEY), ("stripe/webhooks", SECRET), ("standard/url", system.gateway.url),
        ("standard/api-key", "key-of-the-shop"), ("standard/webhooks", OWN),
    ):  # fmt: skip
        answer = await one.set(f"gateway/{name}", secret)
        assert answer.status_code == 204, answer.text
    yield one
    await system.end_well()
    charges = stand_in.state.charges.values()
    sessions = {str(each["payment_intent"]): str(each["id"]) for each in stand_in.state.sessions.values()}
    captures = [
        (tenant, "stripe", sessions.get(intent, intent), int(each["amount"]), int(each["amount_refunded"]))
        for each in charges
        if "holdfast_checkout" in each["metadata"] and (intent := str(each["payment_intent"]))
    ]
    assert await check_ledger(system.admin_url, captures) == []


@pytest.mark.parametrize("back", [None, SHOP])
async def test_a_checkout_paid_at_stripe_becomes_an_order(boutique: Boutique, back: str | None) -> None:
    buyer, held = await boutique.hold()
    started = await boutique.start(buyer, held, **({"return_url": back} if back else {}))
    assert (started["client_secret"] is None) == (back is not None)
    assert (started["url"] is None) == (back is None)
    payment = started["payment_id"]
    boutique.stripe.state.decline(payment)
    boutique.stripe.state.pay(payment)
    answers = await boutique.stripe.send_all(boutique.system.http, boutique.tenant)
    assert {answer.status_code for answer in answers} == {200}
    await buyer.until(held["id"], "confirmed")
    assert [order["checkout_id"] for order in await buyer.orders()] == [held["id"]]
    assert await boutique.outcomes() == [(payment, "order", False)]
    assert {stored for stored, _ in await boutique.stored()} == {payment}


async def test_every_event_of_a_payment_in_any_order_and_twice_makes_one_order(boutique: Boutique) -> None:
    buyer, held = await boutique.hold()
    started = await boutique.start(buyer, held, return_url=SHOP)
    boutique.stripe.state.process(started["payment_id"])
    boutique.stripe.state.pay(started["payment_id"])
    events = boutique.stripe.state.events[::-1]
    for event in [*events, *events]:
        assert (await boutique.send(event)).status_code == 200
    await buyer.until(held["id"], "confirmed")
    assert await boutique.outcomes() == [(started["payment_id"], "order", False)]


async def test_a_confirm_by_the_storefront_asks_stripe(boutique: Boutique) -> None:
    buyer, held = await boutique.hold()
    payment = (await boutique.start(buyer, held))["payment_id"]
    body = {"payment_id": payment, "gateway": "stripe"}
    early = await buyer.post(f"/v1/checkouts/{held['id']}/confirm", body, None)
    assert (early.status_code, code(early)) == (409, "payment_not_captured")
    boutique.stripe.state.pay(payment)
    paid = await buyer.post(f"/v1/checkouts/{held['id']}/confirm", body, None)
    assert paid.status_code == 200, paid.text


async def test_the_intent_of_a_session_confirms_nothing_so_that_no_money_counts_twice(boutique: Boutique) -> None:
    buyer, held = await boutique.hold()
    session = (await boutique.start(buyer, held, return_url=SHOP))["payment_id"]
    intent = boutique.stripe.state.pay(session)["id"]
    body = {"payment_id": intent, "gateway": "stripe"}
    answer = await buyer.post(f"/v1/checkouts/{held['id']}/confirm", body, None)
    assert (answer.status_code, code(answer)) == (409, "payment_not_captured")
    await boutique.stripe.send_all(boutique.system.http, boutique.tenant)
    await buyer.until(held["id"], "confirmed")
    assert await boutique.outcomes() == [(session, "order", False)]


def paid_elsewhere(boutique: Boutique, metadata: Json, amount: int = 1000) -> str:
    """A payment that the shop's own code made in its Stripe account, and that was paid."""
    asked = {"amount": str(amount), "currency": "cop", "metadata": metadata}
    intent = boutique.stripe.state.create_intent(asked)
    boutique.stripe.state.pay(intent["id"])
    return str(intent["id"])


@pytest.mark.parametrize("fault", [None, "down", "timeout_after_acting"])
async def test_a_payment_that_came_after_the_end_is_given_back_at_stripe(boutique: Boutique, fault: str | None) -> None:
    buyer, held = await boutique.hold(stock=1)
    await buyer.cancel(held["id"])
    await boutique.system.admin.execute(
        "UPDATE products SET available = false WHERE tenant_id = %s", (boutique.tenant,)
    )
    payment = paid_elsewhere(boutique, {"holdfast_checkout": held["id"]}, held["total"])
    boutique.stripe.faults = {"refunds": fault} if fault else {}
    answers = await boutique.stripe.send_all(boutique.system.http, boutique.tenant)
    assert {answer.status_code for answer in answers} == {200}
    await asyncio.sleep(0.5 if fault else 0)
    boutique.stripe.faults = {}
    await buyer.until_refunded(held["id"], payment, seconds=20)
    [refund] = boutique.stripe.state.refunds.values()
    assert (refund["payment_intent"], refund["amount"]) == (payment, held["total"])
    assert refund["metadata"]["holdfast_refund"].endswith(payment)


async def test_a_payment_of_another_shops_is_given_back_and_flagged(boutique: Boutique) -> None:
    payment = paid_elsewhere(boutique, {"holdfast_tenant": "other", "holdfast_checkout": secrets.token_hex(8)})
    answers = await boutique.stripe.send_all(boutique.system.http, boutique.tenant)
    assert {answer.status_code for answer in answers} == {200}
    deadline = time.monotonic() + 10
    while not boutique.stripe.state.refunds:
        assert time.monotonic() < deadline, "it was not given back"
        await asyncio.sleep(0.05)
    await boutique.system.end_well()
    assert await boutique.outcomes() == [(payment, "refund", True)]


async def test_what_the_shop_takes_elsewhere_in_its_account_is_left_alone(boutique: Boutique) -> None:
    paid_elsewhere(boutique, {"order": "7"})
    answers = await boutique.stripe.send_all(boutique.system.http, boutique.tenant)
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "ignored")] * 2
    assert await boutique.stored() == []
    assert boutique.stripe.state.refunds == {}


async def test_a_refund_made_at_stripe_by_hand_is_told_of_the_session(boutique: Boutique) -> None:
    buyer, held = await boutique.hold()
    session = (await boutique.start(buyer, held, return_url=SHOP))["payment_id"]
    boutique.stripe.state.pay(session)
    await boutique.stripe.send_all(boutique.system.http, boutique.tenant)
    await buyer.until(held["id"], "confirmed")
    [charge] = boutique.stripe.state.charges.values()
    event = boutique.stripe.state.tell("charge.refunded", charge)
    boutique.stripe.faults = {"sessions:list": "down"}
    assert (await boutique.send(event)).status_code == 503, "Stripe sends it again"
    boutique.stripe.faults = {}
    assert (await boutique.send(event)).status_code == 200
    assert (await boutique.stored())[-1] == (session, "refunded")


async def test_a_hold_that_ends_with_an_open_payment_ends_it_at_stripe(system: System, boutique: Boutique) -> None:
    await system.admin.execute("UPDATE tenants SET hold_seconds = 2 WHERE id = %s", (boutique.tenant,))
    await system.admin.execute("UPDATE tenants SET auto_extend = false WHERE id = %s", (boutique.tenant,))
    buyer, held = await boutique.hold()
    payment = (await boutique.start(buyer, held))["payment_id"]
    await buyer.until(held["id"], "expired", seconds=15)
    assert boutique.stripe.state.intents[payment]["status"] == "canceled"
    with pytest.raises(Exception, match="unexpected_state"):
        boutique.stripe.state.pay(payment)


async def test_a_shop_that_has_set_nothing_is_told_what_to_set(system: System) -> None:
    tenant = await shop.make_tenant(system.admin, f"bare-{secrets.token_hex(4)}")
    buyer = system.buyer(tenant)
    held = await buyer.hold((await system.product(tenant=tenant), 1))
    for gateway, what in (("stripe", "gateway/stripe/api-key"), ("standard", "gateway/standard/url")):
        answer = await buyer.start_payment(held["id"], {"gateway": gateway})
        assert (answer.status_code, code(answer)) == (409, "gateway_not_configured")
        assert what in answer.json()["detail"]
        webhook = await system.http.post(f"/v1/webhooks/{tenant}/{gateway}", content=b"{}")
        assert (webhook.status_code, code(webhook)) == (404, "not_found")
        unknown = await system.http.post(f"/v1/webhooks/nobody/{gateway}", content=b"{}")
        assert (unknown.status_code, code(unknown)) == (404, "not_found")


@pytest.mark.parametrize(
    ("name", "secret", "says"),
    [
        ("standard/url", "https://10.0.0.1", "public"),
        ("standard/url", "http://gateway.example.com", "https"),
        ("stripe/api-key", "pk_live_51abcdefghij", "sk_live_"),
        ("stripe/webhooks", "nonsense", "whsec_"),
    ],
)
async def test_what_cannot_be_a_secret_is_refused_with_why(
    boutique: Boutique, name: str, secret: str, says: str
) -> None:
    answer = await boutique.set(f"gateway/{name}", secret)
    assert (answer.status_code, code(answer)) == (422, "invalid")
    assert says in answer.text
    assert secret not in answer.text


async def test_a_checkout_paid_at_a_generic_gateway_becomes_an_order(boutique: Boutique) -> None:
    buyer, held = await boutique.hold()
    started = await boutique.start(buyer, held, "standard", return_url=SHOP)
    payment = started["payment_id"]
    assert started["url"] == f"{boutique.system.gateway.url}/pay/{payment}"
    boutique.system.unmatched.add(payment)  # To the sandbox gateway itself it is no payment of its own shops.
    paid = await boutique.system.gateway.pay(payment, drop=True)
    answer = await tell(boutique, captured(paid))
    assert (answer.status_code, answer.json()["status"]) == (200, "to_checkout")
    await buyer.until(held["id"], "confirmed")
    assert await boutique.outcomes() == [(payment, "order", False)]


def captured(payment: Json, **changes: Any) -> Json:
    """The event with which a generic gateway tells of a capture."""
    data = {name: payment[name] for name in ("checkout_id", "tenant", "amount", "currency")}
    now = datetime.now(UTC).isoformat()
    whole = {"payment_id": payment["id"], **data, **changes}
    return {"id": f"evt_{secrets.token_hex(8)}", "type": "payment.captured", "created_at": now, "data": whole}


def standard_headers(body: str, event_id: str, secret: str = OWN, at: float | None = None) -> dict[str, str]:
    when = datetime.fromtimestamp(int(time.time() if at is None else at), UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, when, body),
    }


async def tell(boutique: Boutique, event: Json, **more: Any) -> httpx.Response:
    body = json.dumps(event)
    headers = standard_headers(body, event["id"], **more)
    return await boutique.system.http.post(
        f"/v1/webhooks/{boutique.tenant}/standard", content=body.encode(), headers=headers
    )


A_PAYMENT: Json = {"id": "pay_1", "checkout_id": None, "amount": 700, "currency": "COP"}
Making = Callable[[Boutique, float | None, str | None], tuple[bytes, dict[str, str], str]]


def of_stripe(
    boutique: Boutique, at: float | None = None, secret: str | None = None
) -> tuple[bytes, dict[str, str], str]:
    """(body, headers, the header to attack) of an event that says of a payment that it was made."""
    asked = {"amount": "700", "currency": "cop", "metadata": {"holdfast_checkout": "none"}}
    intent = boutique.stripe.state.create_intent(asked)
    body = json.dumps(boutique.stripe.state.tell("payment_intent.processing", intent))
    return body.encode(), {"stripe-signature": signed(body, secret or SECRET, at)}, "stripe-signature"


def of_standard(
    boutique: Boutique, at: float | None = None, secret: str | None = None
) -> tuple[bytes, dict[str, str], str]:
    """Likewise."""
    event = captured({**A_PAYMENT, "tenant": boutique.tenant}) | {"type": "payment.processing"}
    body = json.dumps(event)
    return body.encode(), standard_headers(body, event["id"], secret or OWN, at), "webhook-signature"


MAKING: list[tuple[str, Making]] = [("stripe", of_stripe), ("standard", of_standard)]
both = pytest.mark.parametrize(("gateway", "make"), MAKING, ids=[name for name, _ in MAKING])


async def post_raw(boutique: Boutique, gateway: str, body: bytes, headers: dict[str, Any]) -> httpx.Response:
    return await boutique.system.http.post(f"/v1/webhooks/{boutique.tenant}/{gateway}", content=body, headers=headers)


@both
async def test_a_flipped_bit_anywhere_is_a_401_that_stores_nothing(
    boutique: Boutique, gateway: str, make: Making
) -> None:
    """Each bit is tried in the adapters' own tests; here some of the body and of each header, over HTTP."""
    body, headers, _ = make(boutique, None, None)
    for position in range(0, len(body) * 8, 7 * 8 + 1):
        flipped = bytearray(body)
        flipped[position // 8] ^= 1 << position % 8
        answer = await post_raw(boutique, gateway, bytes(flipped), headers)
        assert (answer.status_code, code(answer)) == (401, "invalid_signature")
    for name, text in headers.items():
        for position in range(0, len(text) * 8, 7):
            flipped = bytearray(text.encode())
            flipped[position // 8] ^= 1 << position % 8
            if flipped[position // 8] < 32 or flipped[position // 8] == 127:  # No header may have it; see HOSTILE.
                continue
            answer = await post_raw(boutique, gateway, body, headers | {name: bytes(flipped)})
            assert answer.status_code == 401, bytes(flipped)
    assert await boutique.stored() == []
    assert (await post_raw(boutique, gateway, body, headers)).status_code == 200


@both
@pytest.mark.parametrize(("seconds", "status"), [(-299, 200), (-301, 401), (299, 200), (301, 401)])
async def test_a_time_up_to_five_minutes_away_is_taken_and_no_other(
    boutique: Boutique, gateway: str, make: Making, seconds: int, status: int
) -> None:
    # The clock is the API's own: what is 299 s old when it is sent must not be 301 s old when it comes.
    at = time.time() + seconds + (0.5 if seconds > 0 else 0)
    body, headers, _ = make(boutique, int(at) + (1 if seconds == 301 else 0), None)
    answer = await post_raw(boutique, gateway, body, headers)
    assert answer.status_code == status
    assert len(await boutique.stored()) == (status == 200)


@both
async def test_while_a_secret_is_replaced_both_are_good_and_then_only_the_new_one(
    boutique: Boutique, gateway: str, make: Making
) -> None:
    new = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    old = SECRET if gateway == "stripe" else OWN
    name = f"gateway/{gateway}/webhooks"

    async def status(secret: str) -> int:
        body, headers, _ = make(boutique, None, secret)
        return (await post_raw(boutique, gateway, body, headers)).status_code

    assert (await status(old), await status(new)) == (200, 401)
    assert (await boutique.set(name, f"{new} {old}")).status_code == 204
    assert (await status(old), await status(new)) == (200, 200)
    assert (await boutique.set(name, new)).status_code == 204
    assert (await status(old), await status(new)) == (401, 200)


@both
async def test_a_webhook_overheard_at_one_shop_is_a_401_at_another(
    boutique: Boutique, gateway: str, make: Making
) -> None:
    tenant = await shop.make_tenant(boutique.system.admin, f"rival-{secrets.token_hex(4)}")
    rival = Boutique(boutique.system, tenant, boutique.stripe, boutique.system.buyer(tenant, "boss", Scope.ADMIN))
    own = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    assert (await rival.set(f"gateway/{gateway}/webhooks", own)).status_code == 204
    body, headers, _ = make(boutique, None, None)
    answer = await post_raw(rival, gateway, body, headers)
    assert (answer.status_code, code(answer)) == (401, "invalid_signature")
    assert await rival.stored() == []


HOSTILE = [
    b"", b" ", b",", b"=", b"t=", b"v1", b"v1,", b"t=1,v1=", b"\xff\xfe\xfd", "señal".encode("latin-1"),
    "señal".encode(), b"\xf0\x9f\x92\xb8", b"v1," * 1000, b"t=1," * 1000, b"x" * 16_000, b"t=" + b"9" * 400,
    b"t=-1,v1=aa", b"t=1e9,v1=aa", b"null", b"{}", b"\"", b"%00", b"\\x00", b"v1,\xc2\xa0", b"t=1\tv1=2", b"a\x0bb",
    b"a\x00b", b"\x7f", b"v1,AAAA v1,BBBB\x00",
]  # fmt: skip


@both
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_signature_header_of_any_bytes_is_refused_and_nothing_stored(
    boutique: Boutique, gateway: str, make: Making, value: bytes
) -> None:
    """Straight to the socket: a client library would refuse to send some of these."""
    body, headers, attacked = make(boutique, None, None)
    lines = [f"POST /v1/webhooks/{boutique.tenant}/{gateway} HTTP/1.1".encode(), b"host: 127.0.0.1"]
    lines += [f"{name}: {text}".encode() for name, text in headers.items() if name != attacked]
    lines += [attacked.encode() + b": " + value, b"content-length: %d" % len(body), b"connection: close", b"", body]
    reader, writer = await asyncio.open_connection("127.0.0.1", boutique.system.http.base_url.port)
    writer.write(b"\r\n".join(lines))
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    status = answer.split(b" ", 2)[1]
    # What is no HTTP at all (NUL, DEL, other controls) does not reach us: the server answers 400.
    controls = any((byte < 32 and byte != 9) or byte == 127 for byte in value)
    assert status == b"401" or (controls and status == b"400"), answer[:200]
    assert await boutique.stored() == []
