"""The plans of the hot statements on a big shop: indexes, never a scan of all stock or of all lines ever held."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from db.carts import read_cart, set_quantities
from db.checkout_events import events_after, read_progress
from db.checkouts import read_checkout, read_claimed
from db.database import Database
from db.events import list_seats
from db.extend import extend
from db.fiscal import fill, waiting_series
from db.hook_deliveries import end_delivery, note_failed_try
from db.hook_history import list_deliveries
from db.inbox import (
    EventState,
    StoredEvent,
    events_waiting_for,
    mark_delivered,
    mark_unmatched,
    record_event,
    unsettled_events,
)
from db.inbox_reading import EventFilter, event_with_body, list_events
from db.line_metadata import remember_metadata
from db.lines import change_lines
from db.lines_look import look_before_change
from db.manual_refunds import record_returned_money
from db.open_payments import close_payment, open_payments, payment_of
from db.order_refunds import decide_order_refund, next_order_refund, order_refund_made, order_refunds_owed
from db.order_returns import NewReturn, return_stock
from db.orders import read_order
from db.overdue import overdue_anywhere, overdue_on, overdue_on_cart
from db.payment_reading import PaymentFilter, list_payments, read_payment
from db.payment_starts import PaymentWish, begin_payment, close_start, finish_start
from db.reconciliation import Found, our_side, repair_begun, to_ask, waiting_capture, write_findings
from db.reconciliation_findings import open_findings
from db.reconciliation_runs import next_window
from db.refunds import refunds_owed
from db.replay import take_batch
from db.reserve import reserve
from db.settle import settle
from db.start_look import look_before_start
from db.started import read_started
from db.unmatched import LooseMoney, alert_unmatched, refund_unmatched, waited_out
from domain.checkout import CheckoutStatus
from domain.disagreements import Kind
from domain.gateway import GatewayPayment, PaymentStatus
from domain.hooks import DeliveryStatus, HookRef
from domain.ids import (
    Actor,
    BuyerKey,
    CheckoutId,
    GatewayName,
    HookId,
    LineId,
    PaymentId,
    ProductId,
    SeatId,
    TenantId,
    ZoneId,
)
from domain.messages import ExtendRequest, Line, LinesOutcome, Ruling, StartCheckout
from domain.payment_decision import RefundReason
from tests.support import shop
from tests.support.checkouts import SANDBOX, Rows, a_capture, a_start, an_event, cancel, confirm, expire, opened
from tests.support.lines import adding, removing
from tests.support.plans import looked_over, rows_read
from tests.support.sales import OPERATOR, a_refund, a_sale, a_sale_by_hand

ITEMS, CLOSED, SEATS = 20_000, 25_000, 20_000
RATES, RANGES = 6_000, 6_000
FILL = """
    INSERT INTO tenants (id, name, currency, max_held_lines) VALUES ('big', 'Big', 'COP', 10000);
    INSERT INTO stock_items (tenant_id, id, kind, total, sold)
        SELECT 'big', n, 'product', 1000, CASE WHEN n <= {closed} / 10 THEN 10 ELSE 0 END
        FROM generate_series(1, {items}) n;
    INSERT INTO products (tenant_id, id, stock_item_id, name, price) SELECT 'big', n, n, 'p', 1000
        FROM generate_series(1, {items}) n;
    INSERT INTO events (tenant_id, id, name) VALUES ('big', 1, 'Concert');
    INSERT INTO stock_items (tenant_id, id, kind, total, zone_id)
        SELECT 'big', {items} + n, 'seat', 1, 1 FROM generate_series(1, {seats}) n;
    INSERT INTO stock_items (tenant_id, id, kind, total) VALUES ('big', {items} + {seats} + 1, 'zone', 50000);
    INSERT INTO zones (tenant_id, id, event_id, name, kind, price, stock_item_id) VALUES
        ('big', 1, 1, 'Stalls', 'numbered', 5000, NULL),
        ('big', 2, 1, 'Standing', 'general', 3000, {items} + {seats} + 1);
    INSERT INTO seats (tenant_id, id, zone_id, row_name, rank, number, stock_item_id)
        SELECT 'big', n, 1, 'row ' || n / 100, n / 100, n % 100, {items} + n FROM generate_series(1, {seats}) n;
    INSERT INTO checkouts (tenant_id, id, buyer_key, fingerprint, status, currency, subtotal, total, hold_seconds,
                           extension_seconds, maximum_seconds, held_at, expires_at, ended_at)
        SELECT 'big', ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'user:1', 'f', 'confirmed', 'COP',
               1000, 1000, 900, 900, 3600, now() - interval '1 day', now() - interval '1 day', now() - interval '1 day'
        FROM generate_series(1, {closed}) n;
    INSERT INTO checkout_lines (tenant_id, checkout_id, position, stock_item_id, product_id, quantity, list_price,
                                unit_price, status, locked_at, expires_at)
        SELECT 'big', c.id, 1, 1 + n % ({closed} / 10), 1 + n % ({closed} / 10), 1, 1000, 1000, 'sold', c.held_at,
               c.expires_at
        FROM (SELECT id, held_at, expires_at, row_number() OVER () AS n FROM checkouts) c;
    INSERT INTO orders (tenant_id, id, checkout_id, buyer_key, currency, subtotal, discount, tax, total, gateway,
                        payment_id, created_at)
        SELECT 'big', id, id, 'user:1', 'COP', 1000, 0, 0, 1000, 'sandbox', 'pay-' || id, ended_at FROM checkouts;
    INSERT INTO order_lines (tenant_id, order_id, position, stock_item_id, product_id, name, quantity, list_price,
                             unit_price)
        SELECT 'big', checkout_id, 1, stock_item_id, product_id, 'p', 1, 1000, 1000 FROM checkout_lines;
    INSERT INTO payment_outcomes (tenant_id, gateway, payment_id, checkout_id, kind, order_id, amount, currency,
                                  decided_at)
        SELECT 'big', 'sandbox', payment_id, checkout_id, 'order', id, 1000, 'COP', created_at FROM orders;
    INSERT INTO payment_events (tenant_id, gateway, event_id, kind, payment_id, checkout_id, amount, currency,
                                occurred_at, state, settled_at, body)
        SELECT 'big', 'sandbox', payment_id, 'captured', payment_id, checkout_id, 1000, 'COP', created_at, 'settled',
               created_at, '' FROM orders;
    INSERT INTO payments (tenant_id, gateway, payment_id, checkout_id, status, amount, currency, known_at)
        SELECT 'big', 'sandbox', payment_id, id, 'captured', 1000, 'COP',
               created_at + row_number() OVER () * interval '1 millisecond' FROM orders;
    INSERT INTO payment_starts (tenant_id, checkout_id, request_id, fingerprint, gateway, amount, currency, payment_id)
        SELECT 'big', id, 'k', 'f', 'sandbox', 1000, 'COP', 'old' FROM checkouts;
    INSERT INTO checkout_changes (tenant_id, checkout_id, request_id, fingerprint, changed_at)
        SELECT 'big', id, 'k', 'f', held_at FROM checkouts;
    INSERT INTO line_metadata (tenant_id, checkout_id, fingerprint, metadata)
        SELECT 'big', id, 'f', '{{}}' FROM checkouts;
    INSERT INTO tax_rates (tenant_id, tax_class, valid_from, starts_at, rate_basis_points, included)
        SELECT 'big', 'class ' || n, '2020-01-01', '2020-01-01', 1900, true FROM generate_series(1, {rates}) n;
    UPDATE products SET tax_class = 'class ' || id WHERE id % 120 = 10;
    UPDATE zones SET tax_class = 'class 1';
    INSERT INTO fiscal_series (tenant_id, name, prefix) VALUES ('big', 's', 'S-');
    INSERT INTO fiscal_ranges (tenant_id, series, first_number, last_number, valid_from, valid_until, starts_at,
                               ends_at, authorisation, opened_at)
        SELECT 'big', 's', 1 + n * 1000, 1000 + n * 1000, '2020-01-01', '2999-01-01', '2020-01-01', '2999-01-01', 'a',
               CASE WHEN n <= {closed} / 1000 THEN now() END
        FROM generate_series(0, {ranges} - 1) n;
    UPDATE orders o SET fiscal_status = 'issued', fiscal_series = 's', fiscal_sequence = n, fiscal_number = 'S-' || n,
        fiscal_pending_at = t, fiscal_issued_at = t, fiscal_range_id = r.id
    FROM (SELECT id, n, timestamptz '2026-01-01' + n * interval '1 ms' AS t
          FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM orders) i) numbered
    JOIN fiscal_ranges r ON n BETWEEN r.first_number AND r.last_number
    WHERE o.id = numbered.id;
    UPDATE fiscal_series SET next_number = {closed} + 1, last_at = now(),
        range_id = (SELECT id FROM fiscal_ranges WHERE first_number = {closed} + 1);
    UPDATE tenants SET fiscal_series = 's';
    INSERT INTO checkout_events (tenant_id, checkout_id, seq, kind, data, at)
        SELECT 'big', id, 1, 'confirmed', '{{}}', ended_at FROM checkouts;
    INSERT INTO hook_endpoints (tenant_id, id, url, kinds, secret, secret_key_id)
        VALUES ('big', '00000000-0000-4000-8000-000000000001', 'https://hooks.example.com/',
                ARRAY['order.confirmed', 'hold.cancelled'], 'x', 'k');
    INSERT INTO hook_deliveries (tenant_id, endpoint_id, kind, data, at, status, ended_at)
        SELECT 'big', '00000000-0000-4000-8000-000000000001', 'order.confirmed', '{{}}', ended_at, 'delivered', ended_at
        FROM checkouts;
"""
BIG = TenantId("big")
ASKED = [ProductId(number) for number in range(10, 6000, 120)]
WATCHED = {
    "stock_items": ITEMS + SEATS,
    "products": ITEMS,
    "seats": SEATS,
    "tax_rates": RATES,
    "fiscal_ranges": RANGES,
    **dict.fromkeys(("checkouts", "checkout_lines", "orders", "order_lines"), CLOSED),
    **dict.fromkeys(("payments", "payment_starts", "payment_events", "payment_outcomes"), CLOSED),
    **dict.fromkeys(("checkout_changes", "line_metadata", "checkout_events", "hook_deliveries"), CLOSED),
}
"""The big tables, and the rows they have."""


@pytest.fixture
async def big(admin: shop.Connection) -> None:
    """A shop of 20,000 products with 25,000 sales behind it."""
    await admin.execute(FILL.format(items=ITEMS, closed=CLOSED, seats=SEATS, rates=RATES, ranges=RANGES))
    await looked_over(admin)


async def use_everything(db: Database) -> None:
    """Each hot function, with 50 lines, prepared at its first use."""
    for _ in range(4):
        paid, ended = (a_start(BIG, dict.fromkeys(ASKED, 1)) for _ in range(2))
        await look_before_start(db, BIG, paid.checkout_id, paid.buyer, paid.lines)
        total = (await reserve(db, paid)).total
        capture = a_capture(paid.checkout_id, total)
        event = await record_event(db, BIG, an_event(capture), b"")
        assert event is not None
        await mark_delivered(db, BIG, event, "to_checkout")
        await extend(db, ExtendRequest(paid.ref, "k"))
        await settle(db, expire(paid.ref))
        view, known = await read_claimed(
            db, BIG, paid.checkout_id, capture.gateway, capture.payment_id, buyer=paid.buyer
        )
        assert view is not None
        assert known is not None
        assert (await settle(db, confirm(paid.ref, capture))).status is CheckoutStatus.CONFIRMED
        await settle(db, confirm(paid.ref, a_capture(paid.checkout_id, total)))
        await reserve(db, ended)
        await use_lines(db, ended)
        await pay_for(db, ended)
        await overdue_on(db, BIG, paid.lines)
        await overdue_anywhere(db, BIG, 0)
        assert (await settle(db, cancel(ended.ref))).status is CheckoutStatus.CANCELLED
        await use_seats(db)
        await use_a_cart(db)
        await read_checkout(db, BIG, paid.checkout_id, buyer=None)
        await refunds_owed(db, BIG, older_than_seconds=0)
        await unsettled_events(db, BIG, older_than_seconds=0)
        await use_the_inbox(db, event)
        await watch(db, paid)
    await use_payments(db)
    await use_reconciliation(db)
    await use_numbers(db)


async def watch(db: Database, paid: StartCheckout) -> None:
    """What streams look for, and a page of the webhooks of which one is not delivered yet."""
    progress = await read_progress(db, BIG, paid.checkout_id, 0)
    assert progress is not None
    assert [one.kind.value for one in progress.events] == ["held", "extended", "confirmed", "refund_decided"]
    old = {CheckoutId(f"00000000-0000-4000-8000-{number:012}"): 0 for number in range(1, 101)}
    assert len((await events_after(db, {BIG: old}))[BIG]) == 100
    hook = HookId("00000000-0000-4000-8000-000000000001")
    page = await list_deliveries(db, BIG, hook, limit=50)
    assert len(await list_deliveries(db, BIG, hook, limit=50, before=page[-1].id)) == 50
    ref = HookRef(BIG, page[0].id)
    await note_failed_try(db, ref, "answer", 500, gone=False)
    await end_delivery(db, ref, DeliveryStatus.DELIVERED, answer=200)


async def use_numbers(db: Database) -> None:
    """What the consistency check looks for, with nothing to do and with an order that waits."""
    for _ in range(3):
        assert await waiting_series(db, BIG) == []
        assert await fill(db, BIG, "s") == 0


async def use_reconciliation(db: Database) -> None:
    """A page of the gateway's payments, what was never compared, and what is found."""
    sandbox, payment = GatewayName("sandbox"), PaymentId("")
    for first in range(1, 401, 100):
        checkouts = [CheckoutId(f"00000000-0000-4000-8000-{number:012}") for number in range(first, first + 100)]
        page: list[tuple[PaymentId, CheckoutId | None]] = [(PaymentId(f"pay-{one}"), one) for one in checkouts]
        sides = await our_side(db, BIG, sandbox, page, marks=True)
        assert all(side.ours.outcome is Ruling.ORDER for side in sides.values())
        payment = page[0][0]
    for _ in range(2):
        assert len(await to_ask(db, BIG, sandbox, [], timedelta(0), 10)) == 10
        found = [Found(payment, Kind.AMOUNT_DIFFERS, None, {}, flagged=True)]
        await write_findings(db, BIG, sandbox, found, [], [payment])
        await repair_begun(db, BIG, sandbox, payment, Kind.AMOUNT_DIFFERS)
        assert await waiting_capture(db, BIG, sandbox, payment) is None
        assert len(await open_findings(db, BIG)) == 1
        await next_window(db, BIG, sandbox)


async def use_the_inbox(db: Database, event: StoredEvent) -> None:
    """What a start, the consistency check and operators look up in it."""
    assert event.checkout_id is not None
    await read_started(db, BIG, event.checkout_id, buyer=None)
    await events_waiting_for(db, BIG, event.checkout_id)
    await mark_unmatched(db, BIG, event, "unmatched")
    await alert_unmatched(db, BIG, older_than_seconds=0)
    await waited_out(db, BIG, older_than_seconds=0)
    await refund_unmatched(db, BIG, LooseMoney.of(event), RefundReason.UNMATCHED)
    await take_batch(db, BIG, Actor("cli:x"), EventState.RECEIVED, 0, 100)
    page = await list_events(db, BIG, EventFilter(), limit=50)
    assert len(page) == 50
    for wanted in (
        EventFilter(state=EventState.RECEIVED),
        EventFilter(checkout=event.checkout_id),
        EventFilter(payment=event.payment_id),
        EventFilter(gateway=event.gateway),
    ):
        await list_events(db, BIG, wanted, limit=50, before=page[-1].place)
    assert await event_with_body(db, BIG, event.gateway, event.event_id) is not None


async def use_payments(db: Database) -> None:
    """What operators read and do, on one sale among 25,000 others. A page looks at 2,000 payments at most."""
    sale = await a_sale(db, BIG, dict.fromkeys(ASKED[:3], 2))
    page = await list_payments(db, BIG, PaymentFilter(), limit=50)
    await list_payments(db, BIG, PaymentFilter(status="failed"), limit=50, before=page.last)
    assert len((await list_payments(db, BIG, PaymentFilter(checkout=sale.start.checkout_id), limit=50)).rows) == 1
    assert (await list_payments(db, BIG, PaymentFilter(quarantined=True), limit=50)).rows == []
    assert await read_payment(db, BIG, sale.capture.gateway, sale.capture.payment_id) is not None
    for _ in range(2):
        decided = await decide_order_refund(db, BIG, OPERATOR, a_refund(BIG, sale.order, 1))
        assert await next_order_refund(db, BIG, sale.order) is not None
        await order_refund_made(db, BIG, decided.id, "ref")
    await order_refunds_owed(db, BIG, older_than_seconds=0)
    await return_stock(db, BIG, OPERATOR, NewReturn(sale.order, "k", "f"))
    assert await read_order(db, BIG, sale.order, buyer=None) is not None
    by_hand, payment = await a_sale_by_hand(db, BIG, dict.fromkeys(ASKED[:3], 2))
    await decide_order_refund(db, BIG, OPERATOR, a_refund(BIG, by_hand.order))
    await record_returned_money(db, BIG, OPERATOR, payment.payment_id, None, "Back")


async def use_lines(db: Database, held: StartCheckout) -> None:
    """Lines that are added and taken out, with metadata, and some that are refused."""
    seats = [Line(None, 1, seat_id=SeatId(number)) for number in range(10, SEATS, SEATS // 5)]
    more = adding(held.ref, *seats, Line(None, 2, zone_id=ZoneId(2)), Line(ASKED[1], 1), fingerprint="more")
    await remember_metadata(db, BIG, held.checkout_id, more.fingerprint, '{"1": {"a": 1}}')
    look = await look_before_change(db, held.ref, more.request_id, more.add, buyer=held.buyer)
    assert look is not None
    assert (await change_lines(db, more)).outcome is LinesOutcome.DONE
    assert (await change_lines(db, adding(held.ref, Line(ASKED[2], 10_000)))).outcome is LinesOutcome.REFUSED
    assert (await change_lines(db, adding(held.ref, Line(None, 3, zone_id=ZoneId(1))))).outcome is LinesOutcome.DONE
    line = LineId(look.view.lines[0]["id"])
    assert (await change_lines(db, removing(held.ref, line))).outcome is LinesOutcome.DONE


async def pay_for(db: Database, held: StartCheckout) -> None:
    """Starting one, and asking about it."""
    wish = PaymentWish(held.ref, held.buyer, "k", "f", SANDBOX)
    start = (await begin_payment(db, wish)).start
    assert start is not None
    payment = a_capture(held.checkout_id, start.amount).payment_id
    made = GatewayPayment(
        SANDBOX, payment, held.checkout_id, PaymentStatus.CREATED, start.amount, start.currency, 0, BIG
    )
    await finish_start(db, held.ref, "k", made)
    assert [one.payment_id for one in (await open_payments(db, held.ref)).payments] == [payment]
    assert await payment_of(db, held.ref, SANDBOX, payment)
    assert await read_checkout(db, BIG, held.checkout_id, buyer=held.buyer)
    await close_payment(db, BIG, SANDBOX, payment, made)
    await close_start(db, held.ref, "k")


async def use_seats(db: Database) -> None:
    """A mixed checkout."""
    lines = [Line(None, 1, seat_id=SeatId(number)) for number in range(10, SEATS, SEATS // 40)]
    mixed = replace(a_start(BIG, {ASKED[0]: 1}), lines=[Line(ASKED[1], 1), Line(None, 2, zone_id=ZoneId(2)), *lines])
    await look_before_start(db, BIG, mixed.checkout_id, mixed.buyer, mixed.lines)
    assert (await reserve(db, mixed)).status is CheckoutStatus.HELD
    await overdue_on(db, BIG, mixed.lines)
    await settle(db, cancel(mixed.ref))
    await use_a_zone(db)


async def use_a_zone(db: Database) -> None:
    """Seats together, and what buyers see of the zone. Counting its free seats reads their index only."""
    both = replace(a_start(BIG, {}), lines=[Line(None, 4, zone_id=ZoneId(1)), Line(ASKED[0], 1)])
    await look_before_start(db, BIG, both.checkout_id, both.buyer, both.lines)
    assert (await reserve(db, both)).status is CheckoutStatus.HELD
    seen = await list_seats(db, BIG, ZoneId(1), SeatId(1_000), 500)
    assert seen is not None
    assert len(seen.seats) == 500
    await settle(db, cancel(both.ref))


async def use_a_cart(db: Database) -> None:
    """A checkout from a cart of 50 lines."""
    buyer = BuyerKey("user:with-a-cart")
    await set_quantities(db, BIG, buyer, dict.fromkeys(ASKED, 1))
    await read_cart(db, BIG, buyer)
    start = replace(a_start(BIG, {}, buyer=buyer), from_cart=True)
    await look_before_start(db, BIG, start.checkout_id, buyer, None)
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    await overdue_on_cart(db, BIG, start.checkout_id)
    await settle(db, cancel(start.ref))


@pytest.mark.usefixtures("big")
async def test_nothing_hot_reads_a_whole_table(
    database_url: str, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    one = await shop.make_product(admin, tenant, stock=1000)
    name = await rows.value("SELECT current_database()")
    for plans in ("force_generic_plan", "force_custom_plan", "auto"):
        await admin.execute(f"ALTER DATABASE {name} SET plan_cache_mode = {plans}")
        before = await rows_read(rows, WATCHED)
        async with opened(database_url, size=1) as db:
            for _ in range(8):  # A plan made for a tiny shop serves the big one, too.
                await reserve(db, a_start(tenant, {one: 1}))
            await use_everything(db)
        for table, count in (await rows_read(rows, WATCHED)).items():
            assert count - before[table] < WATCHED[table] / 2, (plans, table)
    before = await rows_read(rows, WATCHED)
    async with opened(database_url, size=1) as db:
        await db.run(BIG, ("SELECT count(*) FROM stock_items WHERE total > 5", {}))
    assert (await rows_read(rows, WATCHED))["stock_items"] >= before["stock_items"] + ITEMS
