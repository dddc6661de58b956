"""One payment that is made around the end of its hold."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

from domain.ids import ProductId
from tests.support import shop
from tests.support.buyers import Buyer, insist
from tests.support.checkouts import Rows
from tests.support.fleet import Fleet
from tests.support.system import QUICK


async def one_trial(fleet: Fleet, admin: shop.Connection, places: asyncio.Semaphore, offset: float, number: int) -> str:
    """`confirmed` or `refunded`, having looked at stock, order and money. Odd ones are told of by the storefront."""
    async with places:
        buyer = fleet.buyer(QUICK)
        product = await shop.make_product(admin, QUICK, stock=1)
        held = (await insist(lambda: buyer.start((product, 1), key="only"))).json()
        made = await fleet.gateway.create(QUICK, held["id"], held["total"], held["currency"])
        end = datetime.fromisoformat(held["expires_at"]).timestamp()
        await asyncio.sleep(max(0.0, end + offset - time.time()))
        await pay(fleet, buyer, held["id"], made["id"], by_storefront=bool(number % 2))
        return await outcome(fleet, Rows(admin), buyer, product, held["id"], made["id"])


async def pay(fleet: Fleet, buyer: Buyer, checkout: str, payment: str, *, by_storefront: bool) -> None:
    await fleet.gateway.pay(payment, drop=by_storefront)
    if by_storefront:
        answer = await insist(lambda: buyer.confirm(checkout, payment, key="only"))
        assert answer.status_code in (200, 202, 409), answer.text
        if answer.status_code == 409:
            assert answer.json()["code"] == "payment_refunded", answer.text


async def outcome(fleet: Fleet, rows: Rows, buyer: Buyer, product: ProductId, checkout: str, payment: str) -> str:
    """What became of it; AssertionError when stock, order and money disagree."""

    def over(view: dict[str, Any]) -> bool:
        """A late payment may be judged a moment before the run notices the end; so the status is waited for too."""
        return view["status"] != "held" and any(
            one["outcome"] == "order" or one["refund_status"] == "refunded" for one in view["payments"]
        )

    view = await buyer.when(checkout, over, "decided", seconds=30)
    [decided] = view["payments"]
    money = await fleet.gateway.payment(payment)
    stock = await rows.stock(QUICK, product)
    if decided["outcome"] == "order":
        assert (view["status"], money["status"], stock) == ("confirmed", "captured", (0, 0, 1)), (view, money, stock)
        assert [order["id"] for order in await buyer.orders()] == [view["order_id"]]
        return "confirmed"
    assert (view["status"], money["status"], decided["reason"]) == ("expired", "refunded", "late"), (view, money)
    assert (stock, await buyer.orders()) == ((1, 0, 0), []), (view, stock)
    return "refunded"
