"""Telling the buyer that a payment is given back. Once for each payment, whoever asks and however often."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import names
from activities.errors import translated
from activities.fulfilment.activities import Outlets
from activities.fulfilment.mail_message import Envelope, message_of
from activities.fulfilment.mail_view import refund_view
from activities.fulfilment.outcomes import Never
from activities.fulfilment.running import Ended, describe, skipped
from db.contacts import Contact, read_contact
from db.database import Database
from db.order_facts import read_looks
from db.refund_notices import RefundFacts, begin_notice, end_notice, note_notice_error
from domain.errors import NotFound
from domain.fulfilment import StepResult, StepStatus, TellRefund


class RefundNotice:
    """Tells of refunds by e-mail, in the buyer's language."""

    def __init__(self, db: Database, outlets: Outlets) -> None:
        self._db, self._out = db, outlets

    @activity.defn(name=names.TELL_REFUND)
    @translated
    async def tell_refund(self, asked: TellRefund) -> StepResult:
        """Send the e-mail, unless it was sent. Skipped where nobody is known to write to."""
        notice = await begin_notice(self._db, asked)
        if notice.status is not StepStatus.PENDING:
            return StepResult(notice.status, notice.reason)
        try:
            ended = await self._send(asked, notice.facts) if notice.facts else skipped("no_refund")
            failure = ""
        except Never as never:
            ended, failure = Ended(StepStatus.FAILED, never.reason), ""
        except Exception as error:  # noqa: BLE001  # Noted, and tried again.
            ended, failure = Ended(), describe(error)
        if failure:
            await note_notice_error(self._db, asked, failure)
            raise ApplicationError(failure, type="refund_notice")
        await end_notice(self._db, asked, ended.status, ended.reason)
        return StepResult(ended.status, ended.reason)

    async def _send(self, asked: TellRefund, facts: RefundFacts) -> Ended:
        looks = await read_looks(self._db, asked.tenant)
        if looks is None:
            raise NotFound("There is no such tenant.")
        contact = await read_contact(self._db, asked.tenant, facts.checkout_id) if facts.checkout_id else None
        contact = contact or Contact()
        if self._out.mailer is None or contact.email is None:
            return skipped("no_mail_server" if self._out.mailer is None else "no_email")
        language = contact.language or looks.language
        view = refund_view(looks, facts, asked.payment_id, contact.name, language)
        texts = self._out.templates.texts(asked.tenant, language, "refund", view)
        envelope = Envelope(looks.name, self._out.mail_from, contact.email, asked.effect_id)
        await self._out.mailer.send(message_of(envelope, texts, language))
        return Ended()
