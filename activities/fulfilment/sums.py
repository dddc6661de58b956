"""The sums under an order's lines, on receipts and in e-mails."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from activities.fulfilment.plain_text import plain
from db.order_facts import OrderFacts

MOST_TAXES = 6
"""So many are named one by one."""
Sums = list[tuple[str, str]]
"""(what, amount)"""


def sums_of(order: OrderFacts, text: Mapping[str, str], amount: Callable[[int], str]) -> Sums:
    """What stands between the lines and the total. A tax that prices include is named beside it, and not added."""
    sums = [(text["subtotal"], amount(order.subtotal))]
    sums += [(text["discount"], amount(-order.discount))] if order.discount else []
    return sums + _taxes(order, text, amount)


def total_of(order: OrderFacts, text: Mapping[str, str], amount: Callable[[int], str]) -> tuple[str, str]:
    """The last of the sums."""
    return text["total"], amount(order.total)


def _taxes(order: OrderFacts, text: Mapping[str, str], amount: Callable[[int], str]) -> Sums:
    included = sum(one.tax for one in order.taxes if one.included)
    if 0 < len(order.taxes) <= MOST_TAXES:
        return [
            (f"{plain(one.tax_class, 40)} ({text['included']})" if one.included else plain(one.tax_class, 40),
             amount(one.tax))
            for one in order.taxes
        ]  # fmt: skip
    sums = [(text["tax"], amount(order.tax))] if order.tax else []
    return sums + ([(f"{text['tax']} ({text['included']})", amount(included))] if included else [])
