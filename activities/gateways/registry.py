"""Which gateways an installation has. The wiring places call this; adapters never read settings."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from activities.gateways.interface import Gateway
from activities.gateways.sandbox import SANDBOX, SandboxGateway
from domain.ids import GatewayName


def gateways_from(sandbox_url: str, sandbox_secret: str, client: httpx.AsyncClient) -> Mapping[GatewayName, Gateway]:
    """Every gateway by its name in URLs and rows.

    `sandbox_secret` is one Standard Webhooks secret, or several with spaces between them while one is being replaced.
    `client` stays the caller's to close. Raises ValueError for a malformed secret.
    """
    return {SANDBOX: SandboxGateway(sandbox_url, sandbox_secret.split(), client)}
