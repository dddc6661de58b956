"""Tickets as PDFs, read back as a reader and a camera see them; and a renderer that crashes or hangs."""

from __future__ import annotations

import asyncio
import io
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pypdf import PdfReader

from activities.fulfilment.document import MOST_TICKETS, PdfDocument, document_of
from activities.fulfilment.outcomes import NotYet
from activities.fulfilment.pdf_pages import render
from activities.fulfilment.pdf_text import fitted, register_fonts, width
from activities.fulfilment.renderer import ProcessRenderer
from activities.fulfilment.ticket_files import Unreadable, codes_in
from db.order_facts import OrderFacts
from domain.fulfilment import OrderRef
from domain.ids import TenantId
from tests.support.fulfilment import KEYS, LOOKS, ORDER, a_line, a_seat, an_order

REF = OrderRef(TenantId("demo"), ORDER)
HOSTILE = [
    "<b>bold</b><script>alert(1)</script><para>",
    "{{ 7*7 }} {% raw %} %s %(x)s ${y} \\n",
    "🎉🎊👨‍👩‍👧‍👦🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "مرحبا بالعالم‏ ‮evil‬ שלום עולם",
    "漢字カタカナ 한국어 ไทย हिन्दी",
    "Z" + "\u0301" * 500 + "algo",
    "\x00\x07\x1b[31m\r\nSubject: x\u2028\u2029\x7f\x9f",
    "W" * 10_000,
    "word " * 2_000,
    "\ud800\udfff",
    "   ",
    "",
    "\u202e" * 50,
    ")Tj ET Q BT (injected) Tj",
]


def document(order: OrderFacts, language: str = "es") -> PdfDocument:
    return document_of(REF, order, KEYS, language)


def made(order: OrderFacts, language: str = "es") -> PdfReader:
    content, pages = render(document(order, language).as_json())
    reader = PdfReader(io.BytesIO(content), strict=True)
    assert len(reader.pages) == pages
    return reader


def codes(content: bytes, folder: Path) -> list[str]:
    path = folder / "tickets.pdf"
    path.write_bytes(content)
    return codes_in(path)


def test_there_is_a_page_for_each_seat_and_unit_and_a_receipt(tmp_path: Path) -> None:
    order = an_order(a_seat(1), a_line(2, "Camiseta ñandú", 3))
    content, pages = render(document(order).as_json())
    assert pages == 1 + 3 + 1
    tickets = [KEYS.verifier().verify(code) for code in codes(content, tmp_path)]
    assert [(one.line, one.unit, one.units, one.what, one.event) for one in tickets] == [
        (1, 1, 1, "s17", 1),
        (2, 1, 1, "p38", 0),
        (2, 2, 1, "p38", 0),
        (2, 3, 1, "p38", 0),
    ]
    assert {(one.tenant, one.order_id, one.issued) for one in tickets} == {("demo", ORDER, 1_795_366_800)}


def test_a_ticket_says_what_it_is_for_in_the_shops_time() -> None:
    text = made(an_order(a_seat(1))).pages[0].extract_text()
    for wanted in (
        "Concierto de Navidad",
        "Teatro Colón",
        "Platea",
        "12",
        "4 dic 2026, 20:00 (America/Bogota)",
        "Entrada",
    ):
        assert wanted in text, wanted


def test_it_is_in_the_buyers_language() -> None:
    reader = made(an_order(a_seat(1)), "en")
    assert "Ticket" in reader.pages[0].extract_text()
    assert "4 Dec 2026, 20:00" in reader.pages[0].extract_text()
    assert "Receipt" in reader.pages[1].extract_text()


def test_the_receipt_adds_up_and_says_that_the_fiscal_number_is_pending() -> None:
    line = a_line(1, "Café", 3, list_price=200_000, unit_price=150_050)
    text = made(an_order(line)).pages[-1].extract_text()
    for wanted in ("6.000,00 COP", "-1.498,50 COP", "4.501,50 COP", "pendiente", ORDER):
        assert wanted in text, wanted


def test_the_receipt_shows_the_fiscal_number_and_the_tax() -> None:
    order = an_order(a_line(), fiscal_number="FE-1042", tax=190, total=1190)
    text = made(order).pages[-1].extract_text()
    assert "FE-1042" in text
    assert "1,90 COP" in text


def test_the_same_order_gives_the_same_bytes() -> None:
    order = an_order(a_seat(1))
    assert render(document(order).as_json()) == render(document(order).as_json())


def test_nothing_personal_is_in_it() -> None:
    assert "@" not in str(document(an_order(a_seat(1))).as_json())


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_breaks_nothing(name: str, tmp_path: Path) -> None:
    looks = type(LOOKS)(name or "x", "es", "Nowhere/Town", "#ffffff", name or None)
    order = an_order(
        a_line(1, name, 2), a_seat(2, name, venue=name, zone=name, row=name), looks=looks, fiscal_number=name
    )
    content, pages = render(document(order).as_json())
    assert pages == 4
    assert len([KEYS.verifier().verify(code) for code in codes(content, tmp_path)]) == 3
    assert len(content) < 200_000


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(("size", "most"), [(19.0, 2), (7.5, 1)])
def test_no_line_is_wider_than_its_room(name: str, size: float, most: int) -> None:
    register_fonts()
    lines = fitted(name, "FiraGO-Bold", size, 200, most)
    assert 1 <= len(lines) <= most
    assert all(width(line, "FiraGO-Bold", size) <= 200 for line in lines)


def test_an_order_of_very_many_units_has_a_page_for_each_line(tmp_path: Path) -> None:
    order = an_order(a_line(1, "Café", MOST_TICKETS), a_line(2, "Té", 1))
    content, pages = render(document(order).as_json())
    assert pages == 3
    tickets = [KEYS.verifier().verify(code) for code in codes(content, tmp_path)]
    assert [(one.unit, one.units) for one in tickets] == [(0, MOST_TICKETS), (0, 1)]


def test_a_hundred_lines_make_a_receipt_of_several_pages_with_each_line_once() -> None:
    reader = made(an_order(*(a_line(place, f"Cosa {place:03}") for place in range(1, 101))))
    receipt = "".join(page.extract_text() for page in reader.pages[100:])
    assert len(reader.pages) > 102
    assert all(receipt.count(f"Cosa {place:03}") == 1 for place in range(1, 101))


def test_a_picture_of_a_ticket_reads_like_the_ticket(tmp_path: Path) -> None:
    import segno

    token = document(an_order()).tickets[0].token
    segno.make(token, error="m").save(str(tmp_path / "code.png"), scale=4, border=4)
    assert codes_in(tmp_path / "code.png") == [token]
    (tmp_path / "text.txt").write_text("no picture")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    for name in ("text.txt", "broken.pdf"):
        with pytest.raises(Unreadable):
            codes_in(tmp_path / name)


@pytest.fixture
async def renderer() -> AsyncIterator[ProcessRenderer]:
    one = ProcessRenderer(processes=2)
    yield one
    await one.close()


async def test_a_process_renders_the_same_and_is_used_again(renderer: ProcessRenderer) -> None:
    wanted = document(an_order(a_seat(1)))
    first, again = [await renderer.render(wanted) for _ in range(2)]
    assert first == again == render(wanted.as_json())
    assert len(renderer._idle) == 1


async def test_several_at_once_do_not_mix(renderer: ProcessRenderer) -> None:
    orders = [an_order(a_line(1, f"Cosa {place}", place)) for place in range(1, 7)]
    found = await asyncio.gather(*(renderer.render(document(order)) for order in orders))
    assert [pages for _, pages in found] == [place + 1 for place in range(1, 7)]


def a_program(folder: Path, text: str) -> tuple[str, ...]:
    path = folder / "renderer.py"
    path.write_text(text)
    return (sys.executable, str(path))


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import time; time.sleep(60)", "longer than"),
        ("while True: pass", "longer than"),
        ("import sys; sys.exit(3)", "ended"),
        ("import os, signal, sys; sys.stdin.buffer.read(9); os.kill(os.getpid(), signal.SIGSEGV)", "ended"),
        ("import sys; sys.stdout.buffer.write(b'abc'); sys.stdout.flush(); sys.stdin.buffer.read()", "ended|longer"),
    ],
)
async def test_a_renderer_that_hangs_or_crashes_is_ended_and_told_of(tmp_path: Path, program: str, why: str) -> None:
    broken = ProcessRenderer(seconds=1.0, command=a_program(tmp_path, program))
    began = time.monotonic()
    with pytest.raises(NotYet, match=why):
        await broken.render(document(an_order()))
    assert time.monotonic() - began < 8
    assert broken._idle == []


async def test_a_document_that_cannot_be_drawn_is_an_error_and_the_process_goes_on(renderer: ProcessRenderer) -> None:
    good = document(an_order())
    bad = PdfDocument(**{**vars(good), "color": "no colour"})
    with pytest.raises(NotYet, match="ValueError"):
        await renderer.render(bad)
    _, pages = await renderer.render(good)
    assert pages == 2


async def test_one_that_is_cancelled_leaves_no_process(renderer: ProcessRenderer, tmp_path: Path) -> None:
    slow = ProcessRenderer(command=a_program(tmp_path, "import time; time.sleep(60)"))
    task = asyncio.create_task(slow.render(document(an_order())))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slow._idle == []


async def test_the_renderers_process_is_told_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_JWT_SECRET", "very-secret")
    program = (
        "import os, struct, sys\n"
        "said = repr(sorted(os.environ)).encode()\n"
        "sys.stdout.buffer.write(struct.pack('>II', len(said), 1) + said); sys.stdout.flush(); sys.stdin.buffer.read()"
    )
    telling = ProcessRenderer(command=a_program(tmp_path, program))
    said, _ = await telling.render(document(an_order()))
    await telling.close()
    assert b"HOLDFAST" not in said
    assert b"PATH" in said
