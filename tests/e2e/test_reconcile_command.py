"""`holdfast payments reconcile`, run as a program beside a whole system."""

from __future__ import annotations

import json

import pytest

from tests.support.buyers import Buyer
from tests.support.command import CommandLine, Done
from tests.support.system import DEMO, OTHER, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def reconcile(system: System, *arguments: str, command: str = "reconcile", **environment: str) -> Done:
    """Run it; what happened just now is judged, too."""
    now = ("--since", "1d", "--grace", "0") if command == "reconcile" else ()
    return await CommandLine(system.admin_url).run(
        "payments",
        command,
        *now,
        *arguments,
        HOLDFAST_SANDBOX_GATEWAY_URL=system.settings.sandbox_gateway_url,
        TEMPORAL_ADDRESS=environment.get("temporal", system.client.service_client.config.target_host),
        TEMPORAL_NAMESPACE=system.client.namespace,
    )


async def sold(system: System) -> tuple[Buyer, str, str]:
    """(buyer, checkout, payment) of an order."""
    buyer = system.buyer()
    checkout = await buyer.hold((await system.product(), 1))
    payment = await system.payment(checkout)
    await system.gateway.pay(payment)
    await buyer.until(checkout["id"], "confirmed")
    return buyer, checkout["id"], payment


async def test_a_shop_whose_ledger_agrees_ends_with_0(system: System) -> None:
    done = await reconcile(system, "--tenant", OTHER)
    assert (done.code, done.err) == (0, ""), done.out
    assert done.out.splitlines()[0].startswith("other at sandbox: payments made from ")
    assert "flagged" in done.out
    assert "\x1b" not in done.out, "colour is for terminals only"


async def test_what_is_repaired_and_what_is_flagged_is_told_with_why_and_what_to_do(system: System) -> None:
    _, _, by_hand = await sold(system)
    await system.gateway.refund(by_hand, 400)
    buyer = system.buyer()
    unheard = await buyer.hold((await system.product(), 1))
    payment = await system.payment(unheard)
    await system.gateway.pay(payment, drop=True)
    tried = await reconcile(system, "--dry-run")
    assert tried.code == 3
    assert f"to repair {payment}" in tried.out
    done = await reconcile(system)
    assert done.code == 3
    flagged, repaired = _at(done.out, by_hand), _at(done.out, payment)
    assert flagged.startswith(
        f"FLAGGED   {by_hand}   gateway: captured 10.00 COP, 4.00 COP refunded; ours: order 10.00"
    )
    assert repaired == f"repaired  {payment}   gateway: captured 10.00 COP; ours: never heard of"
    for word in ("why       ", "to do     ", f"checkout  {unheard['id']}", "finding   "):
        assert f"\n{word}" in done.out
    assert len({line.index("gateway: ") for line in (flagged, repaired)}) == 1, "in columns"
    await buyer.until(unheard["id"], "confirmed")
    again = await reconcile(system, "--json")
    [ledger] = json.loads(again.out)
    [finding] = ledger["findings"]
    assert (again.code, ledger["counts"]["repaired"], finding["payment_id"]) == (3, 0, by_hand)
    listed = await reconcile(system, command="findings")
    assert finding["finding"] in listed.out
    assert "1 open finding\n" in listed.out
    accepted = await reconcile(system, finding["finding"], "a discount", command="accept")
    assert accepted.out == f"refunded_elsewhere of {by_hand} is accepted by {_actor(accepted.out)}\n"
    assert (await reconcile(system)).code == 0
    assert "0 open findings" in (await reconcile(system, command="findings")).out
    system.unmatched.add(by_hand)


async def test_a_gateway_that_is_down_ends_with_1_and_says_so(system: System) -> None:
    await system.gateway.fail(list="down")
    done = await reconcile(system)
    assert done.code == 1
    assert "ERROR     the gateway's list could not be read to its end: gateway_unavailable: " in done.out
    await system.gateway.fail()


async def test_an_engine_that_is_down_ends_with_1_and_the_next_run_repairs(system: System) -> None:
    buyer = system.buyer()
    unheard = await buyer.hold((await system.product(), 1))
    await system.gateway.pay(await system.payment(unheard), drop=True)
    down = await reconcile(system, temporal="127.0.0.1:1")
    assert (down.code, down.out) == (1, "")
    assert down.err.startswith("holdfast: The workflow engine did not take the event")
    cursor = await system.admin.execute(
        "SELECT error FROM reconciliation_runs WHERE tenant_id = %s ORDER BY started_at DESC LIMIT 1", (DEMO,)
    )
    assert (await cursor.fetchone() or ("",))[0].startswith("unavailable: ")
    assert "repaired " in (await reconcile(system)).out
    await buyer.until(unheard["id"], "confirmed")


async def test_what_cannot_be_meant_is_refused_with_a_word(system: System) -> None:
    for arguments, says in (
        (("--gateway", "manual"), "'manual' has no ledger to compare"),
        (("--gateway", "standard"), "has not set up standard"),
        (("--since", "yesterday"), "--since is 90m, 24h, 7d or a time"),
    ):
        done = await reconcile(system, *arguments)
        assert done.code in (1, 2)
        assert says in done.err
    unknown = await reconcile(system, "00000000-0000-4000-8000-000000000000", "a note", command="accept")
    assert (unknown.code, unknown.err) == (1, "holdfast: there is no such finding\n")


def _at(out: str, payment: str) -> str:
    [line] = [line for line in out.splitlines() if payment in line]
    return line


def _actor(out: str) -> str:
    return out.rsplit(" ", 1)[1].strip()
