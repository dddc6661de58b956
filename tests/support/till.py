"""A worker on real PostgreSQL and real Temporal, with a gateway that a test speaks for; and a shop that uses it.

The shop starts and asks checkouts through the API's own engine, and hands over webhooks as the webhook route does.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

import worker
from activities.closing import Closing
from activities.delivery import Delivery, Handed
from activities.fulfilment.starting import Fulfilling
from activities.repair import Repair
from api.engine import Engine, Outlook
from api.fair_places import FairPlaces
from api.paying import Paying
from db.database import Database
from db.inbox import record_event
from db.payment_starts import PaymentWish
from domain.errors import GatewayRefused, GatewayUnavailable
from domain.gateway import (
    GatewayPayment,
    PaymentEvent,
    PaymentStatus,
    PaymentToStart,
    RefundResult,
    RefundStatus,
    StartedPayment,
)
from domain.ids import CheckoutId, LineId, PaymentId, ProductId, TenantId
from domain.messages import (
    Answered,
    CancelUpdate,
    Capture,
    CheckoutResult,
    ConfirmUpdate,
    ExtendUpdate,
    Line,
    LinesUpdate,
    StartCheckout,
    Started,
)
from domain.naming import (
    CANCEL_UPDATE,
    CONFIRM_UPDATE,
    EXTEND_UPDATE,
    LINES_UPDATE,
    checkout_workflow_id,
    late_payment_workflow_id,
)
from domain.payment_messages import LatePaymentResult
from tests.support import shop
from tests.support.checkouts import SANDBOX, Rows, a_capture, a_start, an_event, opened
from tests.support.faults import Faults
from tests.support.fulfilment import NearRenderer, Pigeonhole, near_fulfilment
from tests.support.waiting import eventually

TASK_QUEUE = "tests"
IDENTITY = "holdfast-test"
"""Of clients and workers: histories must not tell of the machine they were recorded on."""
FINGERPRINT = "f" * 43
PATIENCE = timedelta(seconds=30)
"""How long a test waits for a run to end."""


@dataclass
class FakeGateway:
    """A gateway as the interface has it, whose payments and failures a test sets."""

    payments: dict[PaymentId, GatewayPayment] = field(default_factory=dict)
    refunds: dict[str, RefundResult] = field(default_factory=dict)
    """What was given back, by idempotency key."""
    starts: dict[str, PaymentId] = field(default_factory=dict)
    """What was started, by idempotency key."""
    can_expire: bool = True
    refuses_starts: bool = False
    asked: int = 0
    down: bool = False
    refuses_refunds: bool = False
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: it keeps those who ask waiting."""

    def __post_init__(self) -> None:
        self.answering.set()

    def has(self, capture: Capture, tenant: str, status: PaymentStatus = PaymentStatus.CAPTURED) -> None:
        """Let it know the payment."""
        self.payments[capture.payment_id] = GatewayPayment(
            SANDBOX, capture.payment_id, capture.checkout_id, status, capture.amount, capture.currency, 0, tenant
        )

    def stands(self, payment_id: PaymentId, status: PaymentStatus) -> None:
        """Let the payment stand so, without a word to us."""
        self.payments[payment_id] = replace(self.payments[payment_id], status=status)

    def status(self, payment_id: PaymentId) -> PaymentStatus:
        """How the payment stands."""
        return self.payments[payment_id].status

    async def fetch(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """As the interface says."""
        self.asked += 1
        await self.answering.wait()
        if self.down:
            raise GatewayUnavailable
        return self.payments.get(payment_id)

    async def start(self, tenant: TenantId, payment: PaymentToStart) -> StartedPayment:
        """As the interface says."""
        self.asked += 1
        await self.answering.wait()
        if self.down:
            raise GatewayUnavailable
        if self.refuses_starts:
            raise GatewayRefused
        payment_id = self.starts.setdefault(payment.idempotency_key, PaymentId(f"pay_{len(self.starts):024x}"))
        self.payments.setdefault(
            payment_id,
            GatewayPayment(
                SANDBOX, payment_id, payment.checkout_id, PaymentStatus.CREATED, payment.amount, payment.currency, 0,
                tenant,
            ),
        )  # fmt: skip
        return StartedPayment(payment_id, self.payments[payment_id].status, f"https://pay.example.com/{payment_id}")

    async def expire(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        """As the interface says."""
        self.asked += 1
        await self.answering.wait()
        if self.down:
            raise GatewayUnavailable
        found = self.payments.get(payment_id)
        if found is not None and found.status in (PaymentStatus.CREATED, PaymentStatus.FAILED) and self.can_expire:
            self.payments[payment_id] = found = replace(found, status=PaymentStatus.EXPIRED)
        return found

    async def refund(self, tenant: TenantId, payment_id: PaymentId, amount: int, idempotency_key: str) -> RefundResult:
        """As the interface says."""
        self.asked += 1
        if self.down:
            raise GatewayUnavailable
        if self.refuses_refunds:
            raise GatewayRefused
        made = RefundResult(f"refund-of-{payment_id}", RefundStatus.SUCCEEDED, amount)
        return self.refunds.setdefault(idempotency_key, made)

    async def parse_webhook(
        self, tenant: TenantId, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> PaymentEvent:
        """Not what these tests are about."""
        raise NotImplementedError


@dataclass(frozen=True)
class Held:
    """A start and its answer."""

    start: StartCheckout
    started: Started

    @property
    def id(self) -> CheckoutId:
        return self.start.checkout_id

    @property
    def total(self) -> int:
        return self.started.total


@dataclass
class Till:
    """What a test of a checkout's run needs."""

    client: Client
    db: Database
    rows: Rows
    admin: shop.Connection
    tenant: TenantId
    products: list[ProductId]
    gateway: FakeGateway
    faults: Faults
    delivery: Delivery
    repair: Repair
    engine: Engine
    mail: Pigeonhole = field(default_factory=Pigeonhole)
    """Where e-mails go."""
    renderer: NearRenderer = field(default_factory=NearRenderer)
    """What makes tickets."""

    async def start(self, start: StartCheckout | None = None, **changes: Any) -> Held:
        """Start a checkout of one unit, unless told otherwise, and wait for its reserve."""
        start = start or a_start(self.tenant, {self.products[0]: 1}, **changes)
        outlook = Outlook(start.lines, 1000 * sum(line.quantity for line in start.lines), "COP", datetime.now(UTC))
        return Held(start, await self.engine.start(start, outlook))

    def handle(self, held: Held) -> WorkflowHandle[Any, CheckoutResult]:
        """The checkout's run."""
        workflow_id = checkout_workflow_id(held.start.tenant, held.id)
        return self.client.get_workflow_handle(workflow_id, result_type=CheckoutResult)

    async def result(self, held: Held) -> CheckoutResult:
        """How the run ended."""
        async with asyncio.timeout(PATIENCE.total_seconds()):
            return await self.handle(held).result()

    def late_handle(self, capture: Capture) -> WorkflowHandle[Any, LatePaymentResult]:
        """The payment's own run."""
        workflow_id = late_payment_workflow_id(self.tenant, capture.gateway, capture.payment_id)
        return self.client.get_workflow_handle(workflow_id, result_type=LatePaymentResult)

    async def late_result(self, capture: Capture) -> LatePaymentResult:
        """How the payment's own run ended, once there is one."""
        await eventually(lambda: self._exists(self.late_handle(capture)))
        async with asyncio.timeout(PATIENCE.total_seconds()):
            return await self.late_handle(capture).result()

    async def _exists(self, handle: WorkflowHandle[Any, Any]) -> bool:
        try:
            await handle.describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    def capture(self, held: Held, **changes: Any) -> Capture:
        """A payment of the checkout's total that the gateway has taken."""
        capture = a_capture(held.id, changes.pop("amount", held.total), **changes)
        self.gateway.has(capture, self.tenant)
        return capture

    async def webhook(self, capture: Capture, kind: PaymentStatus = PaymentStatus.CAPTURED) -> Handed:
        """The gateway tells us how the payment stands, and the event is handed over."""
        self.gateway.has(capture, self.tenant, kind)
        stored = await record_event(self.db, self.tenant, an_event(capture, kind=kind), b"{}")
        assert stored is not None
        return await self.delivery.deliver(self.tenant, stored)

    async def pay(self, held: Held, **changes: Any) -> Capture:
        """A payment of the checkout's total, and its webhook."""
        capture = self.capture(held, **changes)
        await self.webhook(capture)
        return capture

    async def start_payment(self, held: Held, key: str | None = None) -> PaymentId:
        """The storefront starts a payment of the checkout's total, as the API does it; nobody has made it yet."""
        gateways: Any = {SANDBOX: self.gateway}
        paying = Paying(self.db, self.engine, self.delivery, Closing(self.db, gateways))
        key = key or uuid.uuid4().hex
        wish = PaymentWish(held.start.ref, held.start.buyer, key, FINGERPRINT, SANDBOX)
        return (await paying.start(wish)).payment_id

    async def confirm(self, held: Held, capture: Capture, *, known: bool = False, key: str | None = None) -> Answered:
        """The storefront says that it was paid; `known`: the webhook told us before."""
        update = ConfirmUpdate(capture.gateway, capture.payment_id, datetime.now(UTC), FINGERPRINT)
        if known:
            update = replace(update, received_at=capture.received_at, amount=capture.amount, currency=capture.currency)
        return await self.ask(held, CONFIRM_UPDATE, update, key)

    async def extend(self, held: Held, key: str | None = None) -> Answered:
        """The storefront asks for more time."""
        return await self.ask(held, EXTEND_UPDATE, ExtendUpdate(key or "extension", FINGERPRINT), key)

    async def lines(self, held: Held, *add: Line, remove: LineId | None = None, key: str | None = None) -> Answered:
        """The storefront adds lines, or takes one out; another request each time, unless the key is an old one."""
        key = key or uuid.uuid4().hex
        return await self.ask(held, LINES_UPDATE, LinesUpdate(key, FINGERPRINT, list(add), remove), key)

    async def cancel(self, held: Held, key: str | None = None) -> Answered:
        """The buyer gives up."""
        return await self.ask(held, CANCEL_UPDATE, CancelUpdate(FINGERPRINT), key)

    async def ask(self, held: Held, name: str, update: Any, key: str | None = None) -> Answered:
        """Ask the run; raises WorkflowUpdateFailedError when it refuses, RPCError when it has ended."""
        answered: Answered = await self.handle(held).execute_update(name, update, id=key, result_type=Answered)
        return answered

    async def end_early(self, held: Held) -> None:
        """Let the hold's end be now, by the row: its run need not know before it asks."""
        await self.rows.end_now(held.start.ref)

    async def is_open(self, held: Held) -> bool:
        """Whether the run still runs."""
        return (await self.handle(held).describe()).status is WorkflowExecutionStatus.RUNNING


@asynccontextmanager
async def a_till(
    database_url: str, temporal_address: str, namespace: str, *, products: int = 1, **tenant: Any
) -> AsyncIterator[Till]:
    """A worker that runs, and the shop of a new tenant; `tenant` as `shop.make_tenant` takes it."""
    faults, gateway = Faults(), FakeGateway()
    client = await Client.connect(temporal_address, namespace=namespace, identity=IDENTITY, interceptors=[faults])
    async with shop.connect(database_url) as admin, opened(database_url) as db:
        name = await shop.make_tenant(admin, **{"late_payments": "refund", **tenant})
        catalogue = [await shop.make_product(admin, name, stock=100) for _ in range(products)]
        delivery = Delivery(db, client, TASK_QUEUE)
        fulfilling = Fulfilling(client, TASK_QUEUE)
        activities = worker.all_activities(db, database_url, client, TASK_QUEUE, {SANDBOX: gateway}, fulfilling)
        mail, renderer = Pigeonhole(), NearRenderer()
        async with (
            near_fulfilment(db, fulfilling, mail, renderer) as fulfilment,
            worker.make_worker(client, TASK_QUEUE, [*activities, *fulfilment]),
            worker.make_fulfilment_worker(client, TASK_QUEUE, fulfilment),
        ):
            yield Till(
                client, db, Rows(admin), admin, name, catalogue, gateway, faults, delivery,
                Repair(db, database_url, delivery, fulfilling),
                Engine(client, TASK_QUEUE, b"k" * 32, FairPlaces(64)),
                mail, renderer,
            )  # fmt: skip
