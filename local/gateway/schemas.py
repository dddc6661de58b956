"""The sandbox gateway's JSON, as its OpenAPI describes it. Amounts are whole minor units (ISO 4217)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Amount = Annotated[int, Field(ge=1, le=10**15)]
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Tenant = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
Url = Annotated[str, Field(max_length=2000, pattern=r"^https?://[!-~]+$")]
Moment = Annotated[AwareDatetime, Field(strict=False)]
"""A time with an offset (RFC 3339)."""
Status = Literal["created", "processing", "captured", "failed", "refunded", "expired"]


class Strict(BaseModel):
    """Unknown members and coerced types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Behaviour(Strict):
    """How the webhooks of one action go out. They combine."""

    duplicate: int = Field(default=0, ge=0, le=20, description="Send this many more copies, all at once.")
    delay_ms: int = Field(default=0, ge=0, le=3_600_000, description="Wait this long before the first attempt.")
    reorder: bool = Field(default=False, description="Come after the payment's next event (or after a short wait).")
    drop: bool = Field(default=False, description="Never send it; POST /webhooks/{event_id}/resend still can.")
    forge: bool = Field(default=False, description="Also send, first and once, a copy signed with a wrong key.")


class NewPayment(Strict):
    """A payment to take. `checkout_id` is the shop's own reference and is given back as it is."""

    tenant: Tenant
    checkout_id: Text | None = None
    amount: Amount
    currency: str = Field(pattern=r"^[A-Z]{3}$", examples=["COP"])
    reference: Text | None = Field(default=None, description="For people: shown on the page.")
    ends_at: Moment | None = Field(
        default=None, description="Shown on the page. The payment can be paid until somebody expires it all the same."
    )
    return_url: Url | None = Field(default=None, description="Where the payment's own page sends the buyer back to.")
    announce: bool = Field(default=False, description="Send payment.created too.")


class Act(Strict):
    """What an action may say. Without `behaviour`, the one of PUT /behaviour holds."""

    behaviour: Behaviour | None = None


class Decline(Act):
    """A declined payment may be paid later."""

    reason: Text | None = None


class NewRefund(Act):
    """`amount` defaults to all that is left."""

    amount: Amount | None = None


class Payment(BaseModel):
    """A payment as it is now."""

    id: str
    tenant: str
    checkout_id: str | None
    amount: int
    currency: str
    status: Status
    refunded_amount: int
    reference: str | None
    reason: str | None
    created_at: str
    updated_at: str
    ends_at: str | None
    return_url: str | None
    url: str = Field(description="The payment's own page, for its buyer.")


class Payments(BaseModel):
    """One page of payments, the oldest first."""

    items: list[Payment]
    next: str | None = Field(description="Ask with `cursor` set to this for the rest; null: there is none.")


class Refund(BaseModel):
    """A refund that was made."""

    id: str
    payment_id: str
    status: Literal["succeeded"] = "succeeded"
    amount: int
    currency: str
    at: str


class LedgerEntry(BaseModel):
    """One movement of money: to the shop (capture) or back to the buyer (refund)."""

    id: int
    kind: Literal["capture", "refund"]
    tenant: str
    payment_id: str
    checkout_id: str | None
    refund_id: str | None
    amount: int
    currency: str
    at: str


class Webhook(BaseModel):
    """One copy of one event, and how its delivery stands."""

    id: int
    event_id: str
    payment_id: str
    type: str
    state: Literal["pending", "delivered", "dropped", "refused"] = Field(
        description="refused: a forged copy that the receiver turned away, as it should"
    )
    forged: bool
    attempts: int
    last_status: int | None = Field(description="The HTTP status of the last attempt; null when nobody answered.")
    last_error: str | None
    created_at: str


FetchFault = Literal["down", "slow", "garbage"]
ActFault = Literal["down", "slow", "garbage", "timeout_after_acting"]


class Faults(Strict):
    """How the gateway fails until told otherwise; forgotten at a restart.

    down: 503. slow: works, long after any client has gone. garbage: 200 with something that is not JSON, having done
    nothing. timeout_after_acting: does it, and answers long after any client has gone.
    """

    fetch: FetchFault | None = None
    list: FetchFault | None = None
    start: ActFault | None = None
    expire: ActFault | None = None
    refund: ActFault | None = None


class Health(BaseModel):
    """It is up."""

    status: Literal["ok"] = "ok"


class Problem(BaseModel):
    """Why not."""

    code: str
    detail: str
