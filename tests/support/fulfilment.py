"""Fulfilment for tests: facts of orders, and what goes out set up beside a test's worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx

from activities.fulfilment.activities import Outlets
from activities.fulfilment.document import PdfDocument
from activities.fulfilment.mail_templates import Templates
from activities.fulfilment.mailers import Mailer
from activities.fulfilment.notifiers import Notifiers
from activities.fulfilment.outcomes import NotYet
from activities.fulfilment.pdf_pages import render
from activities.fulfilment.starting import Fulfilling
from activities.fulfilment.ticket_keys import TicketKeys
from activities.fulfilment.wiring import fulfilment_activities
from db.database import Database
from db.order_facts import LineFacts, Looks, OrderFacts
from domain.ids import CheckoutId, OrderId, TenantId

KEYS = TicketKeys.parse("k1:aG9sZGZhc3QtZGV2ZWxvcG1lbnQtdGlja2V0cy1rZXk=")
ORDER = OrderId("0d6f1f0a-97a1-5d6c-9b0a-5d4a1f1b2c3d")
LOOKS = Looks("Teatro y Tienda La Esquina", "es", "America/Bogota", "#7a1f3d", None)
NOON = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)


def a_line(position: int = 1, name: str = "Café", quantity: int = 1, **changes: Any) -> LineFacts:
    """A product's line, unless told otherwise."""
    usual: dict[str, Any] = {
        "list_price": 1000, "unit_price": 1000, "product_id": 38, "zone_id": None, "seat_id": None, "event_id": None,
        "event": None, "venue": None, "starts_at": None, "zone": None, "row": None, "seat": None,
    }  # fmt: skip
    return LineFacts(position=position, name=name, quantity=quantity, **{**usual, **changes})


def a_seat(position: int = 1, event: str = "Concierto de Navidad", seat: int = 12, **changes: Any) -> LineFacts:
    """A seat's line."""
    usual: dict[str, Any] = {
        "product_id": None, "zone_id": 4, "seat_id": 17, "event_id": 1, "event": event, "venue": "Teatro Colón",
        "starts_at": datetime(2026, 12, 5, 1, 0, tzinfo=UTC), "zone": "Platea", "row": "A", "seat": seat,
    }  # fmt: skip
    return a_line(position, f"{event}, Platea, A {seat}", **{**usual, **changes})


def an_order(*lines: LineFacts, **changes: Any) -> OrderFacts:
    """An order of these lines, or of one."""
    lines = lines or (a_line(),)
    subtotal = sum(line.list_price * line.quantity for line in lines)
    total = sum(line.unit_price * line.quantity for line in lines)
    usual: dict[str, Any] = {
        "order_id": ORDER, "checkout_id": CheckoutId(ORDER), "created_at": NOON, "currency": "COP", "tax": 0,
        "subtotal": subtotal, "discount": subtotal - total, "total": total, "fiscal_number": None, "looks": LOOKS,
    }  # fmt: skip
    return OrderFacts(**{**usual, **changes}, lines=tuple(lines))


class NoSecrets:
    """Of tenants that have none; or the same for all of them, by name."""

    def __init__(self, **known: str) -> None:
        self.known = {name.replace("_", "/"): secret for name, secret in known.items()}

    async def get(self, tenant: TenantId, name: str) -> str | None:
        """See Secrets."""
        return self.known.get(name)


@dataclass
class NearRenderer:
    """Renders in this process, or fails as it is told to."""

    broken: bool = False
    asked: int = 0

    async def render(self, document: PdfDocument) -> tuple[bytes, int]:
        """See Renderer."""
        self.asked += 1
        if self.broken:
            raise NotYet("the renderer is broken")
        return await asyncio.to_thread(render, document.as_json())


@dataclass
class Pigeonhole:
    """A mailer that keeps e-mails, or fails as it is told to."""

    sent: list[EmailMessage] = field(default_factory=list)
    fails: Exception | None = None
    forgets: bool = False
    """It takes the e-mail and fails then, once."""

    async def send(self, message: EmailMessage) -> None:
        """See Mailer."""
        if self.fails is not None:
            raise self.fails
        self.sent.append(message)
        if self.forgets:
            self.forgets = False
            raise NotYet("the answer was lost")


def outlets(
    http: httpx.AsyncClient,
    mailer: Mailer | None = None,
    renderer: Any = None,
    *,
    secrets: NoSecrets | None = None,
    url: str = "http://127.0.0.1:1",
    templates: Path | None = None,
) -> Outlets:
    """What fulfilment goes out by. `url`: of both providers of messages."""
    notifiers = Notifiers(secrets or NoSecrets(), http, whatsapp_url=url, sms_url=url)
    sender = "no-reply@holdfast.localhost"
    return Outlets(mailer, sender, Templates(templates), renderer or NearRenderer(), KEYS, notifiers)


@asynccontextmanager
async def near_fulfilment(
    db: Database, fulfilling: Fulfilling, mailer: Mailer | None = None, renderer: Any = None
) -> AsyncIterator[Sequence[Callable[..., Any]]]:
    """The activities of fulfilment for a test's worker; without a mailer, e-mails are skipped."""
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            yield fulfilment_activities(db, fulfilling, outlets(http, mailer, renderer))
        finally:
            await fulfilling.finish()
