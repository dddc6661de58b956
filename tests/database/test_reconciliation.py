"""Reconciliation against real rows, with a gateway's list that the tests write."""

from __future__ import annotations

import gc
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from activities.comparing import PAGE
from activities.gateways.interface import Gateway
from activities.reconciliation import Reconciler, Reconciliation
from activities.remedies import Remedies
from db.audit_reading import AuditFilter, read_audit
from db.database import Database
from db.payments import note_payment
from db.purge import purge
from db.reconciliation import record_refunded, to_ask
from db.reconciliation_findings import accept_finding, open_findings
from db.reconciliation_runs import Window, finish_run, last_runs, next_window, open_run, save_run
from db.reserve import reserve
from db.settle import settle
from domain.disagreements import Kind
from domain.errors import GatewayUnavailable, NotFound
from domain.gateway import GatewayPayment, PaymentStatus
from domain.ids import Actor, GatewayName, PaymentId, TenantId
from domain.reconciliation import FIRST_LOOK, GRACE, LATE_CAPTURES, Counts, Ours
from domain.reconciliation_messages import LedgerRef
from tests.support import shop
from tests.support.checkouts import SANDBOX, Rows, a_capture, a_start, confirm, opened
from tests.support.proxy import Wire, wire_to

BY_HAND = Actor("cli:test")


@dataclass
class Ledger:
    """What the gateway would list, and know when asked."""

    listed: Callable[[], AsyncIterator[GatewayPayment]] | None = None
    known: dict[PaymentId, GatewayPayment] = field(default_factory=dict)
    asked: list[PaymentId] = field(default_factory=list)
    lists: bool = True
    fails_at: int | None = None
    """The number of the listing, from 0, that fails."""
    listings: list[tuple[datetime, datetime]] = field(default_factory=list)

    async def payments(self, tenant: TenantId, since: datetime, until: datetime) -> AsyncIterator[GatewayPayment]:
        """All of it in the first slice."""
        self.listings.append((since, until))
        if self.fails_at == len(self.listings) - 1:
            raise GatewayUnavailable("it is down")
        if len(self.listings) > 1 or not self.lists:
            return
        if self.listed is not None:
            async for payment in self.listed():
                yield payment
        for payment in list(self.known.values()):
            yield payment

    async def fetch(self, tenant: TenantId, payment: PaymentId) -> GatewayPayment | None:
        """One of them."""
        self.asked.append(payment)
        return self.known.get(payment)


class Begun(Remedies):
    """Writes down what would be begun; there is no engine in these tests."""

    def __init__(self) -> None:
        self.begun: list[tuple[Kind, PaymentId]] = []

    async def begin(self, tenant: TenantId, kind: Kind, theirs: GatewayPayment, ours: Ours) -> bool:
        self.begun.append((kind, theirs.payment_id))
        return True


def a_reconciler(db: Database, ledger: Ledger, begun: Remedies, grace: timedelta = timedelta(0)) -> Reconciler:
    return Reconciler(db, {SANDBOX: cast(Gateway, ledger)}, begun, grace=grace)


async def reconcile(db: Database, tenant: TenantId, ledger: Ledger, **more: Any) -> Reconciliation:
    """One run of its own."""
    reconciler = a_reconciler(db, ledger, more.pop("begun", Begun()), more.pop("grace", timedelta(0)))
    ledger.listings.clear()
    run_id = more.pop("run_id", str(uuid.uuid4()))
    return await reconciler.reconcile(LedgerRef(tenant, SANDBOX), BY_HAND, run_id, **more)


async def sold(db: Database, admin: shop.Connection, tenant: TenantId) -> GatewayPayment:
    """A payment that became an order, as its gateway has it."""
    start = a_start(tenant, {await shop.make_product(admin, tenant): 1})
    await reserve(db, start)
    capture = a_capture(start.checkout_id, 1000)
    await settle(db, confirm(start.ref, capture))
    status, amount, currency = PaymentStatus.CAPTURED, capture.amount, capture.currency
    payment = GatewayPayment(SANDBOX, capture.payment_id, capture.checkout_id, status, amount, currency, 0, tenant)
    await note_payment(db, tenant, payment)
    return payment


FILL = """
    INSERT INTO stock_items (tenant_id, id, kind, total, sold) VALUES (%(tenant)s, 1, 'product', {n}, {n});
    INSERT INTO products (tenant_id, id, stock_item_id, name, price) VALUES (%(tenant)s, 1, 1, 'p', 1000);
    INSERT INTO checkouts (tenant_id, id, buyer_key, fingerprint, status, currency, subtotal, total, hold_seconds,
                           extension_seconds, maximum_seconds, held_at, expires_at, ended_at)
        SELECT %(tenant)s, ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'user:1', 'f', 'confirmed',
               'COP', 1000, 1000, 900, 900, 3600, now() - interval '1 day', now() - interval '1 day',
               now() - interval '1 day'
        FROM generate_series(1, {n}) n;
    INSERT INTO checkout_lines (tenant_id, checkout_id, position, stock_item_id, product_id, quantity, list_price,
                                unit_price, status, locked_at, expires_at)
        SELECT tenant_id, id, 1, 1, 1, 1, 1000, 1000, 'sold', held_at, expires_at FROM checkouts;
    INSERT INTO orders (tenant_id, id, checkout_id, buyer_key, currency, subtotal, discount, tax, total, gateway,
                        payment_id, created_at)
        SELECT tenant_id, id, id, 'user:1', 'COP', 1000, 0, 0, 1000, 'sandbox',
               'pay-' || ltrim(right(id::text, 12), '0'), ended_at FROM checkouts;
    INSERT INTO order_lines (tenant_id, order_id, position, stock_item_id, product_id, name, quantity, list_price,
                             unit_price)
        SELECT tenant_id, id, 1, 1, 1, 'p', 1, 1000, 1000 FROM orders;
    INSERT INTO payment_outcomes (tenant_id, gateway, payment_id, checkout_id, kind, order_id, amount, currency,
                                  decided_at)
        SELECT tenant_id, gateway, payment_id, checkout_id, 'order', id, total, currency, created_at FROM orders;
    INSERT INTO payments (tenant_id, gateway, payment_id, checkout_id, status, amount, currency, changed_at)
        SELECT tenant_id, gateway, payment_id, checkout_id, 'captured', amount, currency, decided_at
        FROM payment_outcomes;
"""


async def filled(admin: shop.Connection, tenant: TenantId, orders: int) -> None:
    """That many orders, their payments pay-1, pay-2, …"""
    for statement in FILL.format(n=orders).split(";\n"):
        if statement.strip():
            await admin.execute(statement, {"tenant": tenant})


def many(tenant: TenantId, count: int, alive: list[int] | None = None) -> Callable[[], AsyncIterator[GatewayPayment]]:
    """The payments of `filled`, made one after the other; `alive`: how many of them were in memory, at each page."""

    async def listed() -> AsyncIterator[GatewayPayment]:
        for number in range(1, count + 1):
            checkout = cast(Any, f"00000000-0000-4000-8000-{number:012}")
            status = PaymentStatus.CAPTURED
            yield GatewayPayment(SANDBOX, PaymentId(f"pay-{number}"), checkout, status, 1000, "COP", 0, tenant)
            if alive is not None and number % PAGE == 0:
                alive.append(sum(isinstance(one, GatewayPayment) for one in gc.get_objects()))

    return listed


async def test_pages_of_a_big_shop_cost_one_round_trip_each_and_no_memory(
    database_url: str, admin: shop.Connection, tenant: TenantId
) -> None:
    await filled(admin, tenant, 2_000)
    await admin.execute("UPDATE payment_outcomes SET compared_at = now()")  # Or some would be asked for one by one.
    alive: list[int] = []
    trips: dict[int, int] = {}
    async with wire_to(database_url) as wire, opened(wire.url, size=1) as db:
        for count in (PAGE, 1_000, 2_000):
            trips[count] = await _trips(wire, db, tenant, count, alive)
    assert trips[2_000] - trips[1_000] == 1_000 / PAGE
    assert trips[1_000] - trips[PAGE] == (1_000 - PAGE) / PAGE
    assert max(alive) <= 2 * PAGE + 5


async def _trips(wire: Wire, db: Database, tenant: TenantId, count: int, alive: list[int]) -> int:
    since = datetime.now(UTC) - timedelta(hours=1)
    await reconcile(db, tenant, Ledger(), since=since)  # The connection is warm then.
    wire.forget()
    ledger = Ledger(many(tenant, count, alive))
    done = await reconcile(db, tenant, ledger, since=since)
    assert done.counts == Counts(compared=count, agreed=count)
    return wire.round_trips


async def test_what_was_never_listed_is_asked_for_once_and_a_bounded_number_at_a_time(
    db: Database, admin: shop.Connection, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.comparing.MOST_ASKED", 3)
    payments = [await sold(db, admin, tenant) for _ in range(5)]
    ledger = Ledger(known={one.payment_id: one for one in payments}, lists=False)
    for asked in (3, 2, 0):
        ledger.asked.clear()
        done = await reconcile(db, tenant, ledger)
        assert (len(ledger.asked), done.counts.agreed) == (asked, asked)


async def test_an_order_of_a_payment_that_the_gateway_does_not_know_stays_flagged_until_it_does(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    payment = await sold(db, admin, tenant)
    nobody = Ledger()
    for _ in range(2):
        done = await reconcile(db, tenant, nobody)
        assert [(one.kind, one.flagged) for one in done.seen] == [(Kind.PAYMENT_UNKNOWN, True)]
    [finding] = await open_findings(db, tenant)
    assert finding.flagged_at is not None
    assert finding.last_seen > finding.first_seen
    found = Ledger(known={payment.payment_id: payment}, lists=False)
    assert (await reconcile(db, tenant, found)).counts.agreed == 1
    assert await open_findings(db, tenant) == []


async def test_a_repair_that_does_not_help_is_told_to_people_after_half_an_hour(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    payment = replace(await sold(db, admin, tenant), payment_id=PaymentId("second"))
    ledger, begun = Ledger(known={payment.payment_id: payment}), Begun()
    done = await reconcile(db, tenant, ledger, begun=begun)
    assert begun.begun == [(Kind.SECOND_CAPTURE, payment.payment_id)]
    assert done.counts.flagged == 1, "the order's own payment, which this gateway does not know"
    await admin.execute("UPDATE reconciliation_findings SET repaired_at = repaired_at - interval '30 minutes'")
    done = await reconcile(db, tenant, ledger, begun=begun)
    assert len(begun.begun) == 2
    assert {one.payment_id: one.flagged for one in done.seen}[payment.payment_id]


async def test_news_of_a_payments_stand_are_noted(db: Database, rows: Rows, tenant: TenantId) -> None:
    payment = GatewayPayment(SANDBOX, PaymentId("p"), None, PaymentStatus.CREATED, 5, "COP", 0, tenant)
    for status in (PaymentStatus.CREATED, PaymentStatus.PROCESSING, PaymentStatus.EXPIRED):
        ledger = Ledger(known={payment.payment_id: replace(payment, status=status)})
        assert (await reconcile(db, tenant, ledger)).counts == Counts(compared=1, agreed=1, noted=1)
        assert (await reconcile(db, tenant, ledger)).counts == Counts(compared=1, agreed=1)
        assert await rows.value("SELECT status FROM payments") == status


async def test_another_tenants_payment_in_our_list_is_flagged_and_not_noted(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    foreign = GatewayPayment(SANDBOX, PaymentId("p"), None, PaymentStatus.CAPTURED, 5, "COP", 0, "somebody-else")
    begun = Begun()
    done = await reconcile(db, tenant, Ledger(known={foreign.payment_id: foreign}), begun=begun)
    assert [(one.kind, one.flagged) for one in done.seen] == [(Kind.FOREIGN_TENANT, True)]
    assert await rows.all("SELECT FROM payments") == []


async def test_the_same_payment_listed_twice_is_one(db: Database, admin: shop.Connection, tenant: TenantId) -> None:
    payment = await sold(db, admin, tenant)
    wrong = replace(payment, amount=1)

    async def twice() -> AsyncIterator[GatewayPayment]:
        for _ in range(2):
            yield wrong

    done = await reconcile(db, tenant, Ledger(twice))
    assert len(done.seen) == 1
    assert len(await open_findings(db, tenant)) == 1


async def test_a_run_that_died_goes_on_where_it_came_to(db: Database, tenant: TenantId) -> None:
    run_id, since = str(uuid.uuid4()), datetime.now(UTC) - timedelta(hours=20)
    window = await next_window(db, tenant, SANDBOX, since, grace=timedelta(0))
    await open_run(db, tenant, run_id, SANDBOX, BY_HAND, window)
    await save_run(db, tenant, run_id, since + timedelta(hours=12), Counts(compared=7, agreed=7))
    ledger = Ledger()
    done = await reconcile(db, tenant, ledger, run_id=run_id)
    assert [to - from_ for from_, to in ledger.listings][:1] == [timedelta(hours=6)]
    assert ledger.listings[0][0] == since + timedelta(hours=12)
    assert done.counts.compared == 7
    again = await reconcile(db, tenant, ledger, run_id=run_id)
    assert (again.counts, ledger.listings) == (done.counts, []), "it is over"


async def test_the_window_begins_where_the_last_whole_run_ended_and_looks_back_for_late_captures(
    db: Database, tenant: TenantId
) -> None:
    first = await next_window(db, tenant, SANDBOX)
    assert first.until - first.since == FIRST_LOOK - GRACE
    assert abs(datetime.now(UTC) - GRACE - first.until) < timedelta(minutes=1)
    await _run(db, tenant, first)
    second = await next_window(db, tenant, SANDBOX)
    assert second.since == first.until - LATE_CAPTURES - GRACE
    await _run(db, tenant, second, error="gateway_unavailable: it is down")
    assert (await next_window(db, tenant, SANDBOX)).since == second.since, "one that failed covers nothing"
    await _run(db, tenant, second, finished=False)
    assert (await next_window(db, tenant, SANDBOX)).since == second.since, "nor does one that died"
    other = await next_window(db, tenant, GatewayName("another"))
    assert other.until - other.since == FIRST_LOOK - GRACE


async def test_a_run_by_hand_that_leaves_a_gap_does_not_count_as_having_covered_it(
    db: Database, tenant: TenantId
) -> None:
    now = datetime.now(UTC)
    long_ago = Window(now - timedelta(days=3), now - timedelta(days=2))
    await _run(db, tenant, long_ago)
    gap = await next_window(db, tenant, SANDBOX, now - timedelta(days=1))
    assert not gap.continues
    await _run(db, tenant, gap)
    due = await next_window(db, tenant, SANDBOX)
    assert due.since == long_ago.until - LATE_CAPTURES - GRACE
    whole = await next_window(db, tenant, SANDBOX, long_ago.until - timedelta(hours=1))
    assert whole.continues
    future = await next_window(db, tenant, SANDBOX, now + timedelta(days=1))
    assert future.since == future.until


async def _run(
    db: Database, tenant: TenantId, window: Window, *, error: str | None = None, finished: bool = True
) -> None:
    run_id = str(uuid.uuid4())
    await open_run(db, tenant, run_id, SANDBOX, BY_HAND, window)
    if finished:
        await finish_run(db, tenant, run_id, error)


async def test_a_gateway_that_fails_midway_keeps_what_was_done_and_says_why(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    payment = replace(await sold(db, admin, tenant), amount=1)
    ledger = Ledger(known={payment.payment_id: payment}, fails_at=1)
    done = await reconcile(db, tenant, ledger)
    assert done.error == "gateway_unavailable: it is down"
    assert [one.kind for one in done.seen] == [Kind.AMOUNT_DIFFERS]
    [run] = await last_runs(db, tenant)
    assert (run.error, run.counts.flagged, run.actor) == (done.error, 1, BY_HAND)
    assert run.reached > run.since


async def test_accepting_a_finding_is_audited_and_done_once(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    payment = replace(await sold(db, admin, tenant), amount=1)
    await reconcile(db, tenant, Ledger(known={payment.payment_id: payment}))
    [finding] = await open_findings(db, tenant)
    accepted = await accept_finding(db, tenant, Actor("user:u"), finding.id, "a fee")
    assert (accepted.resolution, accepted.resolved_by, accepted.note) == ("accepted", "user:u", "a fee")
    again = await accept_finding(db, tenant, Actor("user:v"), finding.id, "another word")
    assert again == accepted
    [entry] = [
        one for one in await read_audit(db, tenant, AuditFilter(), limit=50) if one.subject == f"finding:{finding.id}"
    ]
    assert (entry.actor, entry.action) == ("user:u", "reconciliation.accepted")
    with pytest.raises(NotFound):
        await accept_finding(db, tenant, Actor("user:u"), str(uuid.uuid4()), "nothing")


async def test_money_that_came_and_went_is_recorded_once_and_never_over_an_outcome(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    payment = await sold(db, admin, tenant)
    gone = replace(payment, payment_id=PaymentId("gone"), status=PaymentStatus.REFUNDED, refunded_amount=1000)
    unknown = replace(gone, payment_id=PaymentId("lost"), checkout_id=cast(Any, str(uuid.uuid4())))
    for one in (gone, unknown, payment) * 2:
        await record_refunded(db, tenant, one)
    found = await rows.all("SELECT payment_id, kind, refund_status, checkout_id IS NULL AS lost FROM payment_outcomes")
    assert sorted(map(str, (one.values() for one in found))) == sorted(
        map(
            str,
            (
                {"a": payment.payment_id, "b": "order", "c": None, "d": False}.values(),
                {"a": "gone", "b": "refund", "c": "refunded", "d": False}.values(),
                {"a": "lost", "b": "refund", "c": "refunded", "d": True}.values(),
            ),
        )
    )


async def test_what_is_asked_for_waits_for_its_grace_and_leaves_out_what_was_listed(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    one, other = await sold(db, admin, tenant), await sold(db, admin, tenant)
    assert await to_ask(db, tenant, SANDBOX, [], GRACE, 10) == []
    assert await to_ask(db, tenant, SANDBOX, [], timedelta(0), 10) == [one.payment_id, other.payment_id]
    assert await to_ask(db, tenant, SANDBOX, [one.payment_id], timedelta(0), 10) == [other.payment_id]
    assert await to_ask(db, tenant, GatewayName("another"), [], timedelta(0), 10) == []


async def test_what_is_resolved_is_kept_for_400_days(
    db: Database, admin: shop.Connection, rows: Rows, database_url: str, tenant: TenantId
) -> None:
    payment = replace(await sold(db, admin, tenant), amount=1)
    await reconcile(db, tenant, Ledger(known={payment.payment_id: payment}))
    for days, left in ((399, (1, 1)), (2, (0, 1))):
        await admin.execute(
            "UPDATE reconciliation_runs SET started_at = started_at - make_interval(days => %s)", (days,)
        )
        await admin.execute(
            "UPDATE reconciliation_findings SET last_seen = last_seen - make_interval(days => %s)", (days,)
        )
        await purge(database_url)
        assert await _left(rows) == left, "an open finding stays"
    await admin.execute("UPDATE reconciliation_findings SET resolved_at = last_seen, resolution = 'agreed'")
    assert (await purge(database_url)).reconciliation == 1
    assert await _left(rows) == (0, 0)


async def _left(rows: Rows) -> Sequence[int]:
    runs = await rows.value("SELECT count(*) FROM reconciliation_runs")
    return runs, await rows.value("SELECT count(*) FROM reconciliation_findings")
