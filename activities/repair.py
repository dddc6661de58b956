"""The consistency check's activity: settle what a lost run left behind, deliver again what was not settled, and see to
payments whose checkout does not appear."""

from __future__ import annotations

from dataclasses import astuple

from structlog import stdlib
from temporalio import activity

from activities import names
from activities.delivery import Delivery, Handed
from activities.errors import translated
from activities.fulfilment.starting import Fulfilling
from db.database import Database
from db.fiscal import fill, new_alerts, waiting_series
from db.inbox import mark_settled, unsettled_events
from db.order_refunds import order_refunds_owed
from db.overdue import overdue_anywhere
from db.refunds import Owed, refunds_owed
from db.settle import settle
from db.tenants import every_tenant
from db.unmatched import alert_unmatched, waited_out
from domain.checkout import CheckoutStatus
from domain.gateway import PaymentStatus
from domain.ids import TenantId
from domain.messages import Capture, CheckoutRef, Repaired, Settled, SettleRequest, Wanted
from domain.payment_decision import RefundReason
from domain.payment_messages import LatePayment

HOLD_GRACE_SECONDS = 60
EVENT_GRACE_SECONDS = 120
FULFILMENT_GRACE_SECONDS = 120
ALERT_AFTER_SECONDS = 600
"""From when on somebody should know of an event whose checkout is not known."""
KEEP_UNMATCHED_SECONDS = 72 * 3600
"""How long its checkout is waited for; then the money goes back."""
_log = stdlib.get_logger("inbox")
_fiscal_log = stdlib.get_logger("fiscal")


class Repair:
    """Mends every tenant. Harmless beside running checkouts: it goes through the same `settle` and `deliver`."""

    def __init__(self, db: Database, admin_url: str, delivery: Delivery, fulfilling: Fulfilling) -> None:
        self._db = db
        self._admin_url = admin_url
        self._delivery = delivery
        self._fulfilling = fulfilling

    @activity.defn(name=names.REPAIR)
    @translated
    async def repair(self) -> Repaired:
        """Mend what is older than its grace; counts of what there was to do."""
        total = Repaired()
        for tenant in await every_tenant(self._admin_url):
            one = await self.repair_tenant(tenant)
            total = Repaired(*(sum(pair) for pair in zip(astuple(total), astuple(one), strict=True)))
        return total

    async def repair_tenant(
        self,
        tenant: TenantId,
        *,
        hold_grace: float = HOLD_GRACE_SECONDS,
        event_grace: float = EVENT_GRACE_SECONDS,
        alert_after: float = ALERT_AFTER_SECONDS,
        keep_unmatched: float = KEEP_UNMATCHED_SECONDS,
        fulfilment_grace: float = FULFILMENT_GRACE_SECONDS,
    ) -> Repaired:
        """One tenant's share. Times in seconds."""
        return Repaired(
            holds_settled=await self._settle_holds(tenant, hold_grace),
            events_delivered=await self._deliver_events(tenant, event_grace),
            refunds_started=await self._start_refunds(tenant, event_grace)
            + await self._start_order_refunds(tenant, event_grace),
            events_unmatched=await self._alert(tenant, alert_after),
            unmatched_refunded=await self._give_up(tenant, keep_unmatched),
            numbers_given=await self._number(tenant),
            fulfilments_started=await self._fulfilling.mend(self._db, tenant, fulfilment_grace),
        )

    async def _settle_holds(self, tenant: TenantId, grace: float) -> int:
        settled: list[Settled] = [
            await settle(self._db, SettleRequest(CheckoutRef(tenant, checkout), Wanted.EXPIRE))
            for checkout in await overdue_anywhere(self._db, tenant, grace)
        ]
        return sum(one.status is not CheckoutStatus.HELD for one in settled)

    async def _deliver_events(self, tenant: TenantId, grace: float) -> int:
        events = await unsettled_events(self._db, tenant, older_than_seconds=grace)
        handed = [await self._delivery.deliver(tenant, event, again=True) for event in events]
        return sum(one is not Handed.UNMATCHED for one in handed)

    async def _alert(self, tenant: TenantId, after: float) -> int:
        """Tell, once for each event, that it still waits for its checkout."""
        alerts = await alert_unmatched(self._db, tenant, older_than_seconds=after)
        for one in alerts:
            _log.warning(
                "event_unmatched",
                tenant=tenant,
                gateway=one.gateway,
                event_id=one.event_id,
                kind=one.kind.value,
                payment=one.payment_id,
                checkout=one.checkout_id,
                amount=one.amount,
                currency=one.currency,
            )
        return len(alerts)

    async def _give_up(self, tenant: TenantId, after: float) -> int:
        """Nobody came for it: money goes back, and what tells of none is settled quietly."""
        refunded = set()
        for event in await waited_out(self._db, tenant, older_than_seconds=after):
            if event.kind is not PaymentStatus.CAPTURED:
                await mark_settled(self._db, tenant, event, Handed.NOTHING_TO_DO)
            elif await self._delivery.give_back(tenant, event, RefundReason.UNMATCHED):
                refunded.add((event.gateway, event.payment_id))
        return len(refunded)

    async def _number(self, tenant: TenantId) -> int:
        """Give numbers to those who wait, and tell, once for each, of series that somebody should see to."""
        given = sum([await fill(self._db, tenant, series) for series in await waiting_series(self._db, tenant)])
        for series, alert in await new_alerts(self._db, tenant):
            _fiscal_log.warning(
                "fiscal_numbers",
                tenant=tenant,
                series=series.name,
                alert=alert.value,
                remaining=series.remaining,
                valid_until=series.valid_until.isoformat() if series.valid_until else None,
                waiting=series.waiting,
            )
        return given

    async def _start_refunds(self, tenant: TenantId, grace: float) -> int:
        owed = await refunds_owed(self._db, tenant, older_than_seconds=grace)
        for one in owed:
            await self._delivery.start_late_payment(
                LatePayment(tenant, one.gateway, one.payment_id, one.decided_at, one.checkout_id, _capture_of(one))
            )
        return len(owed)

    async def _start_order_refunds(self, tenant: TenantId, grace: float) -> int:
        orders = await order_refunds_owed(self._db, tenant, older_than_seconds=grace)
        for order in orders:
            await self._delivery.start_order_refunds(tenant, order)
        return len(orders)


def _capture_of(owed: Owed) -> Capture | None:
    if owed.checkout_id is None:
        return None
    return Capture(
        owed.gateway, owed.payment_id, owed.checkout_id, owed.amount, owed.currency, received_at=owed.decided_at
    )
