"""The consistency check's activity: settle what a lost run left behind, and deliver again what was not settled."""

from __future__ import annotations

from temporalio import activity

from activities import names
from activities.delivery import Delivery, Handed
from activities.errors import translated
from db.database import Database
from db.inbox import unsettled_events
from db.overdue import overdue_anywhere
from db.refunds import refunds_owed
from db.settle import settle
from db.tenants import every_tenant
from domain.checkout import CheckoutStatus
from domain.ids import TenantId
from domain.messages import Capture, CheckoutRef, Repaired, Settled, SettleRequest, Wanted
from domain.payment_messages import LatePayment

HOLD_GRACE_SECONDS = 60
EVENT_GRACE_SECONDS = 120


class Repair:
    """Mends every tenant. Harmless beside running checkouts: it goes through the same `settle` and `deliver`."""

    def __init__(self, db: Database, admin_url: str, delivery: Delivery) -> None:
        self._db = db
        self._admin_url = admin_url
        self._delivery = delivery

    @activity.defn(name=names.REPAIR)
    @translated
    async def repair(self) -> Repaired:
        """Mend what is older than its grace; counts of what there was to do."""
        total = Repaired()
        for tenant in await every_tenant(self._admin_url):
            one = await self.repair_tenant(tenant)
            total = Repaired(
                total.holds_settled + one.holds_settled,
                total.events_delivered + one.events_delivered,
                total.refunds_started + one.refunds_started,
            )
        return total

    async def repair_tenant(
        self, tenant: TenantId, *, hold_grace: float = HOLD_GRACE_SECONDS, event_grace: float = EVENT_GRACE_SECONDS
    ) -> Repaired:
        """One tenant's share. Graces in seconds."""
        return Repaired(
            await self._settle_holds(tenant, hold_grace),
            await self._deliver_events(tenant, event_grace),
            await self._start_refunds(tenant, event_grace),
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

    async def _start_refunds(self, tenant: TenantId, grace: float) -> int:
        owed = await refunds_owed(self._db, tenant, older_than_seconds=grace)
        for one in owed:
            capture = Capture(
                one.gateway, one.payment_id, one.checkout_id, one.amount, one.currency, received_at=one.decided_at
            )
            await self._delivery.start_late_payment(
                LatePayment(tenant, one.gateway, one.payment_id, one.decided_at, one.checkout_id, capture)
            )
        return len(owed)
