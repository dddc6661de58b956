"""What operators see of payments."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.models import Answer, Minor
from api.ops_order_models import OpsRefundOut
from db.payment_reading import PaymentFilter, PaymentPage, PaymentPlace, PaymentView
from domain.errors import Invalid
from domain.gateway import PaymentStatus
from domain.ids import CheckoutId, GatewayName, OrderId, PaymentId, TenantId
from domain.naming import checkout_workflow_id, late_payment_workflow_id, order_refunds_workflow_id
from domain.payment_words import PaymentStory, why

NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
"""What a gateway, or one of its payments, can be called."""
_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class PaymentsQuery(BaseModel):
    """Which payments, and which part of the list. All that is given must hold."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    status: PaymentStatus | None = Field(default=None, description="As the gateway last said.")
    outcome: Literal["order", "refund"] | None = None
    quarantined: bool | None = Field(default=None, description="Whether somebody should look at it.")
    refund_status: Literal["intended", "refunded"] | None = Field(
        default=None, description="Of a payment that is given back, or of its order's refunds. `intended`: still owed."
    )
    checkout: str | None = Field(default=None, pattern=_UUID, description="The checkout that it is for.")
    before: str | None = Field(default=None, max_length=600, description="`next_before` of the page before.")
    limit: int = Field(default=50, ge=1, le=100)

    @property
    def wanted(self) -> PaymentFilter:
        """Which payments."""
        checkout = CheckoutId(self.checkout) if self.checkout else None
        return PaymentFilter(self.status, self.outcome, self.quarantined, self.refund_status, checkout)


class OpsPaymentOut(Answer):
    """A payment as we last heard of it, and what became of it."""

    gateway: str = Field(examples=["sandbox"])
    payment_id: str = Field(examples=["pay_3f9c2a"])
    checkout_id: str | None = Field(description="The checkout that it names; null: none.")
    status: PaymentStatus = Field(description="As the gateway last said.")
    amount: Minor
    currency: str = Field(examples=["COP"])
    known_at: datetime = Field(description="When we first heard of it.")
    changed_at: datetime
    outcome: Literal["order", "refund"] | None = Field(description="Null: nothing is decided (yet).")
    reason: str | None = Field(description="Why it is given back: late, second_payment, wrong_amount, …")
    quarantined: bool = Field(description="Somebody should look at it.")
    refund_status: Literal["intended", "refunded", "refused"] | None = Field(
        description="Of the payment, or of its order's refunds. `intended`: some of it is still owed."
    )
    refunded: Minor = Field(description="What was decided to go back of it.")
    order_id: str | None


class OpsPaymentPage(Answer):
    """Payments, newest first."""

    items: list[OpsPaymentOut]
    next_before: str | None = Field(
        description="`before` of the next page; null on the last. A page may be short, even empty, and not be the last:"
        " of the payments, only so many are looked at for each."
    )


class OpsPaymentEventOut(Answer):
    """An event of the payment in the inbox, without its body."""

    event_id: str
    kind: PaymentStatus
    checkout_id: str | None
    amount: Minor
    currency: str
    occurred_at: datetime
    received_at: datetime
    state: Literal["received", "delivered", "settled"]
    handed: str | None
    delivered_at: datetime | None
    settled_at: datetime | None
    alerted_at: datetime | None
    foreign_tenant: bool


class ByHandOut(Answer):
    """Who recorded the payment, and what was returned of it by hand."""

    name: str
    reason: str
    actor: str
    recorded_at: datetime
    refunded_amount: Minor


class OpsPaymentDetail(OpsPaymentOut):
    """Everything about one payment."""

    why: str = Field(description="In words, for people; may change.", examples=["It made order 0d6f1f0a-…."])
    checkout_status: str | None
    decided_at: datetime | None
    refund_id: str | None = Field(description="The gateway's id of the refund of all of it.")
    refunded_at: datetime | None
    refunds: list[OpsRefundOut] = Field(description="Of the order that it made, oldest first.")
    events: list[OpsPaymentEventOut] = Field(description="Oldest first; the first 200.")
    by_hand: ByHandOut | None
    workflows: list[str] = Field(description="Ids in Temporal of what was, or is, at work on it.")


def payment_page(page: PaymentPage) -> OpsPaymentPage:
    """The page, and where the next one begins."""
    items = [OpsPaymentOut(**_listed(row)) for row in page.rows]
    return OpsPaymentPage(items=items, next_before=_cursor(page.last) if page.last else None)


def payment_detail(tenant: TenantId, view: PaymentView) -> OpsPaymentDetail:
    """Everything about the payment, with the reason in words."""
    decided: dict[str, Any] = view.outcome or {"decided_at": None, "refund_id": None, "refunded_at": None}
    return OpsPaymentDetail(
        **_listed(view.row),
        **decided,
        why=why(payment_story(view)),
        checkout_status=view.checkout_status,
        refunds=[OpsRefundOut(**refund) for refund in view.refunds],
        events=[OpsPaymentEventOut(**event) for event in view.events],
        by_hand=ByHandOut(**view.manual) if view.manual else None,
        workflows=_workflows(tenant, view),
    )


def payment_story(view: PaymentView) -> PaymentStory:
    """What the sentences about it are made of."""
    same = set(PaymentStory.__slots__) - {"checkout_known"}
    return PaymentStory(
        **{name: view.row[name] for name in same}, checkout_known=view.checkout_status not in (None, "new")
    )


def place_in_payments(cursor: str) -> PaymentPlace:
    """The place that a cursor of ours names. Raises Invalid for any other text."""
    try:
        at, gateway, payment = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().split("|", 2)
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not NAME.fullmatch(gateway) or not NAME.fullmatch(payment):
            raise ValueError
        return PaymentPlace(moment, GatewayName(gateway), PaymentId(payment))
    except (ValueError, binascii.Error):
        field = {"field": "before", "message": "Not a place in this list", "fix": "Send `next_before` as it was"}
        raise Invalid("`before` is not valid.", errors=[field]) from None


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in OpsPaymentOut.model_fields}


def _cursor(place: PaymentPlace) -> str:
    text = f"{place.known_at.isoformat()}|{place.gateway}|{place.payment_id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _workflows(tenant: TenantId, view: PaymentView) -> list[str]:
    row = view.row
    found = [checkout_workflow_id(tenant, CheckoutId(row["checkout_id"]))] if view.checkout_status else []
    late = row["outcome"] == "refund" or any(event["handed"] == "to_late_payment" for event in view.events)
    if late:
        found.append(late_payment_workflow_id(tenant, GatewayName(row["gateway"]), PaymentId(row["payment_id"])))
    if view.refunds:
        found.append(order_refunds_workflow_id(tenant, OrderId(row["order_id"])))
    return found
