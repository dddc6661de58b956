"""Drawing an order's PDF: tickets with their QR codes, and the receipt. For the renderer's process."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import segno
from reportlab import rl_config
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A5
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from activities.fulfilment.pdf_text import BOLD, REGULAR, drawable, fitted, register_fonts, width

WIDTH, HEIGHT = A5
MARGIN = 11 * mm
BAND = 24 * mm
ROOM = WIDTH - 2 * MARGIN
QR = 62 * mm
INK, GREY, LINE = HexColor("#1c2430"), HexColor("#6b7480"), HexColor("#d9dee5")
_FACT = 13 * mm
"""Height of a row of facts."""
_RECEIPT_ROW = 7 * mm


def render(document: dict[str, Any]) -> tuple[bytes, int]:
    """(PDF, number of pages) of a `PdfDocument` as JSON. The same document gives the same bytes."""
    rl_config.useA85 = 0  # Streams as bytes: a fifth smaller, in e-mails too.
    register_fonts()
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A5, pageCompression=1, invariant=1, lang=document["language"])
    canvas.setTitle(drawable(document["title"]))
    canvas.setAuthor(drawable(document["shop"]))
    canvas.setProducer("Holdfast")
    for ticket in document["tickets"]:
        _ticket(canvas, document, ticket)
    _receipt(canvas, document)
    pages = canvas.getPageNumber() - 1
    canvas.save()
    return out.getvalue(), pages


def _ticket(canvas: Canvas, document: dict[str, Any], ticket: dict[str, Any]) -> None:
    _band(canvas, document, ticket["kind"])
    y = _lines(canvas, ticket["title"], HEIGHT - BAND - 13 * mm, BOLD, 19, most=2)
    y = _facts(canvas, ticket["facts"], y - 5 * mm)
    bottom = 15 * mm
    _tear(canvas, bottom + QR + 17 * mm)
    _qr(canvas, ticket["token"], (WIDTH - QR) / 2, bottom + 10 * mm)
    _centred(canvas, ticket["caption"], bottom + 4 * mm, BOLD, 10, INK)
    _centred(canvas, ticket["note"], bottom - 2 * mm, REGULAR, 7.5, GREY)
    canvas.showPage()


def _band(canvas: Canvas, document: dict[str, Any], kind: str) -> None:
    """The head of a page: the shop's mark, and what the page is."""
    color = HexColor(document["color"])
    on_it = INK if _bright(color) else HexColor("#ffffff")
    canvas.setFillColor(color)
    canvas.rect(0, HEIGHT - BAND, WIDTH, BAND, stroke=0, fill=1)
    canvas.setFillColor(on_it)
    y = HEIGHT - BAND / 2 - 2 * mm
    [kind] = fitted(kind, REGULAR, 11, 40 * mm)
    canvas.setFont(REGULAR, 11)
    canvas.drawRightString(WIDTH - MARGIN, y, kind)
    [logo] = fitted(document["logo"], BOLD, 17, ROOM - width(kind, REGULAR, 11) - 5 * mm)
    canvas.setFont(BOLD, 17)
    canvas.drawString(MARGIN, y, logo)


def _bright(color: Color) -> bool:
    """Whether dark text stands out better on it (the brightness of ITU-R BT.601)."""
    return bool(0.299 * color.red + 0.587 * color.green + 0.114 * color.blue > 0.62)


def _lines(canvas: Canvas, text: str, y: float, font: str, size: float, most: int) -> float:
    """Draw from `y` down; where the next thing may begin."""
    canvas.setFillColor(INK)
    canvas.setFont(font, size)
    for line in fitted(text, font, size, ROOM, most):
        canvas.drawString(MARGIN, y, line)
        y -= size * 1.25
    return y + size * 0.25


def _facts(canvas: Canvas, facts: Sequence[Sequence[str]], y: float) -> float:
    """Labels with their values below, two beside each other where both are short."""
    half, beside = ROOM / 2, False
    for label, value in facts:
        long = width(drawable(value), BOLD, 11) > half - 4 * mm
        if beside and long:
            y, beside = y - _FACT, False
        _fact(canvas, label, value, MARGIN + (half if beside else 0), y, ROOM if long else half - 4 * mm)
        y, beside = (y - _FACT, False) if long or beside else (y, True)
    return float(y - _FACT) if beside else y


def _fact(canvas: Canvas, label: str, value: str, x: float, y: float, room: float) -> None:
    canvas.setFillColor(GREY)
    canvas.setFont(REGULAR, 7.5)
    canvas.drawString(x, y, label.upper())
    canvas.setFillColor(INK)
    canvas.setFont(BOLD, 11)
    canvas.drawString(x, y - 5 * mm, fitted(value, BOLD, 11, room)[0])


def _tear(canvas: Canvas, y: float) -> None:
    canvas.setStrokeColor(LINE)
    canvas.setLineWidth(1)
    canvas.setDash(3, 3)
    canvas.line(MARGIN, y, WIDTH - MARGIN, y)
    canvas.setDash()


def _qr(canvas: Canvas, token: str, x: float, y: float) -> None:
    """In black on white whatever the shop's colour. Rows overlap by a hair, else viewers show seams between them."""
    matrix = segno.make(token, error="m", micro=False, boost_error=False).matrix
    module, path = QR / len(matrix), canvas.beginPath()
    for place, row in enumerate(matrix):
        start = None
        for column, dark in enumerate((*row, 0)):
            if dark and start is None:
                start = column
            elif not dark and start is not None:
                top = y + QR - (place + 1) * module
                path.rect(x + start * module, top - 0.02, (column - start) * module, module + 0.04)
                start = None
    canvas.setFillColor(HexColor("#000000"))
    canvas.drawPath(path, stroke=0, fill=1)


def _centred(canvas: Canvas, text: str, y: float, font: str, size: float, color: Color) -> None:
    canvas.setFillColor(color)
    canvas.setFont(font, size)
    canvas.drawCentredString(WIDTH / 2, y, fitted(text, font, size, ROOM)[0])


def _receipt(canvas: Canvas, document: dict[str, Any]) -> None:
    receipt = document["receipt"]
    _band(canvas, document, receipt["title"])
    y = _lines(canvas, document["shop"], HEIGHT - BAND - 13 * mm, BOLD, 14, most=1) - 3 * mm
    for label, value in receipt["facts"]:
        y -= 5.5 * mm
        _row(canvas, label, "", value, y, REGULAR, GREY)
    y = _rule(canvas, y - 7 * mm)
    y = _header(canvas, receipt, y)
    for line in receipt["lines"]:
        if y < 24 * mm:
            canvas.showPage()
            _band(canvas, document, receipt["title"])
            y = _header(canvas, receipt, HEIGHT - BAND - 12 * mm)
        _row(canvas, line["name"], line["quantity"], line["amount"], y, REGULAR, INK)
        y -= _RECEIPT_ROW
    if y < (14 + 8 * len(receipt["sums"])) * mm:
        canvas.showPage()
        _band(canvas, document, receipt["title"])
        y = HEIGHT - BAND - 12 * mm
    _sums(canvas, receipt["sums"], y)
    canvas.showPage()


def _header(canvas: Canvas, receipt: dict[str, Any], y: float) -> float:
    header = receipt["header"]
    _row(canvas, header["name"], header["quantity"], header["amount"], y, BOLD, INK)
    return float(y - _RECEIPT_ROW)


def _sums(canvas: Canvas, sums: Sequence[Sequence[str]], y: float) -> None:
    y = _rule(canvas, y + 2 * mm) - 1 * mm
    for label, value in sums[:-1]:
        _row(canvas, label, "", value, y, REGULAR, GREY)
        y -= _RECEIPT_ROW
    label, value = sums[-1]
    _row(canvas, label, "", value, y - 1 * mm, BOLD, INK, size=13)


def _row(
    canvas: Canvas, left: str, middle: str, right: str, y: float, font: str, color: Color, *, size: float = 9
) -> None:
    """A label at the left, an amount at the right, and a count before it."""
    canvas.setFillColor(color)
    canvas.setFont(font, size)
    [right] = fitted(right, font, size, ROOM * 0.72)
    canvas.drawRightString(WIDTH - MARGIN, y, right)
    taken = width(right, font, size) + 4 * mm
    if middle:
        taken = max(taken, 34 * mm)
        canvas.drawRightString(WIDTH - MARGIN - taken, y, fitted(middle, font, size, 18 * mm)[0])
        taken += 20 * mm
    canvas.drawString(MARGIN, y, fitted(left, font, size, ROOM - taken)[0])


def _rule(canvas: Canvas, y: float) -> float:
    canvas.setStrokeColor(LINE)
    canvas.setLineWidth(0.7)
    canvas.line(MARGIN, y, WIDTH - MARGIN, y)
    return float(y - 7 * mm)
