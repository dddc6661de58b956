"""The hourly run, as its schedule starts it; and what operators see of it over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from activities.reconciliation import SCHEDULE
from api.caller import Scope
from db.order_refunds import NewOrderRefund, decide_order_refund
from db.reconciliation_runs import last_runs
from domain.disagreements import Kind
from domain.ids import Actor, OrderId, RefundId
from domain.naming import RECONCILE_PAYMENTS, order_refunds_workflow_id
from domain.reconciliation_messages import Reconciled
from tests.support.buyers import Buyer
from tests.support.reconciling import SANDBOX, kinds, reconciling
from tests.support.system import DEMO, OTHER, QUICK, System
from tests.support.waiting import eventually, pausing

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def hourly(system: System) -> Reconciled:
    """What the schedule starts, to its end."""
    done: Reconciled = await system.client.execute_workflow(
        RECONCILE_PAYMENTS,
        id=f"reconcile-payments-{uuid.uuid4().hex[:6]}",
        task_queue=system.settings.task_queue,
        result_type=Reconciled,
    )
    return done


async def sold(system: System) -> tuple[Buyer, dict[str, Any], str]:
    """(buyer, confirmed checkout, payment) of some time ago."""
    buyer = system.buyer()
    checkout = await buyer.hold((await system.product(), 1))
    payment = await system.payment(checkout)
    await system.gateway.pay(payment)
    view = await buyer.until(checkout["id"], "confirmed")
    await age(system)
    return buyer, view, payment


async def age(system: System) -> None:
    """All that we know of payments is an hour older."""
    for table, columns in (
        ("payments", ("known_at", "changed_at")),
        ("payment_events", ("received_at",)),
        ("payment_outcomes", ("decided_at", "refunded_at")),
        ("order_refunds", ("decided_at", "refunded_at")),
    ):
        changes = ", ".join(f"{column} = {column} - interval '1 hour'" for column in columns)
        await system.admin.execute(f"UPDATE {table} SET {changes}")


def operator(system: System) -> dict[str, str]:
    return dict(system.buyer(DEMO, None, Scope.OPERATOR).headers)


async def test_it_goes_through_every_ledger_that_is_set_up(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, payment = await sold(system)
    monkeypatch.setattr("activities.reconciliation.MOST_LEDGERS", 1)  # So that it continues as new, twice and more.
    done = await hourly(system)
    assert (done.failed, done.compared, done.flagged) == (0, 1, 0), payment
    for tenant in (DEMO, QUICK, OTHER):
        runs = await last_runs(system.database, tenant)
        assert [(run.gateway, run.actor, run.error) for run in runs] == [(SANDBOX, SCHEDULE, None)]
        assert runs[0].finished_at is not None


async def test_a_gateway_that_is_down_fails_its_ledgers_and_not_the_run(system: System) -> None:
    await system.gateway.fail(list="down")
    done = await hourly(system)
    assert (done.failed, done.compared) == (3, 0)
    await system.gateway.fail()
    assert (await hourly(system)).failed == 0


async def test_operators_see_the_last_runs_and_what_is_open_and_accept_it(system: System) -> None:
    _, view, payment = await sold(system)
    await system.gateway.refund(payment, 250)
    await age(system)
    async with reconciling(system) as desk:
        assert kinds(await desk.run()) == {payment: Kind.REFUNDED_ELSEWHERE}
    answer = await system.http.get("/v1/ops/reconciliation", headers=operator(system))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["runs"][0]["counts"]["flagged"] == 1
    assert body["runs"][0]["actor"] == "cli:test"
    [finding] = body["findings"]
    assert (finding["kind"], finding["payment_id"]) == ("refunded_elsewhere", payment)
    assert finding["checkout_id"] == view["id"]
    assert (finding["theirs"]["refunded"], finding["ours"]["refunded"]) == (250, 0)
    assert finding["why"]
    assert finding["to_do"]
    assert finding["flagged_at"] is not None
    path, note = f"/v1/ops/reconciliation/findings/{finding['id']}/resolve", {"note": "meant so"}
    for _ in range(2):
        resolved = await system.http.post(path, json=note, headers=operator(system))
        assert resolved.status_code == 200, resolved.text
        assert (resolved.json()["resolution"], resolved.json()["note"]) == ("accepted", "meant so")
    assert (await system.http.get("/v1/ops/reconciliation", headers=operator(system))).json()["findings"] == []
    log = await system.http.get("/v1/ops/audit", headers=operator(system))
    assert [one["action"] for one in log.json()["items"]].count("reconciliation.accepted") == 1
    system.unmatched.add(payment)


@pytest.mark.parametrize("note", ["", "  ", "a\nb", "x" * 501, 5, None])
async def test_a_note_that_is_none_is_refused(system: System, note: object) -> None:
    path = f"/v1/ops/reconciliation/findings/{uuid.uuid4()}/resolve"
    answer = await system.http.post(path, json={"note": note}, headers=operator(system))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize("query", ["after=x", "limit=0", "limit=101", "tenant=other"])
async def test_a_query_that_is_none_is_refused(system: System, query: str) -> None:
    answer = await system.http.get(f"/v1/ops/reconciliation?{query}", headers=operator(system))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_findings_come_in_pages(system: System) -> None:
    for number in range(3):
        await system.admin.execute(
            "INSERT INTO reconciliation_findings (tenant_id, gateway, payment_id, kind, detail) VALUES (%s, %s, %s,"
            " 'payment_unknown', %s)",
            (OTHER, SANDBOX, f"p{number}", '{"gateway": null, "ours": {"status": "captured", "outcome": null}}'),
        )
    headers = dict(system.buyer(OTHER, None, Scope.ADMIN).headers)
    seen, after = [], ""
    for _ in range(3):
        page = (await system.http.get(f"/v1/ops/reconciliation?limit=2{after}", headers=headers)).json()
        seen += [one["payment_id"] for one in page["findings"]]
        after = f"&after={page['next_after']}"
        if page["next_after"] is None:
            break
    assert sorted(seen) == ["p0", "p1", "p2"]


async def test_a_refund_of_an_order_that_lost_its_run_is_made(system: System) -> None:
    _, view, payment = await sold(system)
    order, refund = OrderId(view["order_id"]), RefundId(str(uuid.uuid4()))
    new = NewOrderRefund(refund, order, 300, "a scratch", "f" * 43)
    await decide_order_refund(system.database, DEMO, Actor("cli:test"), new)
    await age(system)
    async with reconciling(system) as desk:
        assert kinds(await desk.run()) == {payment: Kind.ORDER_REFUND_UNFINISHED}
        run = system.client.get_workflow_handle(order_refunds_workflow_id(DEMO, order))
        await run.result()
        assert (await system.gateway.payment(payment))["refunded_amount"] == 300
        assert kinds(await desk.run()) == {}


async def test_a_refund_of_an_order_that_the_gateway_refuses_is_told_to_people_after_a_while(system: System) -> None:
    _, view, payment = await sold(system)
    order, refund = OrderId(view["order_id"]), RefundId(str(uuid.uuid4()))
    await system.gateway.fail(refund="down")
    new = NewOrderRefund(refund, order, None, "a scratch", "f" * 43)
    await decide_order_refund(system.database, DEMO, Actor("cli:test"), new)
    await age(system)
    async with reconciling(system) as desk:
        assert [one.flagged for one in (await desk.run()).seen] == [False]
        await eventually(lambda: pausing(system.client.get_workflow_handle(order_refunds_workflow_id(DEMO, order))))
        await system.admin.execute("UPDATE reconciliation_findings SET repaired_at = repaired_at - interval '1 hour'")
        assert [(one.flagged, one.repaired) for one in (await desk.run()).seen] == [(True, True)]
        await system.gateway.fail()
        await system.client.get_workflow_handle(order_refunds_workflow_id(DEMO, order)).result()
        assert kinds(await desk.run()) == {}
    assert (await system.gateway.payment(payment))["status"] == "refunded"
