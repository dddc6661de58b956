"""The fulfilment of an order as those who look after a tenant see it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.models import Answer, Minor
from db.fulfilment_steps import StepRow
from db.statistics import DaySales
from domain.fulfilment import StepRequest


class StepOut(Answer):
    """How a step stands."""

    step: Literal["pdf", "mail", "tickets", "notify", "statistics"]
    replay: int = Field(description="0: the first time. Each time it is asked for again has the next number.")
    status: Literal["pending", "done", "skipped", "failed"]
    attempts: int
    reason: str | None = Field(description="Why it was skipped or has failed.", examples=["no_email"])
    last_error: str | None = Field(description="Why its latest attempt failed.")
    detail: dict[str, Any] = Field(examples=[{"pages": 3}])
    created_at: datetime
    ended_at: datetime | None


class FulfilmentOut(Answer):
    """All steps of an order, oldest first; none before its fulfilment has begun."""

    order_id: str
    steps: list[StepOut]

    @classmethod
    def of(cls, order: str, steps: Sequence[StepRow]) -> FulfilmentOut:
        """From the rows."""
        return cls(order_id=order, steps=[StepOut(**{f: getattr(s, f) for f in StepOut.model_fields}) for s in steps])


class ReplayOut(Answer):
    """The step will be done once more: `replay` is its number in the list of steps."""

    order_id: str
    step: str
    replay: int

    @classmethod
    def of(cls, request: StepRequest) -> ReplayOut:
        """From what was asked."""
        return cls(order_id=request.order_id, step=request.step.value, replay=request.replay)


class SalesQuery(BaseModel):
    """From when on."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    since: date = Field(description="A day (UTC), which is in the answer too.", examples=["2026-11-01"])


class DayOut(Answer):
    """What was sold on a day (UTC) in a currency. Refunds are not taken off."""

    day: date
    currency: str = Field(examples=["COP"])
    orders: int
    units: int
    revenue: Minor


class SalesOut(Answer):
    """Days on which something was sold, newest first; at most 1,000."""

    items: list[DayOut]

    @classmethod
    def of(cls, days: Sequence[DaySales]) -> SalesOut:
        """From the counters."""
        return cls(items=[DayOut(**{name: getattr(day, name) for name in DayOut.model_fields}) for day in days])
