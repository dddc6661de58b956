"""`holdfast payments`, run as a program beside a whole system."""

from __future__ import annotations

import os
import pwd

import pytest

from local.ports import free_port
from tests.support.command import CommandLine, Done
from tests.support.operator import Operator, refunds_at_the_gateway, sell
from tests.support.system import DEMO, System

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOBODYS = "00000000-0000-4000-8000-000000000000"
ME = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"


async def payments(system: System, *arguments: str, **changed: str) -> Done:
    engine = {"TEMPORAL_ADDRESS": system.client.service_client.config.target_host}
    engine |= {"TEMPORAL_NAMESPACE": system.client.namespace, "HOLDFAST_TASK_QUEUE": system.settings.task_queue}
    holdfast = CommandLine(system.settings.database_url.get_secret_value())
    return await holdfast.run("payments", *arguments, **{**engine, **changed})


async def test_an_order_is_refunded_and_the_same_command_again_is_the_same_refund(system: System) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    command = ("refund", sold.order, "--amount", "400", "--reason", "A cup was broken")
    first = await payments(system, *command)
    assert (first.code, first.err) == (0, ""), first
    assert "of 4.00 COP: intended\n" in first.out
    await keeper.until_refunded(sold.payment)
    again = await payments(system, *command)
    assert "of 4.00 COP: refunded\n" in again.out
    assert again.out.split()[1] == first.out.split()[1]
    other = await payments(system, *command, "--key", "another")
    assert other.code == 0
    await keeper.until_refunded(sold.payment)
    assert await refunds_at_the_gateway(system, sold.payment) == [400, 400]

    over = await payments(system, *command, "--key", "a third")
    assert (over.code, over.err) == (1, "holdfast: 200 COP (minor units) are left of this order.\n")
    shown = await payments(system, "show", sold.payment)
    assert shown.out.startswith(f"It made order {sold.order}. Of it, 800 (minor units) was given back.\n")
    assert f"refund of 4.00 COP decided by {ME}: A cup was broken; made 20" in shown.out
    assert f"refund/{DEMO}/{sold.order}" in shown.out
    listed = await payments(system, "list", "--checkout", sold.checkout)
    assert "1 payment\n" in listed.out
    assert "order refunded 8.00 COP" in listed.out
    assert (await payments(system, "list", "--refund-status", "intended")).out == "0 payments\n"


async def test_a_refund_decided_while_temporal_is_down_says_who_starts_it(system: System) -> None:
    sold, keeper = await sell(system, (await system.product(), 1)), Operator.of(system)
    command = ("refund", sold.order, "--reason", "Cancelled")
    away = await payments(system, *command, TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    assert (away.code, away.err) == (
        0, "Temporal does not answer: the consistency check starts it when it is back\n",
    )  # fmt: skip
    assert (await payments(system, *command)).code == 0
    await keeper.until_refunded(sold.payment)
    assert await refunds_at_the_gateway(system, sold.payment) == [1000]


async def test_stock_is_given_back_by_lines_and_then_all_of_it(system: System) -> None:
    coffee, tea = await system.product(), await system.product()
    sold = await sell(system, (coffee, 2), (tea, 1))
    [line] = [one["line"] for one in (await sold.read())["lines"] if one["product_id"] == coffee]
    some = await payments(system, "return", sold.order, "--line", f"{line}=1")
    assert (some.code, some.out) == (0, f"line {line}: 1 on sale again\n"), some.err
    again = await payments(system, "return", sold.order, "--line", f"{line}=1")
    assert again.out.startswith("nothing was given back")
    every = await payments(system, "return", sold.order)
    assert every.out.count("on sale again") == 2
    assert [await system.stock(each) for each in (coffee, tea)] == [(10, 0, 0)] * 2
    over = await payments(system, "return", sold.order, "--line", f"{line}=1", "--key", "more")
    assert (over.code, over.err) == (1, f"holdfast: Line {line} has 0 units left to give back.\n")
    wrong = await payments(system, "return", sold.order, "--line", "9=1")
    assert wrong.code == 1
    assert "does not have" in wrong.err


async def test_a_bank_transfer_is_recorded_and_returned_by_hand(system: System) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    wrong = await payments(system, "manual", held["id"], "--name", "T 1", "--reason", "Seen", "--amount", "5")
    assert wrong.code == 1
    assert "`amount` is not the checkout's total." in wrong.err
    command = ("manual", held["id"], "--name", "T 1", "--reason", "Seen on the account")
    away = await payments(system, *command, TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    assert (away.code, away.out) == (1, "")
    recorded = await payments(system, *command)
    assert recorded.code == 0, recorded.err
    payment = recorded.out.split()[1]
    order = (await buyer.until(held["id"], "confirmed"))["order_id"]
    assert (await payments(system, *command)).out == recorded.out

    await payments(system, "refund", order, "--reason", "Sent back")
    shown = await payments(system, "show", payment)
    assert f"is to be returned by hand, and then recorded: `holdfast payments refunded {payment}`." in shown.out
    assert f"recorded by {ME} as 'T 1': Seen on the account; returned by hand: 0.00 COP" in shown.out
    part = await payments(system, "refunded", payment, "--by", "T 2", "--amount", "300")
    assert (part.code, part.out) == (0, "3.00 COP of 10.00 COP are recorded as returned\n")
    whole = await payments(system, "refunded", payment, "--by", "T 3")
    assert whole.out == "10.00 COP of 10.00 COP are recorded as returned\n"
    assert "All of it was given back." in (await payments(system, "show", payment)).out
    over = await payments(system, "refunded", payment, "--by", "T 4", "--amount", "1001")
    assert over.code == 1
    assert "refund the order first" in over.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "pay_nowhere"), 1, "nobody has heard of a payment 'pay_nowhere' of gateway 'sandbox'"),
        (("show", "man_nowhere"), 1, "of gateway 'manual'"),
        (("refund", "x", "--reason", "y"), 1, "'x' is no id of an order"),
        (("refund", NOBODYS, "--reason", "y"), 1, "there is no order"),
        (("refund", NOBODYS, "--reason", "a\nb"), 2, "reason"),
        (("refund", "x"), 2, "--reason"),
        (("return", NOBODYS, "--line", "1"), 2, "LINE=UNITS"),
        (("manual", "x", "--name", "n", "--reason", "r"), 1, "'x' is no id of a checkout"),
        (
            ("manual", NOBODYS, "--name", "n", "--reason", "r"),
            1,
            "there is no checkout",
        ),
        (("refunded", "man_nowhere", "--by", "b"), 1, "there is no payment man_nowhere by hand"),
        (("list", "--status", "paid"), 2, "--status is one of"),
        (("list", "--checkout", "x"), 2, "--checkout is the id of a checkout"),
    ],
    ids=str,
)
async def test_what_cannot_be_is_told_in_one_message(
    system: System, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = await payments(system, *arguments)
    assert done.code == code, done
    assert said in " ".join(done.err.split()), done.err
    assert "Traceback" not in done.err
