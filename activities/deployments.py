"""Worker versions: which build takes new checkouts (Temporal's Worker Deployments). Off without HOLDFAST_BUILD_ID."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Unavailable

DEPLOYMENT = "holdfast"
RPC_TIMEOUT = timedelta(seconds=5)
_NOT_YET = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION})
"""No worker of the build has polled yet."""


async def promote(client: Client, build_id: str, *, patience: float) -> None:
    """Make a build current, once its workers poll: from then on it takes the new checkouts; held ones stay where they
    began. Raises Unavailable when no worker of the build polls within `patience` seconds."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=DEPLOYMENT, build_id=build_id, identity="holdfast worker promote"
    )
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status not in _NOT_YET or asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"Build {build_id} was not made current: {error.message}") from error
            await asyncio.sleep(0.5)
        else:
            return


async def current_build(client: Client) -> str | None:
    """The build that takes new checkouts; None while there is none, and a start would hang."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=DEPLOYMENT)
    try:
        found = await client.workflow_service.describe_worker_deployment(request, timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise Unavailable("Temporal does not say which build is current.") from error
    return found.worker_deployment_info.routing_config.current_deployment_version.build_id or None
