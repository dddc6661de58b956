"""Which gateways an installation has. The wiring places call this; adapters never read settings.

A new gateway is a file with its adapter, and its name in GATEWAYS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx

from activities.fulfilment.notifiers import NOTIFIER_SECRETS
from activities.gateways import sandbox, standard, stripe
from activities.gateways.interface import Gateway
from activities.gateways.options import GatewayOptions
from activities.gateways.secrets import Secrets
from domain.ids import GatewayName

GATEWAYS = (sandbox, standard, stripe)
"""Each has a NAME, `gateway(...)` which makes it, and `secrets(...)` which names what a tenant sets for it."""
Reader = Callable[[str], object]
"""What reads a secret: ValueError says why it is none."""


def gateways_from(
    options: GatewayOptions, client: httpx.AsyncClient, own: Secrets | None = None
) -> dict[GatewayName, Gateway]:
    """Every gateway by its name in URLs and rows.

    `own`: the tenants' secrets; None: no tenant has one. `client` stays the caller's to close. Raises ValueError for a
    malformed secret.
    """
    made = {module.NAME: module.gateway(options, client, own) for module in GATEWAYS}
    return {name: gateway for name, gateway in made.items() if gateway is not None}


def tenant_secrets(options: GatewayOptions) -> Mapping[str, Reader]:
    """Every secret that a tenant may have of its own, by name, with what reads it."""
    of_gateways = {name: reader for module in GATEWAYS for name, reader in module.secrets(options).items()}
    return {**of_gateways, **NOTIFIER_SECRETS}
