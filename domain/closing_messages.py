"""What a checkout's run and its closing of payments exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from domain.ids import GatewayName, PaymentId
from domain.messages import Capture


@dataclass(frozen=True)
class PaymentRef:
    """Which payment, at which gateway."""

    gateway: GatewayName
    payment_id: PaymentId


@dataclass(frozen=True)
class ClosedPayments:
    """What the gateways said of a checkout's open payments at `asked_at` (the database's clock).

    `captures`: taken already, and not decided yet. `processing`: on its way, and cannot be ended. `silent`: how many
    could not be asked about. All others can be paid no more, as far as their gateways can see to that.
    """

    asked_at: datetime
    captures: list[Capture] = field(default_factory=list)
    processing: list[PaymentRef] = field(default_factory=list)
    silent: int = 0

    @property
    def all_ended(self) -> bool:
        """Whether nothing is left that may yet be captured, or of which nothing is known."""
        return not self.captures and not self.processing and not self.silent
