"""The sandbox gateway (local/gateway): the generic protocol, with one account that all tenants share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import httpx

from activities.gateways.accounts import SharedAccount
from activities.gateways.options import GatewayOptions
from activities.gateways.secrets import Secrets
from activities.gateways.standard import StandardGateway
from activities.gateways.standard_webhooks import verifier_from
from domain.ids import GatewayName
from domain.tenant_secrets import gateway_secret

NAME = SANDBOX = GatewayName("sandbox")
SECRET_NAME = gateway_secret(SANDBOX)
"""Of a tenant's own webhook secret, in the form of HOLDFAST_SANDBOX_GATEWAY_SECRET."""


class SandboxGateway(StandardGateway):
    """The sandbox gateway over HTTP."""

    def __init__(self, url: str, secrets: Sequence[str], client: httpx.AsyncClient, own: Secrets | None = None) -> None:
        """`secrets` are for tenants that have none of their `own`. `client` belongs to the caller, who closes it.

        Raises ValueError for a malformed secret.
        """
        super().__init__(SANDBOX, SharedAccount(SANDBOX, url, secrets, own), client)


def gateway(options: GatewayOptions, client: httpx.AsyncClient, own: Secrets | None) -> SandboxGateway | None:
    """The installation's; None where it has none. Raises ValueError for a malformed secret."""
    if options.sandbox_url is None:
        return None
    return SandboxGateway(options.sandbox_url, options.sandbox_secrets.split(), client, own)


def secrets(options: GatewayOptions) -> Mapping[str, Callable[[str], object]]:  # noqa: ARG001
    """What a tenant may set: webhook secrets of its own."""
    return {SECRET_NAME: verifier_from}
