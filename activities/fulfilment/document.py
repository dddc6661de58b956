"""What an order's PDF says: a page for each ticket or voucher, and a receipt. Plain data for the renderer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from activities.fulfilment.plain_text import plain
from activities.fulfilment.sums import sums_of, total_of
from activities.fulfilment.ticket_keys import TicketKeys
from activities.fulfilment.wording import TEXTS, moment, money, short
from db.order_facts import LineFacts, OrderFacts
from domain.fiscal import FiscalStatus
from domain.fulfilment import OrderRef
from domain.ticket_token import Ticket

MOST_TICKETS = 200
"""Of one order. Where there are more units, each line has one page, good for all of its units."""


@dataclass(frozen=True)
class TicketPage:
    """A ticket or voucher. `facts`: what it is for, as (label, value)."""

    kind: str
    title: str
    facts: list[tuple[str, str]]
    token: str
    caption: str
    note: str


@dataclass(frozen=True)
class ReceiptLine:
    """A line of the receipt."""

    name: str
    quantity: str
    amount: str


@dataclass(frozen=True)
class Receipt:
    """The last pages. `sums`: the last one is the total."""

    title: str
    facts: list[tuple[str, str]]
    header: ReceiptLine
    lines: list[ReceiptLine]
    sums: list[tuple[str, str]]


@dataclass(frozen=True)
class PdfDocument:
    """A whole PDF, in one language. `page`: the word for it."""

    language: str
    title: str
    logo: str
    shop: str
    color: str
    page: str
    tickets: list[TicketPage]
    receipt: Receipt

    def as_json(self) -> dict[str, object]:
        """For the renderer's process."""
        return asdict(self)


def document_of(ref: OrderRef, order: OrderFacts, keys: TicketKeys, language: str) -> PdfDocument:
    """The order's PDF. There is nothing personal in it, because it is kept."""
    text = TEXTS[language]
    return PdfDocument(
        language=language,
        title=f"{text['order']} {short(order.order_id)}",
        logo=plain(order.looks.logo, 40),
        shop=plain(order.looks.name, 80),
        color=order.looks.brand_color,
        page=text["page"],
        tickets=list(_tickets(ref, order, keys, language)),
        receipt=_receipt(order, language),
    )


def _tickets(ref: OrderRef, order: OrderFacts, keys: TicketKeys, language: str) -> Iterator[TicketPage]:
    single = sum(line.quantity for line in order.lines) <= MOST_TICKETS
    for line in order.lines:
        for unit in range(1, line.quantity + 1) if single else (0,):
            yield _ticket(ref, order, line, unit, keys, language)


def _ticket(
    ref: OrderRef, order: OrderFacts, line: LineFacts, unit: int, keys: TicketKeys, language: str
) -> TicketPage:
    text = TEXTS[language]
    ticket = Ticket(
        tenant=ref.tenant,
        order_id=ref.order_id,
        line=line.position,
        unit=unit,
        units=1 if unit else line.quantity,
        what=_what(line),
        event=line.event_id or 0,
        issued=int(order.created_at.timestamp()),
    )
    which = f"{unit} {text['of']} {line.quantity}" if unit else str(line.quantity)
    return TicketPage(
        kind=text["voucher" if line.event is None else "ticket"],
        title=plain(line.event if line.event is not None else line.name),
        facts=[*_place(order, line, language), *_price(order, line, unit, which, language)],
        token=keys.token(ticket),
        caption=f"{text['order']} {short(order.order_id)} · {line.position}-{unit}",
        note=text["one_use" if unit else "many_uses"],
    )


def _what(line: LineFacts) -> str:
    """What was sold, as tokens name it."""
    if line.seat_id is not None:
        return f"s{line.seat_id}"
    return f"z{line.zone_id}" if line.zone_id is not None else f"p{line.product_id}"


def _place(order: OrderFacts, line: LineFacts, language: str) -> Iterator[tuple[str, str]]:
    text = TEXTS[language]
    if line.starts_at is not None:
        yield text["when"], moment(line.starts_at, order.looks.time_zone, language)
    if line.venue:
        yield text["where"], plain(line.venue)
    if line.zone:
        yield text["zone"], plain(line.zone)
    if line.row is not None and line.seat is not None:
        yield text["row"], plain(line.row, 40)
        yield text["seat"], str(line.seat)


def _price(order: OrderFacts, line: LineFacts, unit: int, which: str, language: str) -> Iterator[tuple[str, str]]:
    text = TEXTS[language]
    yield text["price"], money(line.unit_price, order.currency, language)
    if line.quantity > 1:
        yield text["unit" if unit else "units"], which


def _receipt(order: OrderFacts, language: str) -> Receipt:
    text = TEXTS[language]

    def amount(value: int) -> str:
        return money(value, order.currency, language)

    return Receipt(
        title=text["receipt"],
        facts=[
            (text["order"], order.order_id),
            (text["date"], moment(order.created_at, order.looks.time_zone, language)),
            *_fiscal_number(order, text),
        ],
        header=ReceiptLine(text["item"], text["units"], text["amount"]),
        lines=[
            ReceiptLine(plain(line.name), str(line.quantity), amount(line.list_price * line.quantity))
            for line in order.lines
        ],
        sums=[*sums_of(order, text, amount), total_of(order, text, amount)],
    )


def _fiscal_number(order: OrderFacts, text: Mapping[str, str]) -> list[tuple[str, str]]:
    if order.fiscal_status is FiscalStatus.NONE:
        return []
    return [(text["fiscal_number"], plain(order.fiscal_number, 60) if order.fiscal_number else text["pending"])]
