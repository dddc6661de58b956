"""The consistency check's activity: settle what a lost run left behind, deliver again what was not settled, and see to
payments whose checkout does not appear."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import astuple
from typing import TypeVar

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

T = TypeVar("T")
R = TypeVar("R")
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
        """Mend what is older than its grace; counts of what there was to do.

        What fails keeps nothing else from being mended, and is raised at the end. Stock and money of all tenants come
        before what follows their sales.
        """
        tenants = await every_tenant(self._admin_url)
        shares = [(share, tenant) for share in (self.repair_tenant, self.repair_fulfilment) for tenant in tenants]
        done = await each(shares, lambda one: one[0](one[1]))
        return Repaired(*(sum(column) for column in zip(astuple(Repaired()), *map(astuple, done), strict=True)))

    async def repair_tenant(
        self,
        tenant: TenantId,
        *,
        hold_grace: float = HOLD_GRACE_SECONDS,
        event_grace: float = EVENT_GRACE_SECONDS,
        alert_after: float = ALERT_AFTER_SECONDS,
        keep_unmatched: float = KEEP_UNMATCHED_SECONDS,
    ) -> Repaired:
        """One tenant's stock, money and numbers. Times in seconds."""
        shares: dict[str, Callable[[], Awaitable[int]]] = {
            "holds_settled": lambda: self._settle_holds(tenant, hold_grace),
            "events_delivered": lambda: self._deliver_events(tenant, event_grace),
            "refunds_started": lambda: self._start_refunds(tenant, event_grace),
            "events_unmatched": lambda: self._alert(tenant, alert_after),
            "unmatched_refunded": lambda: self._give_up(tenant, keep_unmatched),
            "numbers_given": lambda: self._number(tenant),
        }
        counts = await each(shares.values(), lambda share: share())
        return Repaired(**dict(zip(shares, counts, strict=True)))

    async def repair_fulfilment(self, tenant: TenantId, *, grace: float = FULFILMENT_GRACE_SECONDS) -> Repaired:
        """What follows one tenant's sales, and has not come to its end. Seconds."""
        return Repaired(fulfilments_started=await self._fulfilling.mend(self._db, tenant, grace))

    async def _settle_holds(self, tenant: TenantId, grace: float) -> int:
        settled: list[Settled] = await each(
            await overdue_anywhere(self._db, tenant, grace),
            lambda checkout: settle(self._db, SettleRequest(CheckoutRef(tenant, checkout), Wanted.EXPIRE)),
        )
        return sum(one.status is not CheckoutStatus.HELD for one in settled)

    async def _deliver_events(self, tenant: TenantId, grace: float) -> int:
        events = await unsettled_events(self._db, tenant, older_than_seconds=grace)
        handed = await each(events, lambda event: self._delivery.deliver(tenant, event, again=True))
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
        orders = await order_refunds_owed(self._db, tenant, older_than_seconds=grace)
        await each(owed, lambda one: self._delivery.start_late_payment(_late(tenant, one)))
        await each(orders, lambda order: self._delivery.start_order_refunds(tenant, order))
        return len(owed) + len(orders)


def _late(tenant: TenantId, owed: Owed) -> LatePayment:
    return LatePayment(tenant, owed.gateway, owed.payment_id, owed.decided_at, owed.checkout_id, _capture_of(owed))


def _capture_of(owed: Owed) -> Capture | None:
    if owed.checkout_id is None:
        return None
    return Capture(
        owed.gateway, owed.payment_id, owed.checkout_id, owed.amount, owed.currency, received_at=owed.decided_at
    )


async def each(items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """Work on each, one after the other, also after one has failed; then raises the first failure."""
    done, failed = [], []
    for item in items:
        try:
            done.append(await work(item))
        except Exception as error:  # noqa: BLE001  # raised below; what one of them has must not keep the others waiting
            failed.append(error)
    if failed:
        _log.warning("repair_failed", failures=len(failed), first=type(failed[0]).__name__)
        raise failed[0]
    return done
