"""Row-level security, and the tenant that every function of db/ must be given."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

import db as db_package
from db.audit_reading import AuditFilter
from db.catalogue_admin import NewProduct, ProductChanges
from db.contacts import Contact
from db.database import Database, UnsafeConnection, _refuse_unsafe, app_conninfo
from db.event_admin import EventChanges, NewEvent
from db.hook_endpoints import HookChanges, NewHook
from db.inbox import EventState, StoredEvent, record_event
from db.inbox_reading import EventFilter
from db.keyring import KeyRing
from db.logins import LoginId, NewLogin
from db.manual_payments import NewManualPayment
from db.order_refunds import NewOrderRefund
from db.order_returns import NewReturn
from db.past_overdue import past_overdue_holds
from db.payment_reading import PaymentFilter
from db.payment_starts import PaymentWish
from db.reconciliation import Found
from db.reconciliation_runs import Window
from db.refunds import Owed
from db.reserve import reserve
from db.reserve_together import Statements
from db.settle import settle
from db.unmatched import LooseMoney
from db.zone_admin import NewZone, ZoneChanges
from domain.adjacency import Place
from domain.cart import CartStatus
from domain.checkout_events import HookKind
from domain.disagreements import Kind
from domain.errors import Conflict, MissingTenant
from domain.fiscal import NewRange, NewSeries
from domain.fulfilment import Step, StepRequest, StepStatus, TellRefund
from domain.gateway import GatewayPayment, PaymentEvent, PaymentStatus
from domain.hooks import DeliveryStatus, HookRef
from domain.ids import (
    CheckoutId,
    EventId,
    GatewayName,
    HookDeliveryId,
    OrderId,
    PaymentId,
    ProductId,
    RefundId,
    SeatId,
    TenantId,
    ZoneId,
)
from domain.messages import CheckoutRef, ExtendRequest, Line, LinesRequest, SettleRequest, StartCheckout
from domain.payment_decision import RefundReason
from domain.reconciliation import Counts
from tests.support import shop
from tests.support.checkouts import BUYER, a_capture, a_start, an_event, confirm, expire, opened

NOBODY = TenantId("")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHECKOUT = CheckoutId("00000000-0000-4000-8000-000000000000")
NO_DATABASE = Database("postgresql://nowhere")
"""Not opened: who forgets the tenant must fail before any connection is asked for."""
START = a_start(NOBODY, {ProductId(1): 1})
VALUES: dict[Any, Any] = {
    TenantId: NOBODY,
    CheckoutId: CHECKOUT,
    ProductId: ProductId(1),
    PaymentId: PaymentId("p"),
    GatewayName: GatewayName("sandbox"),
    StartCheckout: START,
    SettleRequest: expire(START.ref),
    ExtendRequest: ExtendRequest(START.ref, "k"),
    LinesRequest: LinesRequest(START.ref, "k", "f"),
    CheckoutRef: START.ref,
    Sequence[DictRow]: [{"product_id": 1, "zone_id": None, "seat_id": None, "quantity": 1, "stock_item_id": None,
                         "free": 0, "fault": "gone"}],
    PaymentEvent: an_event(a_capture(CHECKOUT, 1)),
    GatewayPayment: GatewayPayment(
        GatewayName("sandbox"), PaymentId("p"), CHECKOUT, PaymentStatus.CAPTURED, 1, "COP", 0, None
    ),
    StoredEvent: StoredEvent(
        GatewayName("sandbox"), EventId("e"), PaymentStatus.CAPTURED, PaymentId("p"), CHECKOUT, 1, "COP", NOW,
        EventState.RECEIVED, None, False,
    ),
    EventState: EventState.RECEIVED,
    EventFilter: EventFilter(),
    LooseMoney: LooseMoney(GatewayName("sandbox"), PaymentId("p"), None, 1, "COP"),
    RefundReason: RefundReason.UNMATCHED,
    Owed: Owed(GatewayName("sandbox"), PaymentId("p"), CHECKOUT, 1, "COP", NOW),
    NewOrderRefund: NewOrderRefund(RefundId(CHECKOUT), OrderId(CHECKOUT), 1, "r", "f"),
    NewReturn: NewReturn(OrderId(CHECKOUT), "k", "f"),
    NewManualPayment: NewManualPayment(PaymentId("p"), CHECKOUT, "n", "r", "f"),
    PaymentFilter: PaymentFilter(),
    PaymentWish: PaymentWish(START.ref, BUYER, "k", "f", GatewayName("sandbox")),
    NewSeries: NewSeries("s", "S-"),
    NewRange: NewRange(1, 9, NOW.date(), NOW.date(), "a"),
    NewProduct: NewProduct("x", 1),
    ProductChanges: ProductChanges(),
    Sequence[Line]: [Line(ProductId(1), 1)],
    Contact: Contact(),
    Step: Step.MAIL,
    StepRequest: StepRequest(NOBODY, OrderId(CHECKOUT), Step.MAIL),
    StepStatus: StepStatus.DONE,
    TellRefund: TellRefund(NOBODY, GatewayName("sandbox"), PaymentId("p")),
    date: NOW.date(),
    Sequence[ProductId]: [ProductId(1)],
    Sequence[ZoneId]: [ZoneId(1)],
    Sequence[SeatId]: [SeatId(1)],
    NewEvent: NewEvent("x"),
    EventChanges: EventChanges(),
    NewZone: NewZone("x", 1),
    ZoneChanges: ZoneChanges(),
    bool: True,
    set[ZoneId]: {ZoneId(1)},
    Sequence[Place]: [(1, 1)],
    Statements: lambda _start, _final: [],
    Callable[[], Awaitable[bool]]: None,
    typing.get_type_hints(past_overdue_holds)["work"]: None,
    tuple[type[Conflict], ...]: (),
    Mapping[ProductId, int]: {ProductId(1): 1},
    Mapping[TenantId, Mapping[CheckoutId, int]]: {NOBODY: {CHECKOUT: 0}},
    Mapping[str, Any]: {},
    KeyRing: KeyRing([("k", bytes(32))]),
    CartStatus: CartStatus.AVAILABLE,
    NewHook: NewHook("https://hooks.example.com", [HookKind.REFUND_MADE]),
    HookChanges: HookChanges(),
    HookRef: HookRef(NOBODY, HookDeliveryId(CHECKOUT)),
    DeliveryStatus: DeliveryStatus.FAILED,
    AuditFilter: AuditFilter(),
    NewLogin: NewLogin(LoginId(CHECKOUT), CHECKOUT, 1, 1),
    Sequence[tuple[PaymentId, CheckoutId | None]]: [(PaymentId("p"), None)],
    Sequence[Found]: [],
    Sequence[PaymentId]: [],
    Sequence[str]: [],
    Kind: Kind.PAYMENT_UNKNOWN,
    Window: Window(NOW, NOW),
    Counts: Counts(),
    timedelta: timedelta(0),
    datetime: NOW,
    bytes: b"{}",
    float: 0.0,
    int: 1,
    str: "x",
}  # fmt: skip


MORE_ROWS = (
    "INSERT INTO carts (tenant_id, owner_key) VALUES (%(tenant)s, 'user:u')",
    "INSERT INTO cart_lines (tenant_id, cart_id, product_id, quantity) SELECT tenant_id, id, 1, 1 FROM carts"
    " WHERE tenant_id = %(tenant)s",
    "INSERT INTO audit_log (tenant_id, actor, action, subject) VALUES (%(tenant)s, 'system:test', 'test', 'test:1')",
    "INSERT INTO sessions (tenant_id, id, expires_at) VALUES (%(tenant)s, 's', now())",
    "INSERT INTO logins (tenant_id, id, user_id, expires_at, tokens_until)"
    " SELECT tenant_id, id, id, now(), now() FROM users WHERE tenant_id = %(tenant)s",
    "INSERT INTO refresh_tokens (tenant_id, hash, login_id, expires_at)"
    " SELECT tenant_id, sha256('x'), id, now() FROM logins WHERE tenant_id = %(tenant)s",
    "INSERT INTO events (tenant_id, id, name) VALUES (%(tenant)s, 1, 'Concert')",
    "INSERT INTO zones (tenant_id, id, event_id, name, kind, price)"
    " VALUES (%(tenant)s, 1, 1, 'Stalls', 'numbered', 1000)",
    "INSERT INTO seats (tenant_id, id, zone_id, row_name, rank, number, stock_item_id)"
    " SELECT tenant_id, 1, 1, 'A', 1, 1, id FROM stock_items WHERE tenant_id = %(tenant)s",
    "INSERT INTO tenant_secrets (tenant_id, name, ciphertext, key_id)"
    " VALUES (%(tenant)s, 'gateway/sandbox', 'x', 'k1')",
    "INSERT INTO checkout_changes (tenant_id, checkout_id, request_id, fingerprint, changed_at)"
    " SELECT tenant_id, id, 'k', 'f', now() FROM checkouts WHERE tenant_id = %(tenant)s",
    "INSERT INTO line_metadata (tenant_id, checkout_id, fingerprint, metadata)"
    " SELECT tenant_id, id, 'f', '{}' FROM checkouts WHERE tenant_id = %(tenant)s",
    "INSERT INTO payments (tenant_id, gateway, payment_id, status, amount, currency)"
    " VALUES (%(tenant)s, 'g', 'p', 'created', 1, 'COP')",
    "INSERT INTO payment_starts (tenant_id, checkout_id, request_id, fingerprint, gateway, amount, currency)"
    " SELECT tenant_id, id, 'k', 'f', 'g', 1, 'COP' FROM checkouts WHERE tenant_id = %(tenant)s",
    "INSERT INTO order_refunds (tenant_id, id, order_id, gateway, payment_id, amount, currency, reason, actor,"
    " fingerprint) SELECT tenant_id, id, id, gateway, payment_id, 1, currency, 'r', 'a', 'f' FROM orders"
    " WHERE tenant_id = %(tenant)s",
    "UPDATE orders SET refunded = 1 WHERE tenant_id = %(tenant)s",
    "INSERT INTO manual_payments (tenant_id, payment_id, checkout_id, amount, currency, name, reason, actor,"
    " fingerprint) SELECT tenant_id, 'm', id, 1, 'COP', 'n', 'r', 'a', 'f' FROM checkouts"
    " WHERE tenant_id = %(tenant)s",
    "INSERT INTO reconciliation_runs (tenant_id, id, gateway, actor, since, until, reached, continues)"
    " VALUES (%(tenant)s, gen_random_uuid(), 'g', 'a', now(), now(), now(), true)",
    "INSERT INTO reconciliation_findings (tenant_id, gateway, payment_id, kind, detail)"
    " VALUES (%(tenant)s, 'g', 'p', 'k', '{}')",
    "INSERT INTO checkout_contacts (tenant_id, checkout_id) SELECT tenant_id, id FROM checkouts"
    " WHERE tenant_id = %(tenant)s",
    "INSERT INTO fulfilment_steps (tenant_id, order_id, step) SELECT tenant_id, id, 'pdf' FROM orders"
    " WHERE tenant_id = %(tenant)s",
    "INSERT INTO order_documents (tenant_id, order_id, kind, content, pages) SELECT tenant_id, id, 'tickets', 'x', 1"
    " FROM orders WHERE tenant_id = %(tenant)s",
    "INSERT INTO refund_notices (tenant_id, gateway, payment_id) VALUES (%(tenant)s, 'g', 'p')",
    "WITH counted AS (UPDATE orders SET counted_at = clock_timestamp() WHERE tenant_id = %(tenant)s RETURNING *)"
    " INSERT INTO daily_sales (tenant_id, day, currency, orders, units, revenue)"
    " SELECT tenant_id, (created_at AT TIME ZONE 'UTC')::date, currency, 1, 1, total FROM counted",
    "INSERT INTO daily_item_sales (tenant_id, day, currency, kind, item_id, units, revenue)"
    " VALUES (%(tenant)s, '2026-01-01', 'COP', 'product', 1, 1, 1)",
    "INSERT INTO revocations (tenant_id, id, reason, expires_at) VALUES (%(tenant)s, 'jti', 'test', now())",
    "INSERT INTO hook_endpoints (tenant_id, url, kinds, secret, secret_key_id)"
    " VALUES (%(tenant)s, 'https://hooks.example.com', ARRAY['refund.made'], 'x', 'k1')",
    "INSERT INTO hook_deliveries (tenant_id, endpoint_id, kind, data, at)"
    " SELECT tenant_id, id, 'refund.made', '{}', now() FROM hook_endpoints WHERE tenant_id = %(tenant)s",
    "INSERT INTO tax_rates (tenant_id, tax_class, valid_from, starts_at, rate_basis_points, included)"
    " VALUES (%(tenant)s, 'IVA', now(), now(), 1900, true)",
    "INSERT INTO fiscal_series (tenant_id, name, prefix) VALUES (%(tenant)s, 's', 'S-')",
    "INSERT INTO fiscal_ranges (tenant_id, series, first_number, last_number, valid_from, valid_until, starts_at,"
    " ends_at, authorisation) VALUES (%(tenant)s, 's', 1, 9, now(), now(), now(), now() + interval '1 day', 'a')",
)
"""A row for each table that the functions above do not fill."""
DELETABLE = {"carts", "cart_lines", "products", "tax_rates", "tenant_secrets"}
"""What the application may delete; of everything else, only the admin role's purge."""


def functions() -> list[Callable[..., Any]]:
    """Every public coroutine function of db/ that takes a Database."""
    found = []
    for module_info in pkgutil.iter_modules(db_package.__path__, "db."):
        module = importlib.import_module(module_info.name)
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and Database in typing.get_type_hints(function).values():
                found.append(function)
    return found


def arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """A value for each parameter without a default, by its annotation; a new type must be named in VALUES."""
    hints = typing.get_type_hints(function)
    required = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    return {name: _value(hints[name]) for name in required if hints[name] is not Database}


def _value(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType) and type(None) in typing.get_args(hint):
        return None
    if hint not in VALUES and hasattr(hint, "__supertype__"):
        return hint(_value(hint.__supertype__))
    return VALUES[hint]


def test_the_enumeration_sees_the_functions_that_are_known_to_be_there() -> None:
    names = {function.__name__ for function in functions()}
    assert names >= {"reserve", "settle", "extend", "read_checkout", "record_event", "refund_owed", "list_orders"}
    assert len(names) >= 18


@pytest.mark.parametrize("function", functions(), ids=lambda function: f"{function.__module__}.{function.__name__}")
@pytest.mark.parametrize("tenant", ["", "  ", None])
async def test_without_a_tenant_every_function_fails_loudly(function: Callable[..., Any], tenant: Any) -> None:
    given = arguments(function)
    given = {name: replace(value, tenant=tenant) if value is START else value for name, value in given.items()}
    given = {name: tenant if name == "tenant" else value for name, value in given.items()}
    with pytest.raises(MissingTenant):
        await function(NO_DATABASE, **given)


@pytest.fixture
async def two_tenants(db: Database, admin: shop.Connection) -> list[TenantId]:
    """Each with a row in every table."""
    tenants = []
    for name in ("alpha", "beta"):
        tenant = await shop.make_tenant(admin, name)
        await shop.make_user(admin, tenant)
        start = a_start(tenant, {await shop.make_product(admin, tenant): 1})
        await reserve(db, start)
        capture = a_capture(start.checkout_id, 1000)
        await record_event(db, tenant, an_event(capture), b"{}")
        await settle(db, confirm(start.ref, capture))
        await admin.execute(
            "INSERT INTO checkout_extensions SELECT tenant_id, id, 'k', expires_at, expires_at, expires_at"
            " FROM checkouts WHERE tenant_id = %s",
            (tenant,),
        )
        for statement in MORE_ROWS:
            await admin.execute(statement, {"tenant": tenant})
        tenants.append(tenant)
    return tenants


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection of the application's role, for hand-written SQL."""
    async with await psycopg.AsyncConnection.connect(app_conninfo(database_url), autocommit=True) as connection:
        yield connection


async def tables(admin: shop.Connection) -> list[str]:
    cursor = await admin.execute(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )
    return [name for (name,) in await cursor.fetchall()]


async def see(app: psycopg.AsyncConnection[Any], table: str) -> set[str]:
    column = "id" if table == "tenants" else "tenant_id"
    return {tenant for (tenant,) in await (await app.execute(f"SELECT {column} FROM {table}")).fetchall()}


@pytest.mark.usefixtures("two_tenants")
@pytest.mark.parametrize("bound", [None, ""])
async def test_hand_written_sql_without_a_tenant_sees_and_writes_nothing(
    admin: shop.Connection, app: psycopg.AsyncConnection[Any], bound: str | None
) -> None:
    if bound is not None:
        await app.execute("SELECT set_config('app.tenant', %s, false)", (bound,))
    every = await tables(admin)
    assert len(every) >= 11
    for table in every:
        assert await see(app, table) == set(), table
    assert (await app.execute("UPDATE stock_items SET total = total + 1")).rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        await app.execute("INSERT INTO stock_items (tenant_id, kind, total) VALUES ('alpha', 'product', 1)")


@pytest.mark.usefixtures("two_tenants")
async def test_hand_written_sql_with_a_tenant_sees_and_writes_nothing_of_another(
    admin: shop.Connection, app: psycopg.AsyncConnection[Any]
) -> None:
    await app.execute("SELECT set_config('app.tenant', 'alpha', false)")
    for table in await tables(admin):
        assert await see(app, table) == {"alpha"}, table
    assert (await app.execute("UPDATE stock_items SET total = total + 1 WHERE tenant_id = 'beta'")).rowcount == 0
    for statement in (
        "INSERT INTO stock_items (tenant_id, kind, total) VALUES ('beta', 'product', 1)",
        "UPDATE stock_items SET tenant_id = 'beta'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await app.execute(statement)


async def test_the_applications_role_owns_nothing_and_deletes_only_carts_and_products(
    admin: shop.Connection, app: psycopg.AsyncConnection[Any]
) -> None:
    for table in await tables(admin):
        forbidden = ["TRUNCATE {}", "ALTER TABLE {} DISABLE ROW LEVEL SECURITY"]
        for statement in [*forbidden, *(["DELETE FROM {}"] if table not in DELETABLE else [])]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await app.execute(statement.format(table))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await app.execute("UPDATE audit_log SET actor = 'somebody else'")
    cursor = await admin.execute(
        "SELECT count(*) FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = 'holdfast_app')"
    )
    assert await cursor.fetchone() == (0,)


async def test_every_table_with_a_tenant_is_protected(admin: shop.Connection) -> None:
    cursor = await admin.execute(
        "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
        " AND c.relname <> 'alembic_version' AND NOT (c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p"
        " WHERE p.polrelid = c.oid))"
    )
    assert await cursor.fetchall() == []


@pytest.mark.parametrize("unsafe", ["SET ROLE NONE", "SET default_transaction_isolation = 'repeatable read'"])
async def test_a_connection_that_row_level_security_or_our_isolation_does_not_bind_is_refused(
    database_url: str, unsafe: str
) -> None:
    async with await psycopg.AsyncConnection[DictRow].connect(
        app_conninfo(database_url), row_factory=dict_row, autocommit=True
    ) as connection:
        await _refuse_unsafe(connection)
        await connection.execute(unsafe)
        with pytest.raises(UnsafeConnection):
            await _refuse_unsafe(connection)


async def test_a_transactions_tenant_does_not_outlive_it(database_url: str, two_tenants: list[TenantId]) -> None:
    async with opened(database_url, size=1) as db:
        for tenant in two_tenants:
            [rows] = await db.run(tenant, ("SELECT DISTINCT tenant_id FROM orders", {}))
            assert rows == [{"tenant_id": tenant}]
        async with db._pool.connection() as connection:
            assert await (await connection.execute("SELECT tenant_id FROM orders")).fetchall() == []
