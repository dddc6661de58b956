"""The relay: in each worker, looks every second for messages without a run, and starts one for each.

A message is a row of the transaction that it tells of, so none is lost between that transaction and its run, whoever
dies; and a checkout's own run has nothing to do with it.
"""

from __future__ import annotations

import asyncio

from structlog import stdlib
from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from db import hook_relay
from domain import search_attributes
from domain.hooks import HookRef
from domain.naming import HOOK_DELIVERY, hook_workflow_id, hooks_queue

_log = stdlib.get_logger("hooks")
LOOK_EVERY = 1.0
LOOK_AGAIN = 5.0
"""Seconds between two looks, and after one that failed."""
_AT_ONCE = 10
_BEHIND_OTHERS = 4
"""Temporal's priority: buyers (3) come first."""


class Relay:
    """Starts the runs of messages."""

    def __init__(self, admin_url: str, client: Client, task_queue: str) -> None:
        """`task_queue`: the installation's; messages have one beside it."""
        self._admin_url, self._client, self._queue = admin_url, client, hooks_queue(task_queue)

    async def run(self) -> None:
        """Until it is cancelled. Waits for what is down, and tells of it once."""
        down = False
        while True:
            try:
                async with await hook_relay.connect(self._admin_url) as connection:
                    while True:
                        started = await self.once(connection)
                        down = False
                        await asyncio.sleep(0 if started == hook_relay.BATCH else LOOK_EVERY)
            except Exception as error:  # noqa: BLE001  # Whatever it was: it is told of, and messages must go on.
                if not down:
                    _log.warning("hooks_not_relayed", error=type(error).__name__)
                down = True
                await asyncio.sleep(LOOK_AGAIN)

    async def once(self, connection: hook_relay.Connection) -> int:
        """Start what wants a run; how many did. Raises what a server that is down raises."""
        refs = await hook_relay.to_wake(connection)
        for start in range(0, len(refs), _AT_ONCE):
            some = refs[start : start + _AT_ONCE]
            await asyncio.gather(*(self._start(one) for one in some))
            await hook_relay.put_off(connection, some)
        return len(refs)

    async def _start(self, ref: HookRef) -> None:
        tenant = SearchAttributePair(SearchAttributeKey.for_keyword(search_attributes.TENANT), ref.tenant)
        try:
            await self._client.start_workflow(
                HOOK_DELIVERY,
                ref,
                id=hook_workflow_id(ref.tenant, ref.delivery_id, ref.replay),
                task_queue=self._queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary="A webhook for one of the tenant's endpoints",
                search_attributes=TypedSearchAttributes([tenant]),
                priority=Priority(priority_key=_BEHIND_OTHERS, fairness_key=ref.tenant),
            )
        except WorkflowAlreadyStartedError:
            return
