"""Fulfilment: its steps, how each ends, and what workflow and activities exchange. Ids only, never personal data."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum

from domain.errors import NotFound
from domain.ids import GatewayName, OrderId, PaymentId, TenantId

_NAMESPACE = uuid.UUID("2f3c6f0e-6f5b-5d5e-8f0b-4a1c0f9b7d11")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
MAX_ERROR = 500
"""Characters of what is kept of why an attempt failed."""


class Step(StrEnum):
    """What is done for an order once it is sold, each on its own.

    `tickets` is the e-mail that follows when the PDF was not there in time for the confirmation.
    """

    PDF = "pdf"
    MAIL = "mail"
    TICKETS = "tickets"
    NOTIFY = "notify"
    STATISTICS = "statistics"


ALWAYS = (Step.PDF, Step.MAIL, Step.NOTIFY, Step.STATISTICS)
"""The steps that every order has; any of them can be asked for again."""


class StepStatus(StrEnum):
    """How a step stands. `skipped`: there was nothing to do, and a reason; `failed`: for good, until it is replayed."""

    PENDING = "pending"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class FulfilOrder:
    """Do all of an order's fulfilment; or, with `step`, that step once more as its replay number `replay`."""

    tenant: TenantId
    order_id: OrderId
    step: Step | None = None
    replay: int = 0


@dataclass(frozen=True)
class StepRequest:
    """One step of one order. `replay` 0 is the first time."""

    tenant: TenantId
    order_id: OrderId
    step: Step
    replay: int = 0

    @property
    def key(self) -> str:
        """What names the step's effect, for whoever can tell a repeat by it."""
        return f"{self.tenant}/{self.order_id}/{self.step}/{self.replay}"

    @property
    def effect_id(self) -> uuid.UUID:
        """The same as a UUID (version 5, RFC 9562), which fits into headers."""
        return uuid.uuid5(_NAMESPACE, self.key)


@dataclass(frozen=True)
class StepResult:
    """What a step came to. `with_tickets`: of an e-mail, whether the PDF was attached."""

    status: StepStatus
    reason: str = ""
    with_tickets: bool = False


@dataclass(frozen=True)
class GiveUp:
    """A step was tried for as long as is sensible: it has failed."""

    request: StepRequest
    reason: str


@dataclass(frozen=True)
class OrderRef:
    """Which order, of which tenant."""

    tenant: TenantId
    order_id: OrderId


@dataclass(frozen=True)
class FulfilmentResult:
    """How each step ended, by its name."""

    steps: dict[str, StepStatus]


@dataclass(frozen=True)
class TellRefund:
    """Tell the buyer that this payment was, or is being, given back."""

    tenant: TenantId
    gateway: GatewayName
    payment_id: PaymentId

    @property
    def effect_id(self) -> uuid.UUID:
        """What names the message (UUIDv5)."""
        return uuid.uuid5(_NAMESPACE, f"{self.tenant}/refund/{self.gateway}/{self.payment_id}")


def replayable(name: str) -> Step:
    """The step of this name. Raises NotFound for one that cannot be asked for."""
    if name not in ALWAYS:
        raise NotFound(f"There is no such step; there are {', '.join(ALWAYS)}.")
    return Step(name)


def told(error: str) -> str:
    """What is kept of an error's text: one line, of bounded length."""
    return _CONTROL.sub(" ", error)[:MAX_ERROR]
