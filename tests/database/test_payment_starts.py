"""Starting a payment: one row for each key, however often and with whomever at once; only for a live hold."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest

from db.database import Database
from db.lines import change_lines
from db.open_payments import close_payment, open_payments, payment_of
from db.payment_starts import MOST_STARTS, PaymentStart, PaymentWish, begin_payment, close_start, finish_start
from db.payments import note_payment
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.errors import IdempotencyKeyReused
from domain.gateway import GatewayPayment, PaymentStatus
from domain.ids import BuyerKey, CheckoutId, PaymentId, ProductId, TenantId
from domain.messages import CheckoutRef, Line, LinesOutcome, LinesRequest, StartCheckout
from tests.support import shop
from tests.support.checkouts import BUYER, SANDBOX, Rows, a_capture, a_start, cancel, confirm, expire

SEED = 20261122


@pytest.fixture
async def product(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=1000, price=1000)


@pytest.fixture
async def held(db: Database, tenant: TenantId, product: ProductId) -> StartCheckout:
    """A checkout that holds two units for 2000."""
    return await hold(db, tenant, product)


async def hold(db: Database, tenant: TenantId, product: ProductId) -> StartCheckout:
    start = a_start(tenant, {product: 2})
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return start


def wish(held: StartCheckout, key: str = "k", fingerprint: str = "f", **changes: object) -> PaymentWish:
    return replace(PaymentWish(held.ref, BUYER, key, fingerprint, SANDBOX), **changes)  # type: ignore[arg-type]


async def begun(db: Database, held: StartCheckout, key: str = "k") -> PaymentStart:
    start = (await begin_payment(db, wish(held, key))).start
    assert start is not None
    return start


def made(start: PaymentStart, payment: str = "pay_1", status: PaymentStatus = PaymentStatus.CREATED) -> GatewayPayment:
    return GatewayPayment(
        SANDBOX, PaymentId(payment), start.ref.checkout_id, status, start.amount, start.currency, 0, start.ref.tenant
    )


async def finished(db: Database, held: StartCheckout, key: str = "k", payment: str = "pay_1") -> PaymentStart:
    start = await begun(db, held, key)
    return await finish_start(db, held.ref, key, made(start, payment))


async def test_a_wish_is_stored_with_the_total_as_its_amount(db: Database, rows: Rows, held: StartCheckout) -> None:
    row = await rows.checkout(held.ref)
    start = (await begin_payment(db, wish(held, return_url="https://shop.example.com/"))).start
    assert start is not None
    assert (start.amount, start.currency, start.payment_id, start.closed) == (2000, "COP", None, False)
    asked = start.to_start
    assert (asked.amount, asked.return_url) == (2000, "https://shop.example.com/")
    assert asked.idempotency_key == f"start/{held.tenant}/{held.checkout_id}/k"
    assert (asked.ends_at - row["held_at"]).total_seconds() == row["maximum_seconds"]


async def test_a_repeat_finds_the_row_and_asks_the_gateway_for_the_very_same(db: Database, held: StartCheckout) -> None:
    first = await begun(db, held)
    assert (await begun(db, held)).to_start == first.to_start
    await finish_start(db, held.ref, "k", made(first))
    again = await begun(db, held)
    assert (again.to_start, again.payment_id) == (first.to_start, "pay_1")


async def test_the_same_key_with_something_else_is_refused(db: Database, held: StartCheckout) -> None:
    await begun(db, held)
    with pytest.raises(IdempotencyKeyReused):
        await begin_payment(db, wish(held, fingerprint="other"))


async def test_sixteen_at_once_with_one_key_store_one_wish(db: Database, rows: Rows, held: StartCheckout) -> None:
    starts = await asyncio.gather(*(begun(db, held) for _ in range(16)))
    assert len({start.to_start for start in starts}) == 1
    assert await rows.value("SELECT count(*) FROM payment_starts") == 1


async def test_nobody_starts_a_payment_of_anothers_checkout_or_of_none(db: Database, held: StartCheckout) -> None:
    for wrong in (
        wish(held, buyer=BuyerKey("user:2")),
        wish(held, ref=CheckoutRef(held.tenant, CheckoutId("00000000-0000-4000-8000-000000000000"))),
    ):
        begun = await begin_payment(db, wrong)
        assert (begun.start, begun.status) == (None, None)


@pytest.mark.parametrize("ended_by", ["cancel", "confirm", "expiry", "the clock alone"])
async def test_only_a_live_hold_is_paid_for(db: Database, rows: Rows, held: StartCheckout, ended_by: str) -> None:
    if ended_by == "cancel":
        await settle(db, cancel(held.ref))
    elif ended_by == "confirm":
        await settle(db, confirm(held.ref, a_capture(held.checkout_id, 2000)))
    else:
        await rows.end_now(held.ref)
    if ended_by == "expiry":
        await settle(db, expire(held.ref))
    refused = await begin_payment(db, wish(held))
    assert (refused.start, refused.live) == (None, False)
    assert await rows.value("SELECT count(*) FROM payment_starts") == 0


async def test_there_is_nothing_to_pay_where_the_total_is_zero(
    db: Database, admin: shop.Connection, rows: Rows, held: StartCheckout
) -> None:
    await admin.execute("UPDATE checkout_lines SET list_price = 0, unit_price = 0")
    await admin.execute("UPDATE checkouts SET subtotal = 0, discount = 0, total = 0")
    refused = await begin_payment(db, wish(held))
    assert (refused.start, refused.live, refused.total) == (None, True, 0)
    assert await rows.value("SELECT count(*) FROM payment_starts") == 0


async def test_a_checkout_has_so_many_payments_and_no_more_and_a_repeat_is_not_one_more(
    db: Database, held: StartCheckout
) -> None:
    for number in range(MOST_STARTS):
        await begun(db, held, f"k{number}")
    refused = await begin_payment(db, wish(held, "one more"))
    assert (refused.start, refused.live, refused.starts) == (None, True, MOST_STARTS)
    assert (await begun(db, held, "k0")).amount == 2000


async def test_the_gateways_answer_makes_it_a_payment_on_its_way_since_it_was_asked_for(
    db: Database, rows: Rows, held: StartCheckout
) -> None:
    start = await begun(db, held)
    for _ in range(2):
        done = await finish_start(db, held.ref, "k", made(start))
        assert (done.payment_id, done.closed) == ("pay_1", False)
    [payment] = await rows.all("SELECT status, amount, checkout_id::text, known_at FROM payments")
    assert (payment["status"], payment["amount"], payment["checkout_id"]) == ("created", 2000, held.checkout_id)
    assert payment["known_at"] == await rows.value("SELECT requested_at FROM payment_starts")
    assert await payment_of(db, held.ref, SANDBOX, PaymentId("pay_1"))
    assert not await payment_of(db, held.ref, SANDBOX, PaymentId("pay_2"))


async def test_what_was_heard_before_the_answer_is_not_taken_back_by_it(
    db: Database, rows: Rows, held: StartCheckout
) -> None:
    start = await begun(db, held)
    await note_payment(db, held.tenant, made(start, status=PaymentStatus.CAPTURED))
    await finish_start(db, held.ref, "k", made(start))
    assert await rows.value("SELECT status FROM payments") == "captured"


async def test_a_closed_start_stays_closed_though_the_gateways_answer_comes_after(
    db: Database, held: StartCheckout
) -> None:
    start = await begun(db, held)
    for _ in range(2):
        await close_start(db, held.ref, "k")
    done = await finish_start(db, held.ref, "k", made(start))
    assert (done.payment_id, done.closed) == (None, True)
    assert (await begun(db, held)).closed


async def test_an_unfinished_start_and_an_open_payment_keep_the_stock_past_the_end_until_they_are_closed(
    db: Database, rows: Rows, held: StartCheckout, product: ProductId
) -> None:
    start = await begun(db, held, "unfinished")
    await finished(db, held)
    await rows.end_now(held.ref, ago=1)
    waiting = await settle(db, expire(held.ref))
    assert (waiting.status, waiting.in_flight) == (CheckoutStatus.HELD, True)
    assert 118_000 < waiting.remaining_ms <= 119_000
    found = await open_payments(db, held.ref)
    assert [one.payment_id for one in found.payments] == ["pay_1"]
    assert [one.request_id for one in found.starts] == ["unfinished"]
    await close_payment(db, held.tenant, SANDBOX, PaymentId("pay_1"), made(start, status=PaymentStatus.EXPIRED))
    assert (await settle(db, expire(held.ref))).in_flight
    await close_start(db, held.ref, "unfinished")
    assert (await settle(db, expire(held.ref))).status is CheckoutStatus.EXPIRED
    assert await rows.stock(held.tenant, product) == (1000, 0, 0)


async def test_what_waits_for_a_payment_is_neither_shown_as_free_nor_tried_to_be_freed_by_others(
    db: Database, admin: shop.Connection, rows: Rows, held: StartCheckout, product: ProductId
) -> None:
    await admin.execute("UPDATE stock_items SET total = 2")
    await finished(db, held)
    await rows.end_now(held.ref, ago=1)
    first = a_start(held.tenant, {product: 1})
    assert (await reserve(db, first)).status is CheckoutStatus.REFUSED
    kept = await rows.value("SELECT expires_at FROM checkout_lines WHERE status = 'held'")
    row = await rows.checkout(held.ref)
    assert (kept - row["expires_at"]).total_seconds() == row["payment_grace_seconds"] == 120
    [shortage] = (await rows.checkout(first.ref))["refusal"]["shortages"]
    assert shortage["free_at"] == kept.isoformat()
    await rows.pass_time(held.ref, kept - row["expires_at"])
    assert (await reserve(db, a_start(held.tenant, {product: 1}))).status is CheckoutStatus.HELD
    assert (await rows.checkout(held.ref))["status"] == "expired"


async def test_a_change_of_lines_waits_for_open_payments_and_gives_up_starts_that_nobody_was_told_of(
    db: Database, rows: Rows, held: StartCheckout, product: ProductId
) -> None:
    await begun(db, held, "unfinished")
    more = LinesRequest(held.ref, "first", "f", [Line(product, 1)])
    assert (await change_lines(db, more)).outcome is LinesOutcome.DONE
    given_up = await begun(db, held, "unfinished")
    assert (given_up.closed, given_up.amount, given_up.total) == (True, 2000, 3000)
    await finished(db, held)
    for _ in range(2):
        refused = await change_lines(db, replace(more, request_id="second"))
        assert refused.outcome is LinesOutcome.REFUSED
    refusal = await rows.value("SELECT refusal FROM checkout_changes WHERE request_id = 'second'")
    assert refusal == {
        "code": "payment_in_flight",
        "payments": [{"gateway": "sandbox", "payment_id": "pay_1", "status": "created"}],
    }
    line = await rows.value("SELECT min(id) FROM checkout_lines")
    out = LinesRequest(held.ref, "third", "f", remove=line)
    assert (await change_lines(db, out)).outcome is LinesOutcome.REFUSED
    await close_payment(db, held.tenant, SANDBOX, PaymentId("pay_1"), None)
    assert (await change_lines(db, replace(out, request_id="fourth"))).outcome is LinesOutcome.DONE


async def test_taking_the_last_line_out_cancels_though_a_payment_is_open(
    db: Database, rows: Rows, held: StartCheckout
) -> None:
    await finished(db, held)
    line = await rows.value("SELECT id FROM checkout_lines")
    changed = await change_lines(db, LinesRequest(held.ref, "out", "f", remove=line))
    assert (changed.outcome, changed.row.status) == (LinesOutcome.DONE, CheckoutStatus.CANCELLED)


async def test_a_start_and_an_end_at_once_agree_on_which_came_first(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    """Either the start found a live hold, and then whoever ends it afterwards knows of it; or nothing was stored."""
    print("seed", SEED)
    chance = random.Random(SEED)
    ways: Counter[str] = Counter()
    for number in range(40):
        held = await hold(db, tenant, product)
        end = chance.choice([cancel, expire])
        if end is expire:
            await rows.end_now(held.ref, ago=-0.004)

        async def start(of: StartCheckout = held, pause: float = chance.random() * 0.01) -> bool:
            await asyncio.sleep(pause)
            return (await begin_payment(db, wish(of))).start is not None

        async def finish(of: StartCheckout = held, how=end, pause: float = chance.random() * 0.01) -> object:  # type: ignore[no-untyped-def]  # noqa: ANN001
            await asyncio.sleep(pause)
            return await settle(db, how(of.ref))

        stored, _ = await asyncio.gather(start(), finish())
        settled = await settle(db, end(held.ref))
        starts = len((await open_payments(db, held.ref)).starts)
        assert starts == stored, number
        if settled.status is CheckoutStatus.HELD:
            await rows.end_now(held.ref)
            settled = await settle(db, expire(held.ref))
            assert settled.in_flight == stored, number
        ways[f"{end.__name__}, {'stored' if stored else 'refused'}"] += 1
        if settled.in_flight:
            await close_start(db, held.ref, "k")
            settled = await settle(db, expire(held.ref))
        assert settled.status in (CheckoutStatus.CANCELLED, CheckoutStatus.EXPIRED)
    print(dict(ways))
    assert await rows.stock(tenant, product) == (1000, 0, 0)


async def test_a_start_and_a_change_of_lines_at_once_never_leave_a_payment_of_another_total_open(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    """As the API does it: store the wish, ask the gateway, note its answer; what was given up is withdrawn."""
    print("seed", SEED)
    chance = random.Random(SEED)
    ways: Counter[str] = Counter()
    for number in range(40):
        held = await hold(db, tenant, product)

        async def pay(of: StartCheckout = held, number: int = number, pause: float = chance.random() * 0.01) -> str:
            begun = (await begin_payment(db, wish(of))).start
            assert begun is not None
            await asyncio.sleep(pause)
            done = await finish_start(db, of.ref, "k", made(begun, f"pay_{number}"))
            if done.closed:
                await close_payment(db, of.tenant, SANDBOX, PaymentId(f"pay_{number}"), None)
            return "given up" if done.closed else "paid"

        async def change(of: StartCheckout = held, pause: float = chance.random() * 0.01) -> str:
            await asyncio.sleep(pause)
            request = LinesRequest(of.ref, "more", "f", [Line(product, 1)])
            return (await change_lines(db, request)).outcome.value

        ways[" and ".join(await asyncio.gather(pay(), change()))] += 1
    print(dict(ways))
    wrong = await rows.all(
        "SELECT p.payment_id, p.amount, c.total FROM payments p"
        " JOIN checkouts c ON c.tenant_id = p.tenant_id AND c.id = p.checkout_id"
        " WHERE p.closed_at IS NULL AND p.amount <> c.total"
    )
    assert wrong == []
