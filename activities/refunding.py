"""Giving money back at a gateway: asked about before it is asked for, so that it goes back once.

The first belt is the idempotency key, the same for all tries. The second: a payment's refunds are made one after the
other, so it is known how much of it the gateway must show as given back when one of them is made. That is looked at
before each try, because the try before may have been answered by nobody and still have been made. A gateway that has
forgotten its keys, or money that somebody gave back at its own desk, then does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass

from activities.gateways.interface import Gateway
from domain.errors import GatewayRefused, GatewayUnavailable
from domain.gateway import RefundStatus
from domain.ids import PaymentId, TenantId

MOST_KEYS = 20
"""For one refund. By then it has been tried for half a day, and somebody must see to it."""
REFUNDED_BY_HAND = "refunded-at-the-gateway"
"""Stands for the gateway's id of a refund that was found there, and not made by the call that was answered."""


@dataclass(frozen=True, slots=True)
class MoneyBack:
    """`amount` of a payment, in minor units, after `before` of it went back by earlier refunds of ours."""

    payment_id: PaymentId
    amount: int
    key: str
    """The idempotency key of all tries."""
    before: int = 0

    @property
    def target(self) -> int:
        """What the gateway shows as refunded of the payment once this refund is made."""
        return self.before + self.amount


async def give_back(gateway: Gateway, tenant: TenantId, money: MoneyBack, tries: int = 1) -> str:
    """The gateway's id of the refund, however often it is asked. `tries`: which attempt of the caller this is.

    Raises GatewayUnavailable when it could not be made now, also when the gateway refuses: somebody may put that right
    there, so it is asked again. A gateway repeats for ever what it once said to a key. So where it says that a refund
    failed, the same is asked for by another key, in the same order each time: the next attempt may use one more.
    """
    missing = await _missing(gateway, tenant, money)
    if not missing:
        return REFUNDED_BY_HAND
    for number in range(min(tries, MOST_KEYS)):
        try:
            result = await gateway.refund(tenant, money.payment_id, missing, _key(money, missing, number))
        except GatewayRefused as error:
            if not await _missing(gateway, tenant, money):
                return REFUNDED_BY_HAND
            raise GatewayUnavailable(f"The gateway refuses the refund: {error.detail}") from error
        if result.status is not RefundStatus.FAILED:
            return result.refund_id
    raise GatewayUnavailable("The gateway says that the refund failed; it is asked again.")


async def _missing(gateway: Gateway, tenant: TenantId, money: MoneyBack) -> int:
    """How much has not gone back yet: less than `amount` where a part of it was given back at the gateway's desk.

    Never more: a gateway may show earlier refunds late. Raises GatewayUnavailable also when the gateway refuses to
    tell, such as for credentials that were taken away: what is owed is owed until they are back.
    """
    try:
        payment = await gateway.fetch(tenant, money.payment_id)
    except GatewayRefused as error:
        raise GatewayUnavailable(f"The gateway does not say how the payment stands: {error.detail}") from error
    shown = payment.refunded_amount if payment else 0
    return max(0, min(money.amount, money.target - shown))


def _key(money: MoneyBack, missing: int, number: int) -> str:
    """What is left of a refund is another request: gateways refuse a key that comes with another amount."""
    key = money.key if missing == money.amount else f"{money.key}/{missing}"
    return f"{key}/again-{number}" if number else key
