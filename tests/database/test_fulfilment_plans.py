"""The plans of fulfilment on a big shop: one order's steps are looked up, whatever others have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db.contacts import Contact, put_contact, read_contact
from db.database import Database
from db.fulfilment_open import orders_without_fulfilment, replays_without_end
from db.fulfilment_steps import ask_again, begin_step, close_fulfilment, end_step, note_error, read_steps
from db.order_documents import keep_tickets, owner_of_order, read_tickets
from db.order_facts import read_order_facts
from db.refund_notices import begin_notice, end_notice
from db.statistics import count_order
from domain.fulfilment import ALWAYS, Step, StepRequest, StepStatus, TellRefund
from domain.ids import Actor, TenantId
from local.postgres import Postgres
from tests.support import servers, shop
from tests.support.checkouts import BUYER, SANDBOX, Rows, a_capture, opened
from tests.support.plans import looked_over, rows_read
from tests.support.sold import held, sold

ORDERS = 20_000
BIG = TenantId("big")
FILL = f"""
    INSERT INTO tenants (id, name, currency, max_held_lines) VALUES ('big', 'Big', 'COP', 10000);
    INSERT INTO checkouts (tenant_id, id, buyer_key, fingerprint, status, currency, hold_seconds, extension_seconds,
                           maximum_seconds, held_at, expires_at, ended_at)
        SELECT 'big', gen_random_uuid(), 'user:' || n % 1000, 'f', 'expired', 'COP', 1, 1, 1, now(), now(), now()
        FROM generate_series(1, {ORDERS}) n;
    INSERT INTO orders (tenant_id, id, checkout_id, buyer_key, currency, subtotal, discount, tax, total, gateway,
                        payment_id, created_at, fulfilled_at)
        SELECT 'big', id, id, buyer_key, 'COP', 1, 0, 0, 1, 'sandbox', 'p', now() - interval '1 day', now()
        FROM checkouts;
    INSERT INTO fulfilment_steps (tenant_id, order_id, step, status, ended_at)
        SELECT 'big', id, step, 'done', now() FROM orders, unnest(ARRAY['pdf', 'mail', 'notify', 'statistics']) step;
    INSERT INTO checkout_contacts (tenant_id, checkout_id, email) SELECT 'big', id, 'a@example.com' FROM checkouts;
    INSERT INTO order_documents (tenant_id, order_id, kind, content, pages)
        SELECT 'big', id, 'tickets', 'x', 1 FROM orders;
    INSERT INTO users (tenant_id, username, email, password_hash)
        SELECT 'big', 'u' || n, 'u' || n || '@example.com', '' FROM generate_series(1, {ORDERS}) n;
    INSERT INTO refund_notices (tenant_id, gateway, payment_id)
        SELECT 'big', 'sandbox', 'pay' || n FROM generate_series(1, {ORDERS}) n;
"""
WATCHED = ("orders", "fulfilment_steps", "checkout_contacts", "order_documents", "refund_notices", "users", "checkouts")


async def fulfil(db: Database, admin: shop.Connection) -> None:
    """Everything that is asked for one order, and one refund, and by the check."""
    product = await shop.make_product(admin, BIG)
    start, order = await sold(db, BIG, product)
    await put_contact(db, BIG, start.checkout_id, BUYER, Contact(language="en"))
    await read_contact(db, BIG, start.checkout_id)
    assert await orders_without_fulfilment(db, BIG, 0) == [order]
    for step in ALWAYS:
        request = StepRequest(BIG, order, step)
        await begin_step(db, request)
        await note_error(db, request, "x")
        await keep_tickets(db, BIG, order, b"x", 1)
        await count_order(db, BIG, order)
        await end_step(db, request, StepStatus.DONE)
    await read_order_facts(db, BIG, order)
    await read_tickets(db, BIG, order)
    await owner_of_order(db, BIG, order)
    await close_fulfilment(db, BIG, order)
    again = await ask_again(db, BIG, order, Step.MAIL, "k", Actor("cli:ops"))
    assert await replays_without_end(db, BIG, 0) == [again]
    await end_step(db, again, StepStatus.DONE)
    await read_steps(db, BIG, order)
    loser = await held(db, BIG, product)
    asked = TellRefund(BIG, SANDBOX, a_capture(loser.checkout_id, 1).payment_id)
    await begin_notice(db, asked)
    await end_notice(db, asked, StepStatus.DONE)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A database of its own: orders that are only there to be many break invariants."""
    name = servers.create_database(postgres)
    yield postgres.url(name)
    servers.drop_database(postgres, name)


async def test_one_order_costs_what_it_has(url: str) -> None:
    async with shop.connect(url) as admin:
        rows = Rows(admin)
        await admin.execute(FILL)
        await looked_over(admin)
        before = await rows_read(rows, WATCHED)
        async with opened(url, size=1) as db:
            for _ in range(2):
                await fulfil(db, admin)
        after = await rows_read(rows, WATCHED)
    assert {table: count for table, count in after.items() if count - before[table] >= 500} == {}


async def test_the_measure_would_see_a_whole_table_read(url: str) -> None:
    async with shop.connect(url) as admin:
        rows = Rows(admin)
        await admin.execute(FILL)
        before = await rows_read(rows, WATCHED)
        async with opened(url, size=1) as db:
            await db.run(BIG, ("SELECT count(*) FROM fulfilment_steps WHERE tenant_id <> 'x'", {}))
        assert (await rows_read(rows, WATCHED))["fulfilment_steps"] >= before["fulfilment_steps"] + 4 * ORDERS
