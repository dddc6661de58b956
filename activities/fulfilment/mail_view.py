"""What e-mails' templates are given: texts and formatted amounts, cleaned, and nothing that has methods of its own."""

from __future__ import annotations

from typing import Any

from activities.fulfilment.plain_text import plain
from activities.fulfilment.sums import sums_of, total_of
from activities.fulfilment.wording import TEXTS, moment, money, reason_text, short
from db.order_facts import LineFacts, Looks, OrderFacts
from db.refund_notices import RefundFacts
from domain.fiscal import FiscalStatus
from domain.ids import PaymentId


def order_view(order: OrderFacts, name: str | None, language: str, *, tickets: bool) -> dict[str, Any]:
    """Of a confirmation. `tickets`: whether they are attached. `name`: the buyer's, if it is known."""
    return {"shop": shop_view(order.looks), "name": _name(name), "tickets": tickets, "order": _order(order, language)}


def refund_view(
    looks: Looks, facts: RefundFacts, payment: PaymentId, name: str | None, language: str
) -> dict[str, Any]:
    """Of the e-mail that tells of a refund."""
    return {
        "shop": shop_view(looks),
        "name": _name(name),
        "amount": money(facts.amount, facts.currency, language),
        "reason": reason_text(facts.reason, language),
        "payment": plain(payment, 100),
    }


def shop_view(looks: Looks) -> dict[str, str]:
    """How the shop looks; `on_color`: of text on its colour."""
    red, green, blue = (int(looks.brand_color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.62
    return {
        "name": plain(looks.name, 80),
        "logo": plain(looks.logo, 40),
        "color": looks.brand_color,
        "on_color": "#1c2430" if bright else "#ffffff",
    }


def _name(name: str | None) -> str:
    return plain(name, 80) if name else ""


def _order(order: OrderFacts, language: str) -> dict[str, Any]:
    text = TEXTS[language]

    def amount(value: int) -> str:
        return money(value, order.currency, language)

    sums = sums_of(order, text, amount)
    return {
        "id": order.order_id,
        "short": short(order.order_id),
        "date": moment(order.created_at, order.looks.time_zone, language),
        "total": amount(order.total),
        "fiscal_number": plain(order.fiscal_number, 60) if order.fiscal_number else "",
        "fiscal": order.fiscal_status is not FiscalStatus.NONE,
        "lines": [_line(line, order, language) for line in order.lines],
        "sums": [*(sums if len(sums) > 1 else []), total_of(order, text, amount)],
    }


def _line(line: LineFacts, order: OrderFacts, language: str) -> dict[str, Any]:
    return {
        "title": plain(line.event if line.event is not None else line.name),
        "detail": " · ".join(_details(line, order.looks, language)),
        "quantity": line.quantity,
        "amount": money(line.list_price * line.quantity, order.currency, language),
    }


def _details(line: LineFacts, looks: Looks, language: str) -> list[str]:
    text = TEXTS[language]
    found = [moment(line.starts_at, looks.time_zone, language)] if line.starts_at else []
    found += [plain(one) for one in (line.venue, line.zone) if one]
    if line.row is not None and line.seat is not None:
        found.append(f"{text['row']} {plain(line.row, 40)}, {text['seat']} {line.seat}")
    return found
