"""What administrators send and see of their webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.models import Answer, StrictModel
from db.hook_endpoints import HookEndpoint
from db.hook_history import HookDelivery
from domain.checkout_events import HookKind
from domain.hooks import DeliveryStatus, DisabledBecause

_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_ASKABLE = [kind for kind in HookKind if kind is not HookKind.TEST]
Url = Annotated[
    str, Field(max_length=500, description="https, on a public host.", examples=["https://shop.example.com/hooks"])
]
Kind = Annotated[HookKind, Field(strict=False)]
Kinds = Annotated[list[Kind], Field(min_length=1, max_length=20, examples=[_ASKABLE])]
Description = Annotated[str, Field(max_length=200, examples=["The warehouse"])]


class WebhookIn(StrictModel):
    """An endpoint to make."""

    url: Url
    kinds: Kinds
    description: Description | None = None


class WebhookPatch(StrictModel):
    """What to change; what is not sent stays."""

    url: Url | None = None
    kinds: Kinds | None = None
    description: Description | None = None
    enabled: bool | None = Field(default=None, description="true also forgets why it was disabled.")


class RotateIn(StrictModel):
    """How the secret is replaced."""

    keep_hours: int = Field(default=24, ge=0, le=168, description="How long the secret before signs too.")


class WebhookOut(Answer):
    """An endpoint. Its secret is shown when it is made, and never again."""

    id: str
    url: str
    kinds: Sequence[HookKind]
    description: str | None
    enabled: bool
    disabled_because: DisabledBecause | None = Field(
        description="`asked`: by you. `failing`: nothing got through for days. `gone`: it answered 410."
    )
    failing_since: datetime | None = Field(description="The first failure after the last success.")
    previous_until: datetime | None = Field(description="Until when the secret before the newest one signs too.")
    created_at: datetime

    @classmethod
    def of(cls, hook: HookEndpoint) -> WebhookOut:
        return cls(**{name: getattr(hook, name) for name in cls.model_fields})


class WebhooksOut(Answer):
    """The tenant's endpoints, oldest first."""

    webhooks: Sequence[WebhookOut]


class WebhookSecretOut(Answer):
    """An endpoint with its new secret."""

    webhook: WebhookOut
    secret: str = Field(description="As the Standard Webhooks specification writes it. Keep it: it is not shown again.")


class DeliveriesQuery(BaseModel):
    """Which deliveries, and which part of the list."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    status: DeliveryStatus | None = None
    before: str | None = Field(default=None, pattern=_UUID, description="`next_before` of the page before.")
    limit: int = Field(default=50, ge=1, le=100)


class DeliveryOut(Answer):
    """One message for the endpoint."""

    id: str
    kind: HookKind
    data: Mapping[str, Any] = Field(description="What the message says: ids, amounts and states.")
    at: datetime = Field(description="When it happened.")
    status: DeliveryStatus
    attempts: int
    replays: int = Field(description="How often it was asked for again.")
    tried_at: datetime | None
    answer: int | None = Field(description="The last HTTP status.")
    error: str | None = Field(description="Why the last try did not get through, in a word.")
    ended_at: datetime | None

    @classmethod
    def of(cls, delivery: HookDelivery) -> DeliveryOut:
        return cls(**{name: getattr(delivery, name) for name in cls.model_fields})


class DeliveriesOut(Answer):
    """A page of deliveries, newest first."""

    deliveries: Sequence[DeliveryOut]
    next_before: str | None = Field(description="Send it as `before` for the next page; null: there is none.")

    @classmethod
    def of(cls, found: Sequence[HookDelivery], limit: int) -> DeliveriesOut:
        more = found[-1].id if len(found) == limit else None
        return cls(deliveries=[DeliveryOut.of(one) for one in found], next_before=more)


class ReplayedDeliveriesOut(Answer):
    """How many are sent once more."""

    replayed: int


class TestSentOut(Answer):
    """The message that is on its way."""

    delivery_id: str
