"""Asking the gateways to end what is open: each way in which a payment can stand there, asked once and asked again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from activities import closing
from activities.closing import Closing
from db.database import Database
from db.payment_starts import PaymentStart, PaymentWish, begin_payment, finish_start
from db.reserve import reserve
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.closing_messages import ClosedPayments, PaymentRef
from domain.errors import GatewayRefused
from domain.gateway import GatewayPayment, PaymentStatus
from domain.ids import CheckoutId, PaymentId, TenantId
from domain.messages import Ruling, StartCheckout
from tests.support import shop
from tests.support.checkouts import BUYER, SANDBOX, Rows, a_start, confirm, expire
from tests.support.till import FakeGateway

ELSEWHERE = CheckoutId("00000000-0000-4000-8000-000000000000")


@pytest.fixture
async def held(db: Database, admin: shop.Connection, tenant: TenantId) -> StartCheckout:
    """A checkout that holds two units for 2000."""
    start = a_start(tenant, {await shop.make_product(admin, tenant): 2})
    assert (await reserve(db, start)).status is CheckoutStatus.HELD
    return start


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def asking(db: Database, gateway: FakeGateway) -> Closing:
    gateways: Any = {SANDBOX: gateway}
    return Closing(db, gateways)


async def wished(db: Database, held: StartCheckout, key: str = "k") -> PaymentStart:
    """A start of which we do not know whether the gateway has acted."""
    start = (await begin_payment(db, PaymentWish(held.ref, BUYER, key, "f", SANDBOX))).start
    assert start is not None
    return start


async def started(db: Database, held: StartCheckout, gateway: FakeGateway, key: str = "k") -> PaymentId:
    """A payment that the gateway has made and we have noted."""
    start = await wished(db, held, key)
    made = await gateway.start(held.tenant, start.to_start)
    await finish_start(db, held.ref, key, gateway.payments[made.payment_id])
    return made.payment_id


def stands(gateway: FakeGateway, payment: PaymentId, status: PaymentStatus, **changes: object) -> None:
    gateway.payments[payment] = replace(gateway.payments[payment], status=status, **changes)  # type: ignore[arg-type]


async def ours(rows: Rows) -> tuple[str, bool]:
    """(status, closed) of the one payment."""
    [row] = await rows.all("SELECT status, closed_at IS NOT NULL AS closed FROM payments")
    return row["status"], row["closed"]


async def twice(asking: Closing, held: StartCheckout) -> ClosedPayments:
    """The second answer, as an activity's retry gives it; but for the moment it is that of the first."""
    first, second = await asking.close_payments(held.ref), await asking.close_payments(held.ref)
    moment = second.asked_at
    captures = [replace(capture, received_at=moment) for capture in first.captures]
    assert replace(first, asked_at=moment, captures=captures) == second
    return second


@pytest.mark.parametrize("status", [PaymentStatus.CREATED, PaymentStatus.FAILED])
async def test_what_nobody_has_paid_is_ended_at_the_gateway_and_closed_here(
    db: Database, rows: Rows, held: StartCheckout, gateway: FakeGateway, asking: Closing, status: PaymentStatus
) -> None:
    payment = await started(db, held, gateway)
    stands(gateway, payment, status)
    assert (await twice(asking, held)).all_ended
    assert gateway.payments[payment].status is PaymentStatus.EXPIRED
    assert await ours(rows) == ("expired", True)


async def test_what_the_gateway_cannot_end_keeps_no_stock_any_more(
    db: Database, rows: Rows, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    await started(db, held, gateway)
    gateway.can_expire = False
    assert (await twice(asking, held)).all_ended
    assert await ours(rows) == ("created", True)


async def test_a_capture_comes_back_as_evidence_until_it_is_decided(
    db: Database, rows: Rows, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    payment = await started(db, held, gateway)
    await rows.end_now(held.ref, ago=1)
    stands(gateway, payment, PaymentStatus.CAPTURED)
    [capture] = (await twice(asking, held)).captures
    assert (capture.payment_id, capture.checkout_id, capture.amount) == (payment, held.checkout_id, 2000)
    assert (await settle(db, expire(held.ref))).in_flight, "nobody may free the stock before the capture is decided"
    assert (await settle(db, confirm(held.ref, capture))).ruling is Ruling.ORDER
    assert (await twice(asking, held)).all_ended
    assert (await ours(rows))[0] == "captured"


async def test_what_is_on_its_way_is_named_and_stays_open(
    db: Database, rows: Rows, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    payment = await started(db, held, gateway)
    stands(gateway, payment, PaymentStatus.PROCESSING)
    heard = await twice(asking, held)
    assert (heard.processing, heard.captures, heard.silent) == ([PaymentRef(SANDBOX, payment)], [], 0)
    assert await ours(rows) == ("processing", False)


@pytest.mark.parametrize(
    "changes", [{"tenant": "another"}, {"checkout_id": ELSEWHERE}, {"checkout_id": None}, None], ids=str
)
async def test_anothers_capture_or_none_is_no_evidence(
    db: Database,
    rows: Rows,
    held: StartCheckout,
    gateway: FakeGateway,
    asking: Closing,
    changes: dict[str, object] | None,
) -> None:
    payment = await started(db, held, gateway)
    if changes is None:
        gateway.payments.clear()
    else:
        stands(gateway, payment, PaymentStatus.CAPTURED, **changes)
    assert (await twice(asking, held)).all_ended
    assert await ours(rows) == ("created", True)


async def test_a_silent_gateway_is_counted_and_asked_again(
    db: Database, rows: Rows, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    await started(db, held, gateway)
    await wished(db, held, "unfinished")
    gateway.down = True
    assert (await twice(asking, held)).silent == 2
    assert await ours(rows) == ("created", False)
    gateway.down = False
    assert (await twice(asking, held)).all_ended


async def test_a_gateway_that_hangs_is_silent_in_bounded_time_and_holds_up_no_other(
    db: Database,
    held: StartCheckout,
    gateway: FakeGateway,
    asking: Closing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closing, "CALL_SECONDS", 0.2)
    for number in range(5):
        await started(db, held, gateway, f"k{number}")
    gateway.answering.clear()
    async with asyncio.timeout(2):
        assert (await asking.close_payments(held.ref)).silent == 5


async def test_a_gateway_that_is_not_here_any_more_is_silent(
    db: Database, held: StartCheckout, gateway: FakeGateway
) -> None:
    await started(db, held, gateway)
    assert (await twice(Closing(db, {}), held)).silent == 1


@pytest.mark.parametrize("acted", [True, False])
async def test_an_unfinished_start_is_finished_and_ended_whether_the_gateway_had_acted_or_not(
    db: Database, rows: Rows, held: StartCheckout, gateway: FakeGateway, asking: Closing, acted: bool
) -> None:
    start = await wished(db, held)
    if acted:
        await gateway.start(held.tenant, start.to_start)
    assert (await twice(asking, held)).all_ended
    assert [one.status for one in gateway.payments.values()] == [PaymentStatus.EXPIRED]
    assert await ours(rows) == ("expired", True)
    assert await rows.value("SELECT payment_id FROM payment_starts") == next(iter(gateway.payments))


async def test_an_unfinished_start_whose_payment_was_made_is_evidence(
    db: Database, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    made = await gateway.start(held.tenant, (await wished(db, held)).to_start)
    stands(gateway, made.payment_id, PaymentStatus.CAPTURED)
    [capture] = (await twice(asking, held)).captures
    assert (capture.payment_id, capture.amount) == (made.payment_id, 2000)


async def test_a_start_that_the_gateway_refuses_is_closed(
    db: Database, rows: Rows, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    start = await wished(db, held)
    gateway.refuses_starts = True
    assert (await twice(asking, held)).all_ended
    assert await rows.value("SELECT closed_at IS NOT NULL FROM payment_starts")
    with pytest.raises(GatewayRefused):
        await asking.start(start)


async def test_a_start_that_is_too_old_to_be_asked_again_is_closed_unasked(
    db: Database, rows: Rows, admin: shop.Connection, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    await wished(db, held)
    await admin.execute("UPDATE payment_starts SET requested_at = requested_at - %s", (timedelta(hours=13),))
    assert (await twice(asking, held)).all_ended
    assert gateway.asked == 0
    assert await rows.value("SELECT closed_at IS NOT NULL FROM payment_starts")


async def test_a_payment_that_is_decided_is_no_evidence_a_second_time(
    db: Database, rows: Rows, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    payment = await started(db, held, gateway)
    stands(gateway, payment, PaymentStatus.CAPTURED, amount=1999)
    [wrong] = (await asking.close_payments(held.ref)).captures
    assert (await settle(db, confirm(held.ref, wrong))).ruling is Ruling.REFUND
    assert (await twice(asking, held)).all_ended
    assert (await ours(rows))[0] == "captured"


async def test_two_who_ask_at_once_hear_the_same(
    db: Database, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    for number in range(4):
        await started(db, held, gateway, f"k{number}")
    await wished(db, held, "unfinished")
    answers = await asyncio.gather(*(asking.close_payments(held.ref) for _ in range(4)))
    assert all(answer.all_ended for answer in answers)
    assert {one.status for one in gateway.payments.values()} == {PaymentStatus.EXPIRED}
    assert len(gateway.payments) == 5


async def test_ending_one_payment_says_how_it_stands_and_leaves_the_others(
    db: Database, rows: Rows, held: StartCheckout, gateway: FakeGateway, asking: Closing
) -> None:
    first, second = [await started(db, held, gateway, key) for key in ("a", "b")]
    for _ in range(2):
        said = await asking.end(held.ref, SANDBOX, first)
        assert isinstance(said, GatewayPayment)
        assert said.status is PaymentStatus.EXPIRED
    statuses = dict(sorted((row["payment_id"], row["status"]) for row in await rows.all("SELECT * FROM payments")))
    assert statuses == {first: "expired", second: "created"}
