"""What those who look after a tenant send and see of carts and of the audit log."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.models import Answer, StrictModel
from db.audit_reading import AuditEntry
from domain.cart import CartStatus
from domain.errors import Invalid

MAX_EMAIL = 254
"""RFC 5321, section 4.5.3.1.3, less the angle brackets."""


class CartStatusIn(StrictModel):
    """Whose cart, and the status it shall have."""

    email: Annotated[str, Field(min_length=3, max_length=MAX_EMAIL, pattern="@", examples=["ana@example.com"])]
    status: Literal["available", "processing"]


class CartStatusOut(Answer):
    """The status that the cart has now."""

    cart_id: str
    status: CartStatus


class CartsCleanedOut(Answer):
    """What a cleaning did."""

    carts_cleaned: int = Field(description="Carts that lost at least one line.")
    lines_removed: int


class AuditQuery(BaseModel):
    """Which entries, and which part of the list. All that is given must hold."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    cart: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        description="The cart's id.",
    )
    actor: str | None = Field(
        default=None, max_length=200, description="Who did it, such as `user:<id>`, `cli:<name>`, `system:checkout`."
    )
    since: AwareDatetime | None = Field(default=None, description="Not earlier (RFC 3339, with a time zone).")
    until: AwareDatetime | None = Field(default=None, description="Earlier than this.")
    limit: int = Field(default=50, ge=1, le=100)
    before: str | None = Field(default=None, max_length=200, description="`next_before` of the page before.")


class AuditEntryOut(Answer):
    """Who did what to which thing, and what it was before and after."""

    id: int
    at: datetime
    actor: str = Field(examples=["user:7a0b0c9e-6c5f-4b0e-9d3a-0d6f1f0a97a1"])
    action: str = Field(examples=["cart.changed"])
    subject: str = Field(examples=["cart:0d6f1f0a-97a1-4d6c-9b0a-5d4a1f1b2c3d"])
    before: Any = Field(description="JSON of ids, amounts and states; null when there was nothing.")
    after: Any


class AuditPage(Answer):
    """Entries, newest first."""

    items: list[AuditEntryOut]
    next_before: str | None = Field(description="`before` of the next page; null on the last.")


def audit_page(entries: list[AuditEntry], limit: int) -> AuditPage:
    """The page, and where the next one begins."""
    items = [AuditEntryOut(**{name: getattr(entry, name) for name in AuditEntryOut.model_fields}) for entry in entries]
    return AuditPage(items=items, next_before=_cursor(entries[-1]) if len(entries) == limit else None)


def place_in_audit(cursor: str) -> tuple[datetime, int]:
    """(at, id) of the entry that a cursor of ours names. Raises Invalid for any other text."""
    try:
        at, _, number = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition("|")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not (number.isascii() and number.isdecimal()) or len(number) > 18:
            raise ValueError
        return moment, int(number)
    except (ValueError, binascii.Error):
        field = {"field": "before", "message": "Not a place in this list", "fix": "Send `next_before` as it was"}
        raise Invalid("`before` is not valid.", errors=[field]) from None


def _cursor(entry: AuditEntry) -> str:
    return base64.urlsafe_b64encode(f"{entry.at.isoformat()}|{entry.id}".encode()).decode()
