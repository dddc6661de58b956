"""Whether this process can serve: what it depends on answers."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from activities.deployments import current_build
from db.database import Database
from db.readiness import applied_revision, newest_revision
from domain.errors import Unavailable
from domain.ids import TenantId

_PATIENCE = timedelta(seconds=2)


async def missing(db: Database, temporal: Client, tenant: TenantId, *, versioned: bool = False) -> list[str]:
    """What is missing, of `postgresql`, `schema` (migrations to run), `temporal` and, with worker versions, `worker`
    (no build is current, so that a start would hang: `holdfast worker promote`); asked at the same time."""
    parts = await asyncio.gather(_database(db, tenant), _temporal(temporal), _worker(temporal, versioned=versioned))
    return [part for part in parts if part is not None]


async def _database(db: Database, tenant: TenantId) -> str | None:
    try:
        applied = await applied_revision(db, tenant)
    except Unavailable:
        return "postgresql"
    return None if applied == newest_revision() else "schema"


async def _temporal(client: Client) -> str | None:
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            healthy = await client.service_client.check_health(timeout=_PATIENCE)
    except (RPCError, RuntimeError, TimeoutError):  # RuntimeError: a lazy client that cannot connect
        return "temporal"
    return None if healthy else "temporal"


async def _worker(client: Client, *, versioned: bool) -> str | None:
    if not versioned:
        return None
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            return None if await current_build(client) else "worker"
    except (Unavailable, RuntimeError, TimeoutError):
        return "worker"
