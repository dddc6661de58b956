"""What the workflow that makes an order's refunds exchanges with its activity, and how a refund stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.ids import OrderId, TenantId


class OrderRefundStatus(StrEnum):
    """`intended`: decided, and asked for at the gateway until it is made. `refunded`: the money went back."""

    INTENDED = "intended"
    REFUNDED = "refunded"


@dataclass(frozen=True)
class OrderRefunds:
    """Make what refunds of this order are owed."""

    tenant: TenantId
    order_id: OrderId


@dataclass(frozen=True)
class OrderRefundMade:
    """The oldest refund that was owed, now made. Amounts in minor units; all is 0 when none was owed."""

    refund_id: str
    amount: int
    left: int
    """How many refunds of the order are still owed."""


@dataclass(frozen=True)
class OrderRefundsResult:
    """What one run has made. `amount` in minor units."""

    refunds: int
    amount: int
