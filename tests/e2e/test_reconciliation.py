"""The gateway's ledger against ours, with a real gateway, engine and database."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from db.reconciliation_findings import accept_finding
from db.reconciliation_runs import last_runs
from domain.disagreements import Kind
from domain.ids import Actor, PaymentId
from domain.naming import late_payment_workflow_id
from tests.support.buyers import Buyer, decided
from tests.support.reconciling import SANDBOX, Reconciling, kinds, reconciling
from tests.support.system import DEMO, OTHER, QUICK, System
from tests.support.waiting import eventually, pausing

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def desk(system: System) -> AsyncIterator[Reconciling]:
    """Beside the system, whose ledger must agree with ours at the end."""
    async with reconciling(system) as one:
        yield one
        await system.gateway.behave()
        await system.gateway.fail()
        await system.end_well()
        for tenant in (DEMO, QUICK, OTHER):
            again = await one.look(tenant)
            assert (again.error, [seen for seen in again.seen if not seen.flagged]) == (None, [])


async def held(system: System, **more: Any) -> tuple[Buyer, dict[str, Any]]:
    """(buyer, checkout held for 15 minutes)."""
    buyer = system.buyer()
    return buyer, await buyer.hold((await system.product(**more), 1))


async def sold(system: System) -> tuple[Buyer, dict[str, Any], str]:
    """(buyer, confirmed checkout, payment)."""
    buyer, checkout = await held(system)
    payment = await system.payment(checkout)
    await system.gateway.pay(payment)
    return buyer, await buyer.until(checkout["id"], "confirmed"), payment


async def test_a_payment_whose_webhook_never_came_makes_its_order(system: System, desk: Reconciling) -> None:
    buyer, checkout = await held(system)
    payment = await system.payment(checkout)
    await system.gateway.pay(payment, drop=True)
    done = await desk.run()
    assert kinds(done) == {payment: Kind.PAID_WITHOUT_OUTCOME}
    assert (done.counts.repaired, done.counts.flagged) == (1, 0)
    view = await buyer.until(checkout["id"], "confirmed")
    assert view["order_id"]
    again = await desk.run()
    assert (again.counts.repaired, again.counts.flagged, kinds(again)) == (0, 0, {})
    assert await desk.open() == {}


async def test_a_capture_that_is_too_young_to_be_mended_stays_in_flight_so_that_the_holds_end_asks_about_it(
    system: System, desk: Reconciling
) -> None:
    buyer, checkout = await held(system)
    started = await buyer.pay(checkout["id"])
    await system.gateway.pay(started["payment_id"], drop=True)
    await asyncio.sleep(1.1)
    async with reconciling(system, grace=timedelta(seconds=1)) as careful:
        await system.admin.execute("UPDATE payments SET changed_at = clock_timestamp()")
        done = await careful.run()
    assert (done.counts.too_young, done.counts.repaired, done.counts.noted) == (1, 0, 0)
    [payment] = (await buyer.read(checkout["id"]))["payments"]
    assert payment["status"] == "created"
    assert (await desk.run()).counts.repaired == 1
    await buyer.until(checkout["id"], "confirmed")


async def test_a_late_payment_whose_webhook_never_came_is_refunded(system: System, desk: Reconciling) -> None:
    product, buyer = await system.product(stock=1, tenant=QUICK), system.buyer(QUICK)
    over = await buyer.until((await buyer.hold((product, 1)))["id"], "expired", seconds=6)
    rival = system.buyer(QUICK)
    taken = await rival.hold((product, 1))
    payment = await system.payment(over, QUICK)
    await system.gateway.pay(payment, drop=True)
    assert kinds(await desk.run(QUICK)) == {payment: Kind.PAID_WITHOUT_OUTCOME}
    assert (await buyer.until_refunded(over["id"], payment))["outcome"] == "refund"
    await rival.until(taken["id"], "expired", seconds=6)
    assert (await desk.run(QUICK)).counts.repaired == 0


async def test_a_payment_that_came_and_went_unseen_is_recorded_as_refunded(system: System, desk: Reconciling) -> None:
    buyer, checkout = await held(system)
    payment = await system.payment(checkout)
    await system.gateway.pay(payment, drop=True)
    await system.gateway.refund(payment, drop=True)
    assert kinds(await desk.run()) == {payment: Kind.REFUNDED_UNSEEN}
    view = await buyer.read(checkout["id"])
    [outcome] = view["payments"]
    assert (outcome["outcome"], outcome["refund_status"]) == ("refund", "refunded")
    assert view["status"] == "held", "no order comes of money that is gone"
    assert kinds(await desk.run()) == {}
    await buyer.cancel(checkout["id"])


async def test_a_second_payment_whose_webhook_never_came_is_refunded(system: System, desk: Reconciling) -> None:
    buyer, checkout, _ = await sold(system)
    second = await system.payment(checkout)
    await system.gateway.pay(second, drop=True)
    assert kinds(await desk.run()) == {second: Kind.SECOND_CAPTURE}
    assert (await buyer.until_refunded(checkout["id"], second))["reason"] == "second_payment"
    assert kinds(await desk.run()) == {}


async def test_a_refund_that_lost_its_run_is_made(system: System, desk: Reconciling) -> None:
    buyer, checkout = await held(system)
    await buyer.cancel(checkout["id"])
    payment = await system.payment(checkout, amount=1)
    await system.gateway.fail(refund="down")
    await system.gateway.pay(payment)
    await buyer.when(checkout["id"], decided, "decided")
    run = system.client.get_workflow_handle(late_payment_workflow_id(DEMO, SANDBOX, PaymentId(payment)))
    await eventually(lambda: pausing(run))  # An attempt on its way would go on after the end of its run, and succeed.
    await run.terminate("a test")
    await system.gateway.fail()
    assert kinds(await desk.run()) == {payment: Kind.REFUND_UNFINISHED}
    await buyer.until_refunded(checkout["id"], payment)
    assert kinds(await desk.run()) == {}


@pytest.mark.parametrize("amount", [None, 1], ids=["whole", "part"])
async def test_a_refund_by_hand_at_the_gateways_desk_is_seen_and_may_be_accepted(
    system: System, desk: Reconciling, amount: int | None
) -> None:
    _, _, payment = await sold(system)
    await system.gateway.refund(payment, amount)
    with capture_logs() as logs:
        done = await desk.run()
        await desk.run()
    assert kinds(done) == {payment: Kind.REFUNDED_ELSEWHERE}
    assert (done.counts.repaired, done.counts.flagged) == (0, 1)
    told = [line for line in logs if line["event"] == "payment_disagrees" and line["payment"] == payment]
    assert [line["log_level"] for line in told] == ["warning"], "told once"
    [finding] = await desk.findings()
    await accept_finding(system.database, DEMO, Actor("cli:test"), finding.id, "the buyer asked at the desk")
    assert (await desk.run()).counts.flagged == 0
    assert await desk.open() == {}
    system.unmatched.add(payment)  # An order whose money went back by hand: people know of it.
    if amount == 1:
        await system.gateway.refund(payment, 1)
        assert kinds(await desk.run()) == {payment: Kind.REFUNDED_ELSEWHERE}, "what was accepted is something else"
        [finding] = await desk.findings()
        await accept_finding(system.database, DEMO, Actor("cli:test"), finding.id, "that too")


async def test_an_order_whose_payment_the_gateway_does_not_know_is_flagged(system: System, desk: Reconciling) -> None:
    _, _, payment = await sold(system)
    unknown = f"pay_{uuid.uuid4().hex[:8]}"
    for table in ("orders", "payment_outcomes", "payment_events", "payments"):
        await system.admin.execute(f"UPDATE {table} SET payment_id = %s WHERE payment_id = %s", (unknown, payment))
    done = await desk.run()
    # The payment that the gateway has instead is the order's second one, and goes back.
    assert kinds(done) == {payment: Kind.SECOND_CAPTURE, unknown: Kind.PAYMENT_UNKNOWN}
    assert (done.counts.repaired, done.counts.flagged) == (1, 1)
    assert (await desk.open())[unknown] is Kind.PAYMENT_UNKNOWN
    await _accept_all(desk)


async def test_amounts_that_differ_are_flagged(system: System, desk: Reconciling) -> None:
    _, _, payment = await sold(system)
    await system.admin.execute("UPDATE payment_outcomes SET amount = amount + 1 WHERE payment_id = %s", (payment,))
    try:
        done = await desk.run()
        assert kinds(done) == {payment: Kind.AMOUNT_DIFFERS}
        assert done.seen[0].detail["gateway"]["amount"] + 1 == done.seen[0].detail["ours"]["amount"]
    finally:
        await system.admin.execute("UPDATE payment_outcomes SET amount = amount - 1 WHERE payment_id = %s", (payment,))
    assert (await desk.run()).counts.flagged == 0
    assert await desk.open() == {}, "what agrees again is resolved by itself"


async def test_a_dry_run_writes_and_begins_nothing(system: System, desk: Reconciling) -> None:
    _, checkout = await held(system)
    payment = await system.payment(checkout)
    await system.gateway.pay(payment, drop=True)
    before = await _rows(system)
    done = await desk.look()
    assert kinds(done) == {payment: Kind.PAID_WITHOUT_OUTCOME}
    assert done.counts.repaired == 0
    assert await _rows(system) == before
    await desk.run()


async def test_two_runs_at_once_and_again_have_one_effect(system: System, desk: Reconciling) -> None:
    buyer, checkout, _ = await sold(system)
    seconds = [await system.payment(checkout) for _ in range(5)]
    for payment in seconds:
        await system.gateway.pay(payment, drop=True)
    same = str(uuid.uuid4())
    await asyncio.gather(desk.run(), desk.run(), desk.run(run_id=same), desk.run(run_id=same))
    for payment in seconds:
        await buyer.until_refunded(checkout["id"], payment)
    await desk.run()
    movements = [one for one in await system.gateway.ledger(DEMO) if one["payment_id"] in seconds]
    assert sorted(one["kind"] for one in movements) == ["capture"] * 5 + ["refund"] * 5
    assert await desk.open() == {}


@pytest.mark.parametrize("fault", ["down", "garbage", "slow"])
async def test_a_gateway_that_fails_while_it_lists_ends_the_run_and_the_next_one_covers_its_window(
    system: System, desk: Reconciling, fault: str
) -> None:
    await desk.run(since=None)
    buyer, checkout = await held(system)
    payment = await system.payment(checkout)
    await system.gateway.pay(payment, drop=True)
    await system.gateway.fail(list=fault)
    failed = await desk.run(since=None)
    [run, *_] = await last_runs(system.database, DEMO)
    if fault == "slow":  # It answers after all, within our patience.
        assert (failed.error, kinds(failed)) == (None, {payment: Kind.PAID_WITHOUT_OUTCOME})
    else:
        assert failed.error is not None
        assert failed.error.startswith("gateway_unavailable")
        assert (run.error, run.finished_at is not None) == (failed.error, True)
    await system.gateway.fail()
    done = await desk.run(since=None)
    assert (done.window.since == failed.window.since) == (failed.error is not None)
    assert done.error is None
    await buyer.until(checkout["id"], "confirmed")


async def test_what_just_changed_is_left_for_the_next_run(system: System) -> None:
    from datetime import timedelta

    _, _, payment = await sold(system)
    await system.gateway.refund(payment)
    async with reconciling(system, timedelta(seconds=3)) as patient:
        await asyncio.sleep(3.1)
        await system.admin.execute(
            "UPDATE payment_outcomes SET decided_at = clock_timestamp() WHERE payment_id = %s", (payment,)
        )
        young = await patient.run()
        assert kinds(young) == {}
        assert young.counts.too_young >= 1
        await asyncio.sleep(3.1)
        assert kinds(await patient.run()) == {payment: Kind.REFUNDED_ELSEWHERE}
        await _accept_all(patient)
    system.unmatched.add(payment)


async def test_another_shops_payments_are_not_looked_at(system: System, desk: Reconciling) -> None:
    buyer = system.buyer(OTHER)
    checkout = await buyer.hold((await system.product(tenant=OTHER), 1))
    payment = await system.payment(checkout, OTHER)
    await system.gateway.pay(payment, drop=True)
    assert payment not in kinds(await desk.run(DEMO))
    assert kinds(await desk.run(OTHER)) == {payment: Kind.PAID_WITHOUT_OUTCOME}
    await buyer.until(checkout["id"], "confirmed")


async def _accept_all(desk: Reconciling) -> None:
    for finding in await desk.findings():
        await accept_finding(desk.system.database, DEMO, Actor("cli:test"), finding.id, "a test")


async def _rows(system: System) -> list[Any]:
    tables = ("reconciliation_runs", "reconciliation_findings", "payments", "payment_events", "payment_outcomes")
    found = []
    for table in tables:
        cursor = await system.admin.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
        found.append(await cursor.fetchall())
    return found
