"""The activities of fulfilment: one for each step. Each may run twice, and does its work once."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity

from activities import names
from activities.errors import translated
from activities.fulfilment.document import document_of
from activities.fulfilment.mail_message import Envelope, message_of
from activities.fulfilment.mail_templates import Templates
from activities.fulfilment.mail_view import order_view
from activities.fulfilment.mailers import Mailer
from activities.fulfilment.notifiers import Note, Notifiers
from activities.fulfilment.outcomes import NotYet
from activities.fulfilment.plain_text import plain
from activities.fulfilment.renderer import Renderer
from activities.fulfilment.running import Ended, run_step, skipped
from activities.fulfilment.ticket_keys import TicketKeys
from activities.fulfilment.wording import NOTE, TEXTS, short
from db.contacts import Contact, read_contact
from db.database import Database
from db.fulfilment_steps import close_fulfilment, end_step, read_steps
from db.order_documents import Document, keep_tickets, read_tickets
from db.order_facts import OrderFacts, read_order_facts
from db.statistics import count_order
from domain.errors import NotFound
from domain.fulfilment import GiveUp, OrderRef, Step, StepRequest, StepResult, StepStatus


@dataclass(frozen=True)
class Outlets:
    """What fulfilment goes out by. `mailer` None: this installation sends no e-mails."""

    mailer: Mailer | None
    mail_from: str
    templates: Templates
    renderer: Renderer
    keys: TicketKeys
    notifiers: Notifiers


class FulfilmentActivities:
    """Every step of an order's fulfilment."""

    def __init__(self, db: Database, outlets: Outlets) -> None:
        self._db, self._out = db, outlets

    @activity.defn(name=names.MAKE_TICKETS)
    @translated
    async def make_tickets(self, request: StepRequest) -> StepResult:
        """Render the order's PDF and keep it."""

        async def work() -> Ended:
            order, contact = await self._order(request)
            ref = OrderRef(request.tenant, request.order_id)
            document = document_of(ref, order, self._out.keys, _language(order, contact))
            content, pages = await self._out.renderer.render(document)
            await keep_tickets(self._db, request.tenant, request.order_id, content, pages)
            return Ended(detail={"pages": pages, "bytes": len(content)})

        return await run_step(self._db, request, work)

    @activity.defn(name=names.SEND_CONFIRMATION)
    @translated
    async def send_confirmation(self, request: StepRequest) -> StepResult:
        """Send the confirmation, with the tickets if they are there. When it is replayed, they must be there."""

        async def work() -> Ended:
            tickets = await read_tickets(self._db, request.tenant, request.order_id)
            if tickets is None and request.replay:
                await self._require_hope(request)
            return await self._mail(request, "confirmation", tickets)

        return await run_step(self._db, request, work)

    @activity.defn(name=names.SEND_TICKETS)
    @translated
    async def send_tickets(self, request: StepRequest) -> StepResult:
        """Send the tickets after a confirmation that went without them."""

        async def work() -> Ended:
            tickets = await read_tickets(self._db, request.tenant, request.order_id)
            return await self._mail(request, "tickets", tickets) if tickets else skipped("no_tickets")

        return await run_step(self._db, request, work)

    @activity.defn(name=names.NOTIFY_BUYER)
    @translated
    async def notify_buyer(self, request: StepRequest) -> StepResult:
        """Tell the buyer's phone that the order is confirmed."""

        async def work() -> Ended:
            order, contact = await self._order(request)
            if contact.phone is None:
                return skipped("no_phone")
            language, shop = _language(order, contact), plain(order.looks.name, 60)
            words = NOTE[language].format(shop=shop, order=short(order.order_id))
            note = Note(request, contact.phone, language, shop, short(order.order_id), words)
            notifier = await self._out.notifiers.of(request)
            return Ended(detail={"by": notifier.name, "message_id": (await notifier.send(note))[:200]})

        return await run_step(self._db, request, work)

    @activity.defn(name=names.COUNT_ORDER)
    @translated
    async def count_order(self, request: StepRequest) -> StepResult:
        """Add the order to its day's sales, once."""

        async def work() -> Ended:
            return Ended(detail={"counted_now": await count_order(self._db, request.tenant, request.order_id)})

        return await run_step(self._db, request, work)

    @activity.defn(name=names.GIVE_UP_STEP)
    @translated
    async def give_up_step(self, given_up: GiveUp) -> StepResult:
        """Write that a step has failed; one that ended in the meantime stays as it is."""
        return (await end_step(self._db, given_up.request, StepStatus.FAILED, given_up.reason)).result

    @activity.defn(name=names.CLOSE_FULFILMENT)
    @translated
    async def close_fulfilment(self, ref: OrderRef) -> None:
        """Mark the order as fulfilled, if each of its steps has ended."""
        await close_fulfilment(self._db, ref.tenant, ref.order_id)

    async def _order(self, request: StepRequest) -> tuple[OrderFacts, Contact]:
        order = await read_order_facts(self._db, request.tenant, request.order_id)
        if order is None:
            raise NotFound("There is no such order.")
        return order, await read_contact(self._db, request.tenant, order.checkout_id) or Contact()

    async def _mail(self, request: StepRequest, name: str, tickets: Document | None) -> Ended:
        order, contact = await self._order(request)
        if self._out.mailer is None:
            return skipped("no_mail_server")
        if contact.email is None:
            return skipped("no_email")
        language = _language(order, contact)
        view = order_view(order, contact.name, language, tickets=tickets is not None)
        texts = self._out.templates.texts(request.tenant, language, name, view)
        envelope = Envelope(order.looks.name, self._out.mail_from, contact.email, request.effect_id)
        pdf = tickets.content if tickets else None
        file_name = f"{TEXTS[language]['file']}-{short(order.order_id)}.pdf"
        message = message_of(envelope, texts, language, pdf=pdf, file_name=file_name)
        await self._out.mailer.send(message)
        return Ended(detail={"message_id": message["Message-ID"], "with_tickets": tickets is not None})

    async def _require_hope(self, request: StepRequest) -> None:
        """Raise NotYet while the tickets may still come; nothing when they will not."""
        steps = await read_steps(self._db, request.tenant, request.order_id) or []
        if not any(one.step is Step.PDF and one.status in {StepStatus.FAILED, StepStatus.SKIPPED} for one in steps):
            raise NotYet("the tickets are not made yet")


def _language(order: OrderFacts, contact: Contact) -> str:
    """The buyer's, else the shop's."""
    return contact.language or order.looks.language
