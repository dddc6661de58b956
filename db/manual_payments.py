"""Payments that an operator has seen elsewhere, such as a bank transfer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.rows import DictRow

from db.audit import note
from db.database import Database, Statement, Transaction
from db.inbox import event_statements
from domain.checkout import CheckoutStatus
from domain.errors import CheckoutRefused, IdempotencyKeyReused, Invalid, ManualPaymentExists, NotFound, NothingToPay
from domain.gateway import PaymentEvent, PaymentStatus
from domain.ids import Actor, CheckoutId, EventId, GatewayName, PaymentId, TenantId

MANUAL = GatewayName("manual")
"""The gateway that payments recorded by hand have."""

COLUMNS = """m.payment_id, m.checkout_id::text AS checkout_id, m.amount, m.currency, m.name, m.reason, m.actor,
    m.fingerprint, m.recorded_at, m.refunded_amount"""
_LOCK = """
    SELECT status, total, currency, clock_timestamp() AS now FROM checkouts
    WHERE tenant_id = %(tenant)s AND id = %(checkout)s FOR NO KEY UPDATE
"""
# By way of `payments`, which has an index by checkout.
_OF_CHECKOUT = f"""
    WITH of_checkout AS MATERIALIZED (
        SELECT payment_id AS id FROM payments
        WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND gateway = 'manual'
    )
    SELECT {COLUMNS}
    FROM of_checkout JOIN manual_payments m ON m.tenant_id = %(tenant)s AND m.payment_id = of_checkout.id
"""
_ADD = """
    INSERT INTO manual_payments (tenant_id, payment_id, checkout_id, amount, currency, name, reason, actor, fingerprint,
                                 recorded_at)
    VALUES (%(tenant)s, %(payment_id)s, %(checkout_id)s, %(amount)s, %(currency)s, %(name)s, %(reason)s, %(actor)s,
            %(fingerprint)s, %(recorded_at)s)
"""
_ONE = f"SELECT {COLUMNS} FROM manual_payments m WHERE m.tenant_id = %(tenant)s AND m.payment_id = %(payment)s"
_PAGE = f"""
    SELECT {COLUMNS} FROM manual_payments m
    WHERE m.tenant_id = %(tenant)s AND m.payment_id > %(after)s ORDER BY m.payment_id LIMIT %(limit)s
"""
_PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class NewManualPayment:
    """A payment to record. `amount` in minor units; None: the checkout's total."""

    payment_id: PaymentId
    checkout_id: CheckoutId
    name: str
    """What it is called where it was seen, such as the bank's reference."""
    reason: str
    fingerprint: str
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class ManualPayment:
    """A payment recorded by hand, as its row says. Amounts in minor units."""

    payment_id: PaymentId
    checkout_id: CheckoutId
    amount: int
    currency: str
    name: str
    reason: str
    actor: Actor
    fingerprint: str
    recorded_at: datetime
    refunded_amount: int = 0

    @property
    def event(self) -> PaymentEvent:
        """The capture, as the inbox has it: one event for each payment."""
        return PaymentEvent(
            gateway=MANUAL,
            event_id=EventId(self.payment_id),
            kind=PaymentStatus.CAPTURED,
            payment_id=self.payment_id,
            checkout_id=self.checkout_id,
            amount=self.amount,
            currency=self.currency,
            occurred_at=self.recorded_at,
        )


async def record_manual_payment(db: Database, tenant: TenantId, actor: Actor, new: NewManualPayment) -> ManualPayment:
    """Store the payment, its event in the inbox and its audit row, together; a repeat finds the first one's.

    Raises NotFound, CheckoutRefused, NothingToPay, Invalid (`amount` is not the checkout's total),
    IdempotencyKeyReused, and ManualPaymentExists when the checkout has another one of this name.
    """

    async def work(transaction: Transaction) -> ManualPayment:
        values = {"tenant": tenant, "checkout": new.checkout_id}
        checkouts, recorded = await transaction.read((_LOCK, values), (_OF_CHECKOUT, values))
        for known in map(manual_payment_from, recorded):
            if known.payment_id == new.payment_id:
                await transaction.commit()
                return _the_same(known, new)
            if known.name == new.name:
                raise ManualPaymentExists("This checkout has a payment of this name.", payment_id=known.payment_id)
        if not checkouts:
            raise NotFound
        payment = _payment(actor, new, checkouts[0])
        await transaction.commit(*_writes(tenant, payment))
        return payment

    return await db.transact(tenant, work)


async def read_manual_payment(db: Database, tenant: TenantId, payment: PaymentId) -> ManualPayment | None:
    """The payment, if it was recorded here."""
    [rows] = await db.run(tenant, (_ONE, {"tenant": tenant, "payment": payment}))
    return manual_payment_from(rows[0]) if rows else None


async def manual_payments(db: Database, tenant: TenantId) -> AsyncIterator[ManualPayment]:
    """All of the tenant's, in pages, by their ids."""
    after = ""
    while True:
        [rows] = await db.run(tenant, (_PAGE, {"tenant": tenant, "after": after, "limit": _PAGE_SIZE}))
        for row in rows:
            yield manual_payment_from(row)
        if len(rows) < _PAGE_SIZE:
            return
        after = rows[-1]["payment_id"]


def manual_payment_from(row: DictRow) -> ManualPayment:
    """The payment that a row of manual_payments says."""
    return ManualPayment(**{name: row[name] for name in ManualPayment.__slots__})


def _payment(actor: Actor, new: NewManualPayment, checkout: DictRow) -> ManualPayment:
    total = checkout["total"]
    if checkout["status"] == CheckoutStatus.NEW:
        raise NotFound
    if checkout["status"] == CheckoutStatus.REFUSED:
        raise CheckoutRefused
    if total == 0:
        raise NothingToPay
    if new.amount not in (None, total):
        field = {"field": "amount", "message": "It is not the checkout's total", "fix": "Leave it out, or send `total`"}
        raise Invalid("`amount` is not the checkout's total.", errors=[field], total=total)
    return ManualPayment(
        new.payment_id, new.checkout_id, total, checkout["currency"], new.name, new.reason, actor, new.fingerprint,
        checkout["now"],
    )  # fmt: skip


def _writes(tenant: TenantId, payment: ManualPayment) -> list[Statement]:
    noted = {"payment_id": payment.payment_id, "amount": payment.amount, "currency": payment.currency}
    return [
        (_ADD, {"tenant": tenant, **asdict(payment)}),
        *event_statements(tenant, payment.event, b""),
        note(tenant, payment.actor, "payment.recorded_by_hand", f"checkout:{payment.checkout_id}", after=noted),
    ]


def _the_same(known: ManualPayment, new: NewManualPayment) -> ManualPayment:
    if known.fingerprint != new.fingerprint:
        raise IdempotencyKeyReused
    return known
