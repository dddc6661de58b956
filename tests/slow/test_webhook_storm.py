"""5,000 webhooks against 500 checkouts: copied, shuffled, forged, early. The ledgers must agree to the last unit."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from domain.ids import BuyerKey, ProductId, checkout_id_for
from tests.support import shop
from tests.support.buyers import Buyer, insist
from tests.support.checkouts import Rows
from tests.support.fleet import Fleet
from tests.support.storm import Message, copied, event_of, forged
from tests.support.system import DEMO

pytestmark = pytest.mark.slow
SEED = 20261122
CHECKOUTS, WEBHOOKS, FORGED = 500, 5_000, 500
EARLY = 60
"""Checkouts that are started in the middle of the storm: most of their webhooks come before them."""
PRICE = 1_000
AT_ONCE = 16
PATIENCE = 240.0
"""Seconds for which one request is sent again while it is answered 503; the orders are fulfilled beside the storm."""


@dataclass
class Purchase:
    """A checkout that is or will be, and what its buyer pays: (amount, the events of it, in the order they happen)."""

    buyer: Buyer
    product: ProductId
    early: bool
    cancelled: bool
    payments: list[tuple[int, tuple[str, ...]]]
    paid: dict[str, int] = field(default_factory=dict)
    """What was captured, by payment."""

    @property
    def id(self) -> str:
        return checkout_id_for(DEMO, BuyerKey(f"user:{self.buyer.subject}"), "only")

    async def start(self) -> None:
        answer = await insist(lambda: self.buyer.start((self.product, 1), key="only"), PATIENCE)
        assert (answer.status_code, answer.json()["id"]) == (201, self.id), answer.text

    async def cancel(self) -> None:
        answer = await insist(lambda: self.buyer.cancel(self.id, key="only"), PATIENCE)
        assert answer.status_code == 200, answer.text

    @property
    def sells(self) -> bool:
        """Whether an order must come of it: some payment has taken the right amount."""
        return PRICE in self.paid.values()


SUCCEEDS = ("created", "processing", "captured")
DECLINED_FIRST = ("created", "processing", "failed", "captured")
DECLINED = ("created", "processing", "failed")


def purchases(fleet: Fleet, products: list[ProductId], dice: random.Random) -> list[Purchase]:
    """Most pay once; some twice, some a wrong amount, some never; some have cancelled before they pay."""
    found = []
    for number in range(CHECKOUTS):
        payments: list[tuple[int, tuple[str, ...]]] = [(PRICE, dice.choice((SUCCEEDS, SUCCEEDS, DECLINED_FIRST)))]
        if number % 10 == 1:
            payments.append((PRICE, SUCCEEDS))
        elif number % 10 == 2:
            payments = [(PRICE - 1, SUCCEEDS), *payments][: dice.randint(1, 2)]
        elif number % 10 == 3:
            payments = [(PRICE, DECLINED)]
        early = number < EARLY
        buyer = fleet.buyer(DEMO)
        found.append(Purchase(buyer, products[number % len(products)], early, not early and number % 10 == 4, payments))
    return found


async def bounded(tasks: Iterable[Awaitable[Any]]) -> list[Any]:
    """All of them, AT_ONCE at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(task: Awaitable[Any]) -> Any:
        async with places:
            return await task

    return list(await asyncio.gather(*map(one, tasks)))


async def pay(fleet: Fleet, purchase: Purchase) -> list[Message]:
    """Take the money at the gateway, which tells nobody; what it would have told."""
    told = []
    for amount, events in purchase.payments:
        made = await fleet.gateway.create(DEMO, purchase.id, amount)
        told += [event_of(made, kind, number) for number, kind in enumerate(events)]
        if events[-1] == "captured":
            await fleet.gateway.pay(made["id"], drop=True)
            purchase.paid[made["id"]] = amount
    return told


async def send(fleet: Fleet, message: Message) -> tuple[str, int]:
    """(what was wrong with it, the answer's status); sent again while it is 503, as a gateway does."""
    answer = await insist(lambda: message.send(fleet.http), PATIENCE)
    return message.forgery, answer.status_code


async def test_a_storm_of_webhooks_leaves_both_ledgers_equal(fleet: Fleet) -> None:
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    async with shop.connect(fleet.admin_url) as admin:
        rows = Rows(admin)
        products = [await shop.make_product(admin, DEMO, stock=CHECKOUTS, price=PRICE) for _ in range(20)]
        all_ = purchases(fleet, products, dice)
        begun = time.monotonic()
        await bounded(one.start() for one in all_ if not one.early)
        await bounded(one.cancel() for one in all_ if one.cancelled)
        started = time.monotonic()
        events = [event for told in await bounded(pay(fleet, one) for one in all_) for event in told]
        storm = copied(events, WEBHOOKS - FORGED, dice) + forged(events, FORGED, dice)
        dice.shuffle(storm)
        paid = time.monotonic()
        answers = await let_loose(fleet, all_, storm, dice)
        print(f"starts {started - begun:.0f} s, payments {paid - started:.0f} s, storm {time.monotonic() - paid:.0f} s")
        assert answers == Counter({(True, 401): FORGED, (False, 200): WEBHOOKS - FORGED})
        await fleet.end_well(180)
        print(f"at rest after {time.monotonic() - begun:.0f} s")
        await look(rows, all_, events)
        await compare(fleet, rows)


async def let_loose(
    fleet: Fleet, all_: list[Purchase], storm: list[Message], dice: random.Random
) -> Counter[tuple[bool, int]]:
    """Everything at once, and the early checkouts' starts somewhere in the second half; (forged, status) counted."""
    work: list[Awaitable[Any]] = [send(fleet, message) for message in storm]
    for one in all_:
        if one.early:
            work.insert(dice.randrange(len(work) // 2, len(work)), one.start())
    answers = [answer for answer in await bounded(work) if answer is not None]
    return Counter((forgery != "", status) for forgery, status in answers)


async def look(rows: Rows, all_: list[Purchase], events: list[Message]) -> None:
    """What is stored, sold and given back, against what was sent."""
    # The gateway itself tells of the refunds that it made.
    stored = await rows.all("SELECT event_id, state FROM payment_events WHERE kind <> 'refunded'")
    assert Counter(one["event_id"] for one in stored) == Counter(event.id for event in events)
    assert {one["state"] for one in stored} == {"settled"}
    outcomes = defaultdict(list)
    for one in await rows.all("SELECT checkout_id::text, payment_id, kind, amount, reason FROM payment_outcomes"):
        outcomes[one["checkout_id"]].append(one)
    for purchase in all_:
        ended = outcomes.pop(purchase.id, [])
        assert {one["payment_id"]: one["amount"] for one in ended} == purchase.paid
        assert [one["amount"] for one in ended if one["kind"] == "order"] == [PRICE] * purchase.sells
        reasons = {one["reason"] for one in ended if one["kind"] == "refund"}
        assert reasons <= {"second_payment", "wrong_amount"}, purchase
    assert outcomes == {}, "payments of nobody's"
    sold = sum(purchase.sells for purchase in all_)
    print(f"{sold} orders, {sum(len(purchase.paid) for purchase in all_) - sold} refunds")
    assert await rows.value("SELECT sum(sold)::integer FROM stock_items") == sold


async def compare(fleet: Fleet, rows: Rows) -> None:
    """The gateway's own ledger and ours, movement by movement."""
    theirs = Counter((one["payment_id"], one["kind"], one["amount"]) for one in await fleet.gateway.ledger(DEMO))
    ours: Counter[tuple[str, str, int]] = Counter()
    for one in await rows.all("SELECT payment_id, kind, amount, refund_status FROM payment_outcomes"):
        ours[one["payment_id"], "capture", one["amount"]] += 1
        if one["kind"] == "refund":
            assert one["refund_status"] == "refunded"
            ours[one["payment_id"], "refund", one["amount"]] += 1
    assert theirs == ours
