"""Real questions to the parts of a Holdfast: are you ready for work?"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from datetime import UTC, datetime

import psycopg
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from local.errors import LocalError
from local.temporal import missing_search_attributes


def answers_http(url: str) -> bool:
    """Whether a GET of this loopback address is answered with 2xx or 3xx."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # the launcher's own http:// addresses only
            return True
    except (urllib.error.URLError, OSError):
        return False


def worker_polls(task_queue: str, since: float) -> bool:
    """Whether a worker has polled this task queue for workflow tasks after `since` (Unix time)."""
    try:
        return asyncio.run(_polled(task_queue, datetime.fromtimestamp(since, UTC)))
    except (RPCError, RuntimeError):  # RuntimeError is how the SDK says that it cannot connect.
        return False


async def _polled(task_queue: str, since: datetime) -> bool:
    client = await Client.connect(**ClientConfig.load_client_connect_config())
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    return any(poller.last_access_time.ToDatetime(UTC) >= since for poller in answer.pollers)


def check_database(url: str) -> None:
    """Raises LocalError when the PostgreSQL that HOLDFAST_DATABASE_URL names does not answer."""
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error as error:
        raise LocalError(f"cannot use the PostgreSQL that HOLDFAST_DATABASE_URL names: {error}") from error


def check_temporal() -> None:
    """Raises LocalError when the Temporal that TEMPORAL_ADDRESS names does not answer, or lacks search attributes."""
    try:
        missing = asyncio.run(_missing())
    except (RPCError, RuntimeError) as error:
        raise LocalError(f"cannot use the Temporal server that TEMPORAL_ADDRESS names: {error}") from error
    if missing:
        needed = ", ".join(f"{name} ({kind})" for name, kind in missing.items())
        raise LocalError(f"the namespace lacks search attributes; create them there first: {needed}")


async def _missing() -> dict[str, str]:
    client = await Client.connect(**ClientConfig.load_client_connect_config())
    return await missing_search_attributes(client, client.namespace)
