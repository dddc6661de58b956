"""The sandbox gateway's JSON, as its OpenAPI describes it. Amounts are whole minor units (ISO 4217)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[int, Field(ge=1, le=10**15)]
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Tenant = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
Status = Literal["created", "processing", "captured", "failed", "refunded"]


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
    refund: ActFault | None = None


class Health(BaseModel):
    """It is up."""

    status: Literal["ok"] = "ok"


class Problem(BaseModel):
    """Why not."""

    code: str
    detail: str
