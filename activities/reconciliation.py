"""Reconciliation: each tenant's payments at each gateway held against ours, by the hour and by hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from structlog import stdlib
from temporalio import activity
from temporalio.client import Client

from activities import names
from activities.comparing import Book, Comparison, LedgerUnreadable, Seen
from activities.delivery import Delivery
from activities.errors import translated
from activities.gateways.interface import Gateway
from activities.remedies import Remedies
from db.database import Database
from db.manual_payments import MANUAL
from db.reconciliation_runs import Run, Window, finish_run, next_window, open_run, save_run
from db.tenants import every_tenant
from domain.errors import GatewayNotConfigured, GatewayRefused, GatewayUnavailable, Invalid
from domain.ids import Actor, GatewayName, TenantId
from domain.reconciliation import GRACE, Counts
from domain.reconciliation_messages import LedgerReconciled, LedgerRef, Ledgers, LedgersAfter

SCHEDULE = Actor("system:reconciliation")
SLICE = timedelta(hours=6)
"""How much of a window is compared before the run notes how far it has come."""
MOST_LEDGERS = 100
"""Of one answer of `ledgers`."""
_RUNS = uuid.UUID("0b1c5a52-8d0f-5c60-9a3e-6f2b5c8f7a11")
_log = stdlib.get_logger("reconciliation")


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What came of one ledger. `error`: the gateway did not answer, and why."""

    window: Window
    counts: Counts
    seen: list[Seen] = field(default_factory=list)
    error: str | None = None


class Reconciler:
    """Compares ledgers, and begins repairs."""

    def __init__(
        self,
        db: Database,
        gateways: Mapping[GatewayName, Gateway],
        remedies: Remedies,
        *,
        grace: timedelta = GRACE,
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._remedies = remedies
        self._grace = grace

    @property
    def gateways(self) -> list[GatewayName]:
        """Those that have a ledger of their own, by name."""
        return sorted(name for name in self._gateways if name != MANUAL)

    async def is_set_up(self, ledger: LedgerRef) -> bool:
        """Whether the tenant has this gateway. A gateway that does not answer counts as set up."""
        now = datetime.now(UTC)
        payments = self._gateways[ledger.gateway].payments(ledger.tenant, now - timedelta(seconds=1), now)
        try:
            await anext(payments, None)
        except GatewayNotConfigured:
            return False
        except (GatewayUnavailable, GatewayRefused, Invalid):
            pass  # The run itself meets it, and notes it.
        return True

    async def look(self, ledger: LedgerRef, since: datetime | None = None) -> Reconciliation:
        """What a run would find, without writing or beginning anything."""
        window = await next_window(self._db, ledger.tenant, ledger.gateway, since, grace=self._grace)
        comparison = Comparison(self._book(ledger, None), Counts(), _nobody)
        try:
            for from_, to in _slices(window.since, window.until):
                await comparison.listed(from_, to)
            await comparison.asked()
        except LedgerUnreadable as error:
            return Reconciliation(window, comparison.counts, comparison.seen, str(error))
        return Reconciliation(window, comparison.counts, comparison.seen)

    async def reconcile(
        self,
        ledger: LedgerRef,
        actor: Actor,
        run_id: str,
        since: datetime | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> Reconciliation:
        """Compare and mend. The same run id goes on where that run came to. Raises Unavailable when it should be
        called again: the database or the engine did not answer."""
        window = await next_window(self._db, ledger.tenant, ledger.gateway, since, grace=self._grace)
        run = await open_run(self._db, ledger.tenant, run_id, ledger.gateway, actor, window)
        window = Window(run.since, run.until, window.continues)
        if run.finished_at is not None:
            return Reconciliation(window, run.counts, error=run.error)
        comparison = Comparison(self._book(ledger, self._remedies), run.counts, beat)
        error = await self._go_through(ledger, run, comparison)
        await finish_run(self._db, ledger.tenant, run_id, error)
        if error is not None:
            _log.warning("ledger_unreadable", tenant=ledger.tenant, gateway=ledger.gateway, error=error)
        return Reconciliation(window, comparison.counts, comparison.seen, error)

    async def _go_through(self, ledger: LedgerRef, run: Run, comparison: Comparison) -> str | None:
        try:
            for from_, to in _slices(run.reached, run.until):
                await comparison.listed(from_, to)
                await save_run(self._db, ledger.tenant, run.id, to, comparison.counts)
            await comparison.asked()
        except LedgerUnreadable as error:
            return str(error)
        await save_run(self._db, ledger.tenant, run.id, run.until, comparison.counts)
        return None

    def _book(self, ledger: LedgerRef, remedies: Remedies | None) -> Book:
        gateway = self._gateways[ledger.gateway]
        return Book(self._db, ledger.tenant, ledger.gateway, gateway, remedies, self._grace)


def reconciler_from(
    db: Database, client: Client, task_queue: str, gateways: Mapping[GatewayName, Gateway], *, grace: timedelta = GRACE
) -> Reconciler:
    """The reconciler, wired. `grace` is shorter in tests only."""
    remedies = Remedies(db, Delivery(db, client, task_queue))
    return Reconciler(db, gateways, remedies, grace=grace)


class ReconciliationActivities:
    """The hourly run's activities."""

    def __init__(self, reconciler: Reconciler, admin_url: str) -> None:
        self._reconciler = reconciler
        self._admin_url = admin_url

    @activity.defn(name=names.LEDGERS)
    @translated
    async def ledgers(self, after: LedgersAfter) -> Ledgers:
        """The next ledgers to go through."""
        tenants = await every_tenant(self._admin_url)
        every = [LedgerRef(tenant, gateway) for tenant in tenants for gateway in self._reconciler.gateways]
        left = [one for one in sorted(every, key=_place) if after.last is None or _place(one) > _place(after.last)]
        return Ledgers(left[:MOST_LEDGERS], more=len(left) > MOST_LEDGERS)

    @activity.defn(name=names.RECONCILE_LEDGER)
    @translated
    async def reconcile_ledger(self, ledger: LedgerRef) -> LedgerReconciled:
        """Compare one ledger with ours. Tried again, it goes on where it came to."""
        if not await self._reconciler.is_set_up(ledger):
            return LedgerReconciled()
        run_id = run_of(activity.info().workflow_run_id or "", ledger)
        done = await self._reconciler.reconcile(ledger, SCHEDULE, run_id, beat=activity.heartbeat)
        counts = done.counts
        return LedgerReconciled(counts.compared, counts.repaired, counts.flagged, failed=done.error is not None)


def run_of(workflow_run: str, ledger: LedgerRef) -> str:
    """The id of a scheduled run of one ledger: the same for all attempts."""
    return str(uuid.uuid5(_RUNS, f"{workflow_run}/{ledger.tenant}/{ledger.gateway}"))


def _place(ledger: LedgerRef) -> tuple[TenantId, GatewayName]:
    return ledger.tenant, ledger.gateway


def _slices(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while since < until:
        to = min(since + SLICE, until)
        yield since, to
        since = to


def _nobody() -> None:
    pass
