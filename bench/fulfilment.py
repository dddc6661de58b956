"""Fulfilment: how many PDFs one rendering process makes, and how many e-mails with them one worker sends.

Needs none of the stage's servers. The mail server runs in the same process and on the same cores, so its work (TLS, the
login, reading the e-mail) is in the figures: a worker's own share is smaller.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial

from activities.fulfilment.document import PdfDocument, document_of
from activities.fulfilment.mail_message import Envelope, message_of
from activities.fulfilment.mail_templates import Templates
from activities.fulfilment.mail_view import order_view
from activities.fulfilment.mailers import SmtpMailer
from activities.fulfilment.renderer import ProcessRenderer
from bench.figures import Round, Series
from domain.fulfilment import OrderRef
from domain.ids import TenantId
from tests.support.fulfilment import KEYS, ORDER, a_line, a_seat, an_order
from tests.support.mail import mail_server

SHOP = TenantId("bench")
TICKETS = (1, 4, 40)
CONNECTIONS = 4


async def pdfs(rounds: int, count: int = 40) -> list[Series]:
    """PDFs a second by one process, for orders of few and of many tickets."""
    found = [Series(f"PDF of {units} ticket(s)") for units in TICKETS]
    renderer = ProcessRenderer()
    try:
        await renderer.render(_document(1))  # The process starts, and knows its fonts.
        for _ in range(rounds):
            for series, units in zip(found, TICKETS, strict=True):
                document = _document(units)
                work = partial(renderer.render, document)
                series.rounds.append(await _timed(work, max(4, count // units), at_once=1))
    finally:
        await renderer.close()
    return found


async def emails(rounds: int, count: int = 120) -> list[Series]:
    """E-mails a second: rendered, with a PDF of four tickets, and sent by SMTP with STARTTLS and a login."""
    renderer = ProcessRenderer()
    pdf, _ = await renderer.render(_document(4))
    await renderer.close()
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # The server warns of itself at each login.
    templates, order = Templates(), an_order(a_seat(1), a_line(2, "Camiseta", 3))
    series = Series(f"e-mail with its PDF, {CONNECTIONS} connections")
    async with mail_server() as server:
        mailer = SmtpMailer(server.reach(connections=CONNECTIONS))

        async def send() -> None:
            texts = templates.texts(SHOP, "es", "confirmation", order_view(order, "Ana", "es", tickets=True))
            envelope = Envelope("La Esquina", "no-reply@shop.example.com", "ana@example.com", uuid.uuid4())
            await mailer.send(message_of(envelope, texts, "es", pdf=pdf, file_name="entradas.pdf"))

        await send()
        for _ in range(rounds):
            series.rounds.append(await _timed(send, count, at_once=CONNECTIONS))
    return [series]


async def _timed(work: Callable[[], Awaitable[object]], count: int, *, at_once: int) -> Round:
    latencies: list[float] = []

    async def one_after_the_other() -> None:
        for _ in range(count // at_once):
            began = time.perf_counter()
            await work()
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return Round(len(latencies), time.perf_counter() - began, latencies)


def _document(units: int) -> PdfDocument:
    order = an_order(a_seat(1), a_line(2, "Camiseta", units - 1)) if units > 1 else an_order(a_seat(1))
    return document_of(OrderRef(SHOP, ORDER), order, KEYS, "es")
