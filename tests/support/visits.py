"""How each route is addressed by a test that is about all of them: whose things it names, and a good body.

A route without an entry here fails tests/e2e/test_isolation.py.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from activities.gateways.sandbox import SANDBOX, SECRET_NAME
from api.tokens import Scope
from domain.ids import EventKey, ProductId, SeatId, TenantId, ZoneId
from tests.support import shop
from tests.support.buyers import Buyer, as_json
from tests.support.gateway import SECRET as GATEWAY_SECRET
from tests.support.routes import Route
from tests.support.system import DEMO, System


@dataclass(frozen=True)
class Venue:
    """An event of the tenant DEMO with a numbered zone of three seats, the last of them blocked."""

    event: EventKey
    numbered: ZoneId
    seats: list[SeatId]

    @property
    def secret(self) -> str:
        """In the names of the event, of its zone and of its row."""
        return f"Secret concert {self.event}"


@dataclass(frozen=True)
class World:
    """What an owner has: a cart, a live hold, an order, and the products of its tenant DEMO."""

    owner: Buyer
    email: str
    """Of the owner, when it is a user."""
    product: ProductId
    """Held, sold and in the cart. Its id exists in no other tenant."""
    spare: ProductId
    """Held by nobody."""
    held: str
    line: int
    """The only one of what is held."""
    paid: str
    order: str
    payment: str
    event: str
    """The gateway's id of the event that told of the payment."""
    cart: str
    venue: Venue
    """Nobody holds anything of it. Its ids exist in no other tenant."""
    paying: str
    """A live hold with a payment that nobody has made yet."""
    open_payment: str
    by_hand: str
    """A payment that was recorded by hand for somebody else of the tenant, and returned by hand as well."""
    webhook: str
    """An endpoint of the tenant, with a delivery that has failed."""
    delivery: str

    @property
    def secrets(self) -> list[str]:
        """What no other buyer of the tenant may ever be shown."""
        return [self.owner.subject, *self._own]

    @property
    def tenant_secrets(self) -> list[str]:
        """What nobody of another tenant may ever be shown. There may be somebody of the same name there."""
        shop = [
            name_of(self.product),
            name_of(self.spare),
            self.venue.secret,
            self.by_hand,
            self.webhook,
            self.delivery,
        ]
        return [*self._own, *shop]

    @property
    def _own(self) -> list[str]:
        return [self.email, self.held, self.paid, self.order, self.payment, self.paying, self.open_payment, self.cart]


@dataclass(frozen=True)
class Visit:
    """A request that does what the route is for, when the owner (or its tenant's administrator) sends it."""

    takes: frozenset[Scope]
    """The scopes of which any one is enough; none: any token will do. What the document says must be this."""
    body: Callable[[World], Any] | None = None
    query: Callable[[World], Mapping[str, Any]] | None = None
    ids: Callable[[World], Mapping[str, Any]] = lambda _: {}
    """What stands in the path, where it is not what `usual_ids` says."""
    own: bool = False
    """Whether it is about the caller's own things only, whatever the path names: then nobody hears 404."""
    effect: bool = True
    """Whether one sees that the owner got through: a GET tells what others may not see, anything else changes rows."""
    before: Callable[[System], Awaitable[None]] | None = None
    """What must be there for it to have an effect."""


def usual_ids(world: World) -> dict[str, Any]:
    """By the names that paths use."""
    placed = {"event_id": world.venue.event, "zone_id": world.venue.numbered, "line_id": world.line}
    event = {"gateway": "sandbox", "payment_event_id": world.event}
    hook = {"webhook_id": world.webhook, "delivery_id": world.delivery}
    return {"checkout_id": world.held, "order_id": world.order, "product_id": world.product, **placed, **event, **hook}


def missing_ids() -> dict[str, Any]:
    """Of things that are nowhere."""
    numbers = dict.fromkeys(("product_id", "event_id", "zone_id", "line_id"), 2**53 - 7)
    texts = {
        "name": "nowhere",
        "payment_id": "nowhere",
        "gateway": "nowhere",
        "payment_event_id": "nowhere",
        "finding_id": "nowhere",
        "step": "mail",
    }
    uuids = {name: str(uuid.uuid4()) for name in ("checkout_id", "order_id", "webhook_id", "delivery_id")}
    return {**uuids, **texts, **numbers}


def a_page(world: World) -> dict[str, Any]:
    """The page of products that begins with the owner's."""
    return {"after": min(world.product, world.spare) - 1}


async def a_cart_to_clean(system: System) -> None:
    """Somebody's cart with a product that is no longer on sale."""
    product, buyer = await a_product(system), system.buyer()
    answer = await system.http.patch("/v1/cart", json={str(product): 1}, headers=dict(buyer.headers))
    assert answer.status_code == 200, answer.text
    await system.admin.execute("UPDATE products SET available = false WHERE id = %s", (product,))


def of_the_gateway(_: World) -> dict[str, Any]:
    """A secret that a tenant may have of its own: here the gateway's real one, so that its webhooks go on to verify."""
    return {"name": SECRET_NAME}


async def room_for_a_webhook(system: System) -> None:
    """A tenant has so many at most, and each world makes one."""
    await system.admin.execute(
        "UPDATE hook_endpoints SET deleted_at = now(), enabled = false, disabled_because = 'asked', secret = NULL,"
        " secret_key_id = NULL WHERE deleted_at IS NULL"
    )


async def a_secret(system: System) -> None:
    """Of the owner's tenant."""
    headers = dict(system.buyer(DEMO, None, Scope.ADMIN).headers)
    body = {"secret": GATEWAY_SECRET}
    answer = await system.http.put(f"/v1/admin/tenant/secrets/{SECRET_NAME}", json=body, headers=headers)
    assert answer.status_code == 204, answer.text


FINDING = "00000000-0000-4000-8000-00000000f1d1"


async def a_finding(system: System) -> None:
    """Of reconciliation, at the owner's tenant: open."""
    await system.admin.execute(
        "INSERT INTO reconciliation_findings (tenant_id, id, gateway, payment_id, kind, detail)"
        " VALUES (%s, %s, 'sandbox', 'p', 'payment_unknown', %s)"
        " ON CONFLICT (tenant_id, id) DO UPDATE SET resolved_at = NULL, resolution = NULL",
        (DEMO, FINDING, '{"gateway": null, "ours": {"outcome": null}}'),
    )


SERIES = "visited"
_ranges = (
    {"first": first, "last": first + 9, "valid_from": "2026-01-01", "valid_until": "2030-12-31", "authorisation": "A"}
    for first in itertools.count(1, 10)
)


def a_series(name: str) -> dict[str, Any]:
    """A new one."""
    return {"name": name, "prefix": f"{name}-"}


async def a_fiscal_series(system: System) -> None:
    """Of the owner's tenant; nobody's orders have numbers of it."""
    headers = dict(system.buyer(DEMO, None, Scope.ADMIN).headers)
    answer = await system.http.post("/v1/admin/fiscal/series", json=a_series(SERIES), headers=headers)
    assert answer.status_code == 201, answer.text


OPEN = {"login", "refreshToken", "openSession", "receiveWebhook", "healthz", "readyz"}
"""The only operations that ask for no token: they give one, carry a secret of their own, or tell nothing."""
ANYONE: frozenset[Scope] = frozenset()
BUYERS = frozenset({Scope.BUYER, Scope.SERVICE})
ADMIN = frozenset({Scope.ADMIN})
ADMINISTRATION = frozenset({Scope.ADMIN, Scope.OPERATOR})
VISITS: dict[str, Visit] = {
    "logout": Visit(ANYONE, own=True),
    "listProducts": Visit(ANYONE, query=a_page),
    "getProduct": Visit(ANYONE),
    "listEvents": Visit(ANYONE, query=lambda world: {"after": world.venue.event - 1}),
    "listZones": Visit(ANYONE),
    "listSeats": Visit(ANYONE),
    "createEvent": Visit(ADMIN, body=lambda _: {"name": "Opera"}),
    "listAdminEvents": Visit(ADMIN, query=lambda world: {"after": world.venue.event - 1}),
    "changeEvent": Visit(ADMIN, body=lambda _: {"venue": "Park"}),
    "createZone": Visit(
        ADMIN,
        body=lambda _: {"name": "Box", "kind": "numbered", "price": 5, "rows": [{"row": "A", "from": 1, "to": 2}]},
    ),
    "changeZone": Visit(ADMIN, body=lambda _: {"price": 7}),
    "blockSeats": Visit(ADMIN, body=lambda world: {"seat_ids": world.venue.seats[:2]}),
    "unblockSeats": Visit(ADMIN, body=lambda world: {"seat_ids": world.venue.seats}),
    "createProduct": Visit(ADMIN, body=lambda _: {"name": "Tea", "price": 5}),
    "listAdminProducts": Visit(ADMIN, query=a_page),
    "getAdminProduct": Visit(ADMIN),
    "changeProduct": Visit(ADMIN, body=lambda _: {"price": 7}),
    "deleteProduct": Visit(ADMIN, ids=lambda world: {"product_id": world.spare}),
    "getTenant": Visit(ADMIN, effect=False),
    "changeTenant": Visit(ADMIN, body=lambda world: {"whatsapp_number": f"+57300{world.product % 10**7:07}"}),
    "listTenantSecrets": Visit(ADMIN, effect=False),
    "putTenantSecret": Visit(ADMIN, ids=of_the_gateway, body=lambda _: {"secret": GATEWAY_SECRET}, own=True),
    "deleteTenantSecret": Visit(ADMIN, ids=of_the_gateway, before=a_secret, own=True),
    "listFiscalSeries": Visit(ADMIN, effect=False),
    "addFiscalSeries": Visit(ADMIN, body=lambda _: a_series(f"s{uuid.uuid4().hex[:12]}-x")),
    "listFiscalRanges": Visit(ADMIN, ids=lambda _: {"name": SERIES}, before=a_fiscal_series, effect=False),
    "addFiscalRange": Visit(
        ADMIN, ids=lambda _: {"name": SERIES}, before=a_fiscal_series, body=lambda _: next(_ranges)
    ),
    "reportFiscalNumbers": Visit(ADMINISTRATION, effect=False),
    "createWebhook": Visit(
        ADMIN,
        body=lambda _: {"url": "https://hooks.example.com/a", "kinds": ["refund.made"]},
        before=room_for_a_webhook,
    ),
    "listWebhooks": Visit(ADMIN),
    "getWebhook": Visit(ADMIN),
    "changeWebhook": Visit(ADMIN, body=lambda world: {"description": f"The warehouse {world.product}"}),
    "deleteWebhook": Visit(ADMIN),
    "rotateWebhookSecret": Visit(ADMIN),
    "testWebhook": Visit(ADMIN),
    "listDeliveries": Visit(ADMIN),
    "replayDelivery": Visit(ADMIN),
    "replayFailedDeliveries": Visit(ADMIN),
    "getCart": Visit(BUYERS),
    "changeCart": Visit(BUYERS, body=lambda world: {str(world.product): 3}),
    "clearCart": Visit(BUYERS),
    "addToCart": Visit(BUYERS, body=lambda world: {"product_id": world.product, "quantity": 1}),
    "removeFromCart": Visit(BUYERS, own=True),
    "startCheckout": Visit(BUYERS, body=lambda world: {"lines": [{"product_id": world.product}]}),
    "getCheckout": Visit(BUYERS),
    "streamCheckout": Visit(BUYERS, query=lambda _: {"follow": False}),
    "createStreamToken": Visit(BUYERS, effect=False),
    "extendCheckout": Visit(BUYERS),
    "addLines": Visit(BUYERS, body=lambda world: {"lines": [{"product_id": world.spare, "metadata": {"a": 1}}]}),
    "removeLine": Visit(BUYERS),
    "startPayment": Visit(BUYERS),
    "endPayment": Visit(
        BUYERS, ids=lambda world: {"checkout_id": world.paying, "payment_id": world.open_payment, "gateway": SANDBOX}
    ),
    "cancelCheckout": Visit(BUYERS),
    "confirmCheckout": Visit(
        BUYERS,
        ids=lambda world: {"checkout_id": world.paid},
        body=lambda world: {"payment_id": world.payment},
        effect=False,  # The webhook has confirmed it already.
    ),
    "listOrders": Visit(BUYERS),
    "getOrder": Visit(BUYERS),
    "getTickets": Visit(BUYERS, effect=False),  # An order without its PDF answers 409.
    "putContact": Visit(BUYERS, body=lambda _: {"name": "Ana", "language": "en"}),
    "getFulfilment": Visit(ADMINISTRATION),
    "replayStep": Visit(ADMINISTRATION, ids=lambda world: {"order_id": world.order, "step": "statistics"}),
    "readSales": Visit(ADMINISTRATION, query=lambda _: {"since": "2026-01-01"}, effect=False),
    "setCartStatus": Visit(ADMINISTRATION, body=lambda world: {"email": world.email, "status": "processing"}),
    "cleanCarts": Visit(ADMINISTRATION, before=a_cart_to_clean),
    "listWebhookEvents": Visit(ADMINISTRATION, query=lambda world: {"payment": world.payment}),
    "getWebhookEvent": Visit(ADMINISTRATION),
    "replayWebhookEvent": Visit(ADMINISTRATION),
    "replayWebhookEvents": Visit(ADMINISTRATION, body=lambda _: {"state": "received", "older_than_seconds": 600}),
    "readReconciliation": Visit(ADMINISTRATION, effect=False),
    "resolveFinding": Visit(
        ADMINISTRATION, ids=lambda _: {"finding_id": FINDING}, body=lambda _: {"note": "as it is"}, before=a_finding
    ),
    "listPayments": Visit(ADMINISTRATION),
    "getPayment": Visit(ADMINISTRATION, ids=lambda world: {"payment_id": world.payment}),
    "refundOrder": Visit(ADMINISTRATION, body=lambda _: {"amount": 1, "reason": "A test"}),
    "returnOrder": Visit(ADMINISTRATION),
    "recordManualPayment": Visit(ADMINISTRATION, body=lambda _: {"name": "Transfer 1", "reason": "A test"}),
    "recordReturnedMoney": Visit(
        ADMINISTRATION,
        ids=lambda world: {"payment_id": world.by_hand},
        body=lambda _: {"name": "Transfer 2"},
        effect=False,  # It was recorded before.
    ),
    "readAudit": Visit(ADMINISTRATION, query=lambda world: {"actor": f"user:{world.owner.subject}"}),
}


async def make_world(system: System, *, anonymous: bool = False) -> World:
    """A new owner, a user or an anonymous session, and its things."""
    product, spare = await a_product(system), await a_product(system)
    name = uuid.uuid4().hex[:12]
    owner = system.buyer(DEMO, await shop.make_user(system.admin, DEMO, name))
    if anonymous:
        owner = await session(system, DEMO)
    paid, held = await owner.hold((product, 1)), await owner.hold((product, 1))
    payment = await system.payment(paid)
    await system.gateway.pay(payment)
    view = await owner.until(paid["id"], "confirmed")
    [told] = await system.gateway.webhooks(payment)
    paying = await owner.hold((product, 1))
    started = await owner.pay(paying["id"])
    await system.gateway.settled(started["payment_id"])
    cart = await system.http.patch("/v1/cart", json={str(product): 2}, headers=dict(owner.headers))
    assert cart.status_code == 200, cart.text
    return World(
        owner, f"{name}@example.com", product, spare, held["id"], held["lines"][0]["id"], paid["id"], view["order_id"],
        payment, told["event_id"], as_json(cart)["id"], await a_venue(system),
        paying["id"], started["payment_id"], await paid_and_returned_by_hand(system, product), *await a_webhook(system),
    )  # fmt: skip


async def a_webhook(system: System) -> tuple[str, str]:
    """An endpoint, and a delivery for it that has failed."""
    hook, delivery = str(uuid.uuid4()), str(uuid.uuid4())
    await system.admin.execute(
        "INSERT INTO hook_endpoints (tenant_id, id, url, kinds, secret, secret_key_id)"
        " VALUES (%s, %s, 'https://hooks.example.com', ARRAY['refund.made'], 'x', 'k1')",
        (DEMO, hook),
    )
    await system.admin.execute(
        "INSERT INTO hook_deliveries (tenant_id, id, endpoint_id, kind, data, at, status, ended_at)"
        " VALUES (%s, %s, %s, 'refund.made', '{}', now(), 'failed', now())",
        (DEMO, delivery, hook),
    )
    return hook, delivery


async def paid_and_returned_by_hand(system: System, product: ProductId) -> str:
    """A payment recorded for somebody's checkout, whose order was refunded, and the money returned by hand."""
    somebody, keeper = system.buyer(), system.buyer(DEMO, None, Scope.OPERATOR)
    held = await somebody.hold((product, 1))
    paid = await keeper.post(f"/v1/ops/checkouts/{held['id']}/manual-payment", {"name": "T", "reason": "A test"}, None)
    assert paid.status_code == 201, paid.text
    order, payment = (await somebody.until(held["id"], "confirmed"))["order_id"], paid.json()["payment_id"]
    refunded = await keeper.post(f"/v1/ops/orders/{order}/refunds", {"reason": "A test"}, None)
    assert refunded.status_code == 201, refunded.text
    returned = await keeper.post(f"/v1/ops/payments/manual/{payment}/refunded", {"name": "T"}, None)
    assert returned.status_code == 200, returned.text
    return str(payment)


async def visit(route: Route, world: World, caller: Buyer | Mapping[str, str], **ids: Any) -> httpx.Response:
    """Send the route's request about the owner's things, as somebody. `ids`: others to stand in the path."""
    how, headers = VISITS[route.operation], dict(caller.headers if isinstance(caller, Buyer) else caller)
    placed = {**usual_ids(world), **how.ids(world), **ids}
    address = re.sub(r"\{([^}]+)\}", lambda match: str(placed[match.group(1)]), route.path)
    return await world.owner.http.request(
        route.method,
        address,
        json=how.body(world) if how.body else None,
        params=dict(how.query(world)) if how.query else None,
        headers={"idempotency-key": uuid.uuid4().hex, **headers},
    )


async def session(system: System, tenant: TenantId) -> Buyer:
    """An anonymous buyer."""
    answer = await system.http.post("/v1/sessions", headers={"host": f"{tenant}.example.com"})
    assert answer.status_code == 201, answer.text
    made = as_json(answer)
    return Buyer(system.http, tenant, made["session_id"], {"authorization": f"Bearer {made['access_token']}"})


async def a_product(system: System) -> ProductId:
    """With an id that no other tenant has, and its name by that id."""
    product, unlikely = await system.product(stock=50), ProductId(10**9 + uuid.uuid4().int % 2**40)
    await system.admin.execute(
        "UPDATE products SET id = %s, name = %s WHERE tenant_id = %s AND id = %s",
        (unlikely, name_of(unlikely), DEMO, product),
    )
    return unlikely


async def a_venue(system: System) -> Venue:
    """With ids that no other tenant has."""
    number = 10**9 + uuid.uuid4().int % 2**40
    venue = Venue(EventKey(number), ZoneId(number), [SeatId(number + place) for place in range(3)])
    values = {"tenant": DEMO, "number": number, "name": venue.secret}
    for statement in (
        "INSERT INTO events (tenant_id, id, name) VALUES (%(tenant)s, %(number)s, %(name)s)",
        "INSERT INTO zones (tenant_id, id, event_id, name, kind, price)"
        " VALUES (%(tenant)s, %(number)s, %(number)s, %(name)s, 'numbered', 1000)",
        "WITH items AS (INSERT INTO stock_items (tenant_id, kind, total, zone_id)"
        " SELECT %(tenant)s, 'seat', CASE WHEN n = 2 THEN 0 ELSE 1 END, %(number)s FROM generate_series(0, 2) n"
        " RETURNING id, total)"
        " INSERT INTO seats (tenant_id, id, zone_id, row_name, rank, number, stock_item_id)"
        " SELECT %(tenant)s, %(number)s + place - 1, %(number)s, %(name)s, 1, place, id"
        " FROM (SELECT id, row_number() OVER (ORDER BY total DESC, id) AS place FROM items) placed",
    ):
        await system.admin.execute(statement, values)
    return venue


def name_of(product: ProductId) -> str:
    return f"Secret recipe {product}"
