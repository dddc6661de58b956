"""Reconciliation by hand, for tests: with no grace, so that what happened just now is judged."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from activities.gateways.registry import gateways_from
from activities.reconciliation import Reconciler, Reconciliation, reconciler_from
from db.reconciliation_findings import Finding, open_findings
from domain.disagreements import Kind
from domain.ids import Actor, GatewayName, TenantId
from domain.reconciliation_messages import LedgerRef
from tests.support.system import DEMO, System

SANDBOX = GatewayName("sandbox")
BY_HAND = Actor("cli:test")


@dataclass
class Reconciling:
    """A reconciler beside a whole system."""

    system: System
    reconciler: Reconciler

    async def run(self, tenant: TenantId = DEMO, **more: Any) -> Reconciliation:
        """One run over all that was ever made."""
        since = more.pop("since", datetime.now(UTC) - timedelta(days=1))
        ledger = LedgerRef(tenant, SANDBOX)
        return await self.reconciler.reconcile(ledger, BY_HAND, more.pop("run_id", str(uuid.uuid4())), since)

    async def look(self, tenant: TenantId = DEMO) -> Reconciliation:
        """A dry run."""
        return await self.reconciler.look(LedgerRef(tenant, SANDBOX), datetime.now(UTC) - timedelta(days=1))

    async def open(self, tenant: TenantId = DEMO) -> dict[str, Kind]:
        """The open findings, by payment."""
        return {one.payment_id: one.kind for one in await self.findings(tenant)}

    async def findings(self, tenant: TenantId = DEMO) -> list[Finding]:
        """Those that are open."""
        return await open_findings(self.system.database, tenant)


@asynccontextmanager
async def reconciling(system: System, grace: timedelta = timedelta(0)) -> AsyncIterator[Reconciling]:
    """Reconcile the system's own gateway."""
    async with httpx.AsyncClient(trust_env=False) as http:
        gateways = gateways_from(system.settings.gateways, http)
        made = reconciler_from(system.database, system.client, system.settings.task_queue, gateways, grace=grace)
        yield Reconciling(system, made)


def kinds(done: Reconciliation) -> dict[str, Kind]:
    """What was seen, by payment."""
    return {one.payment_id: one.kind for one in done.seen}
