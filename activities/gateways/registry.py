"""Which gateways an installation has. The wiring places call this; adapters never read settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx

from activities.gateways.interface import Gateway
from activities.gateways.sandbox import SANDBOX, SECRET_NAME, SandboxGateway
from activities.gateways.secrets import Secrets
from activities.gateways.standard_webhooks import verifier_from
from domain.ids import GatewayName

TENANT_SECRETS: Mapping[str, Callable[[str], object]] = {SECRET_NAME: verifier_from}
"""Every secret that a tenant may have of its own, by name, with what reads it: ValueError says that it is none."""


def gateways_from(
    sandbox_url: str, sandbox_secret: str, client: httpx.AsyncClient, own: Secrets | None = None
) -> Mapping[GatewayName, Gateway]:
    """Every gateway by its name in URLs and rows.

    `sandbox_secret` is one Standard Webhooks secret, or several with spaces between them while one is being replaced.
    `own`: secrets of tenants, which count instead where there are any; None: no tenant has one. `client` stays the
    caller's to close. Raises ValueError for a malformed secret.
    """
    return {SANDBOX: SandboxGateway(sandbox_url, sandbox_secret.split(), client, own)}
