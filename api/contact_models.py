"""Where a storefront says that its buyer can be written to."""

from __future__ import annotations

from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field

from api.models import Answer, StrictModel
from db.contacts import Contact
from domain.catalogue import NAME_PATTERN
from domain.tenant_settings import WHATSAPP_PATTERN

MAX_EMAIL = 254
"""RFC 5321, section 4.5.3.1.3, less the angle brackets."""
MAX_PERSON = 120


def _an_address(text: str) -> str:
    """As it is sent: a domain of other letters in ASCII (IDNA). Whether it takes mail is not asked anywhere."""
    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError:
        raise ValueError("it is no e-mail address, such as ana@example.com (RFC 5322, addr-spec)") from None
    if found.ascii_email is None or len(found.ascii_email) > MAX_EMAIL:
        raise ValueError("it is no e-mail address that can be written in ASCII")
    return found.ascii_email


Email = Annotated[
    str,
    Field(min_length=3, max_length=MAX_EMAIL, pattern=r"^[^\s@]+@[^\s@]+$", examples=["ana@example.com"]),
    AfterValidator(_an_address),
]
Phone = Annotated[str, Field(pattern=WHATSAPP_PATTERN, description="E.164.", examples=["+573001234567"])]
PersonName = Annotated[
    str,
    Field(min_length=1, max_length=MAX_PERSON, pattern=NAME_PATTERN, description="One line.", examples=["Ana Gómez"]),
]


class ContactIn(StrictModel):
    """Where the buyer can be written to, in place of what was said before. What is left out is not known."""

    email: Email | None = None
    phone: Phone | None = None
    name: PersonName | None = None
    language: Literal["es", "en"] | None = Field(default=None, description="The shop's, if it is left out.")

    def as_contact(self) -> Contact:
        """As it is stored."""
        return Contact(self.email, self.phone, self.name, self.language)


class ContactOut(Answer):
    """What is known now."""

    email: str | None
    phone: str | None
    name: str | None
    language: Literal["es", "en"] | None
