"""Amounts, times and short texts in the languages that buyers are written to: Spanish and English."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.money import EXPONENTS

_MONTHS = {
    "es": ("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"),
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
}
_MARKS = {"es": (".", ","), "en": (",", ".")}
"""Between thousands, and before the minor unit."""

TEXTS: Mapping[str, Mapping[str, str]] = {
    "es": {
        "ticket": "Entrada",
        "voucher": "Vale",
        "when": "Fecha",
        "where": "Lugar",
        "zone": "Zona",
        "row": "Fila",
        "seat": "Asiento",
        "price": "Precio",
        "unit": "Unidad",
        "units": "Unidades",
        "of": "de",
        "order": "Pedido",
        "one_use": "Válido una sola vez. Presenta este código; no lo compartas.",
        "many_uses": "Válido para todas las unidades de esta línea. Presenta este código; no lo compartas.",
        "receipt": "Recibo",
        "date": "Fecha del pedido",
        "fiscal_number": "Número fiscal",
        "pending": "pendiente",
        "item": "Concepto",
        "amount": "Importe",
        "subtotal": "Subtotal",
        "discount": "Descuento",
        "tax": "Impuestos",
        "included": "incluido",
        "total": "Total",
        "page": "Página",
        "file": "entradas",
    },
    "en": {
        "ticket": "Ticket",
        "voucher": "Voucher",
        "when": "Date",
        "where": "Venue",
        "zone": "Zone",
        "row": "Row",
        "seat": "Seat",
        "price": "Price",
        "unit": "Unit",
        "units": "Units",
        "of": "of",
        "order": "Order",
        "one_use": "Good for one use. Show this code; do not share it.",
        "many_uses": "Good for all units of this line. Show this code; do not share it.",
        "receipt": "Receipt",
        "date": "Ordered",
        "fiscal_number": "Fiscal number",
        "pending": "pending",
        "item": "Item",
        "amount": "Amount",
        "subtotal": "Subtotal",
        "discount": "Discount",
        "tax": "Tax",
        "included": "included",
        "total": "Total",
        "page": "Page",
        "file": "tickets",
    },
}
"""What is printed on tickets and receipts."""

NOTE: Mapping[str, str] = {
    "es": "{shop}: tu pedido {order} está confirmado. ¡Gracias!",
    "en": "{shop}: your order {order} is confirmed. Thank you!",
}
"""What a phone is told."""

REASONS: Mapping[str, Mapping[str, str]] = {
    "es": {
        "late": "llegó cuando el tiempo de tu reserva ya había terminado y no pudimos guardarte de nuevo lo mismo",
        "second_payment": "el pedido ya estaba pagado con otro pago",
        "wrong_amount": "su importe no era el del pedido",
        "wrong_currency": "su moneda no era la del pedido",
    },
    "en": {
        "late": "it came when the time of your hold was over, and the same things could not be held again",
        "second_payment": "the order had been paid by another payment",
        "wrong_amount": "its amount was not the order's",
        "wrong_currency": "its currency was not the order's",
    },
}
"""Why a payment was given back, to follow "because"."""
_OTHER_REASON = {"es": "no corresponde a ningún pedido", "en": "it belongs to no order"}


def reason_text(reason: str, language: str) -> str:
    """Why a payment was given back, by the reason's code."""
    return REASONS[language].get(reason, _OTHER_REASON[language])


def money(amount: int, currency: str, language: str) -> str:
    """`money(123456, "COP", "es")` is `1.234,56 COP`."""
    exponent = EXPONENTS.get(currency, 2)
    thousands, minor = _MARKS[language]
    sign, digits = ("-" if amount < 0 else ""), str(abs(amount)).rjust(exponent + 1, "0")
    whole, rest = (digits[:-exponent], minor + digits[-exponent:]) if exponent else (digits, "")
    return f"{sign}{int(whole):,}".replace(",", thousands) + f"{rest} {currency}"


def moment(at: datetime, zone: str, language: str) -> str:
    """A day and time in a shop's time zone: `22 nov 2026, 20:30 (America/Bogota)`."""
    try:
        there = at.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # A zone that this machine does not know.
        zone, there = "UTC", at.astimezone(ZoneInfo("UTC"))
    month = _MONTHS[language][there.month - 1]
    return f"{there.day} {month} {there.year}, {there:%H:%M} ({zone})"


def short(order: str) -> str:
    """An order's id as people read it out: its first block, in capitals."""
    return order[:8].upper()
