"""Webhooks that a tenant is sent: what workflow and activities exchange, and what becomes of endpoints that fail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from domain.ids import HookDeliveryId, TenantId

TRIED_FOR = timedelta(days=3)
"""How long one message is tried."""
FAILING_FOR = timedelta(days=5)
"""After so long without one success, an endpoint is disabled."""
FIRST_PAUSE, LONGEST_PAUSE, PAUSES_GROW = timedelta(seconds=10), timedelta(hours=6), 3.0
"""Between two tries: 10 s, 30 s, 90 s … 6 h."""
SEND_SECONDS = 15.0
"""How long a receiver may take to answer."""
LOST_AFTER = timedelta(hours=12)
"""A message that nobody has tried for so long has lost its run: longer than any pause."""
MOST_ENDPOINTS = 20
"""Of one tenant."""


class DeliveryStatus(StrEnum):
    """How a message stands. `failed`: for good, until it is asked for again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class DisabledBecause(StrEnum):
    """Why an endpoint is sent nothing: its tenant said so; nothing got through for days; it answered 410."""

    ASKED = "asked"
    FAILING = "failing"
    GONE = "gone"


@dataclass(frozen=True)
class HookRef:
    """One message for one endpoint. `replay`: 0 the first time; each time it is asked for again has the next number."""

    tenant: TenantId
    delivery_id: HookDeliveryId
    replay: int = 0


@dataclass(frozen=True)
class HookResult:
    """What became of it. `superseded`: it was asked for again meanwhile, so another run has it."""

    status: DeliveryStatus
    superseded: bool = False
