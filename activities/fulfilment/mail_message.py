"""One e-mail: text and HTML beside each other, perhaps a PDF, and a Message-ID that a repeat has too."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from uuid import UUID

from activities.fulfilment.mail_templates import Texts
from activities.fulfilment.outcomes import Never
from activities.fulfilment.plain_text import plain


@dataclass(frozen=True, slots=True)
class Envelope:
    """From whom to whom. `effect_id` names the e-mail: the same one has the same Message-ID."""

    shop: str
    sender: str
    recipient: str = field(repr=False)
    effect_id: UUID


def message_of(
    envelope: Envelope, texts: Texts, language: str, *, pdf: bytes | None = None, file_name: str = ""
) -> EmailMessage:
    """The e-mail (RFC 5322). Raises Never for an address that no header can have."""
    message = EmailMessage(policy=SMTP)
    user, _, domain = envelope.sender.rpartition("@")
    message["From"] = Address(plain(envelope.shop, 80), user, domain)
    try:
        message["To"] = Address(addr_spec=envelope.recipient)
    except (MessageError, ValueError, IndexError):  # What its parser raises depends on where it stumbles.
        raise Never("bad_address") from None
    message["Subject"] = texts.subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{envelope.effect_id}@{domain}>"
    message["Content-Language"] = language
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: so that nobody's absence is answered to us.
    message.set_content(texts.text, cte="quoted-printable")
    message.add_alternative(texts.html, subtype="html", cte="quoted-printable")
    if pdf is not None:
        message.add_attachment(pdf, maintype="application", subtype="pdf", filename=file_name)
    return message
