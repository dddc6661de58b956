"""Whose account at a gateway is asked: one that all tenants share, or the tenant's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from activities.gateways.secrets import Secrets
from activities.gateways.standard_webhooks import Verifier, verifier_from
from domain.errors import GatewayNotConfigured, GatewayUnavailable, NotFound
from domain.ids import GatewayName, TenantId
from domain.tenant_secrets import gateway_secret


@dataclass(frozen=True, slots=True)
class Access:
    """How to ask the gateway."""

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trusted: bool = False
    """The installation chose the address, so that it may be anywhere."""


class Account(Protocol):
    """Where a tenant's payments are taken."""

    @property
    def shared(self) -> bool:
        """Whether other tenants' payments are in it too."""
        ...

    async def access(self, tenant: TenantId) -> Access:
        """How to ask. Raises GatewayNotConfigured, which names what to set."""
        ...

    async def verifier(self, tenant: TenantId) -> Verifier:
        """What verifies the tenant's webhooks. Raises NotFound when it has none."""
        ...


class SharedAccount:
    """One account of the installation's; a tenant may have a webhook secret of its own all the same."""

    shared = True

    def __init__(self, name: GatewayName, url: str, secrets: Sequence[str], own: Secrets | None) -> None:
        """Raises ValueError for a malformed secret."""
        self._access = Access(url.rstrip("/"), trusted=True)
        self._secret_name, self._verifier, self._own = gateway_secret(name), Verifier(secrets), own

    async def access(self, tenant: TenantId) -> Access:  # noqa: ARG002
        """See Account."""
        return self._access

    async def verifier(self, tenant: TenantId) -> Verifier:
        """See Account: the tenant's own secret counts instead of the installation's, never beside it."""
        own = await self._own.get(tenant, self._secret_name) if self._own else None
        return verifier_from(own) if own is not None else self._verifier


class OwnAccount:
    """Each tenant's own: address, API key and webhook secrets are secrets of the tenant's."""

    shared = False

    def __init__(self, name: GatewayName, own: Secrets | None) -> None:
        self._name, self._own = name, own

    async def access(self, tenant: TenantId) -> Access:
        """See Account."""
        url, key = [await needed(self._own, tenant, self._name, what) for what in ("url", "api-key")]
        return Access(url.rstrip("/"), {"authorization": f"Bearer {key}"})

    async def verifier(self, tenant: TenantId) -> Verifier:
        """See Account."""
        return verifier_from(await webhook_secrets(self._own, tenant, self._name))


async def needed(own: Secrets | None, tenant: TenantId, gateway: GatewayName, what: str) -> str:
    """A secret of the tenant's for this gateway. Raises GatewayNotConfigured, which names it."""
    name = gateway_secret(gateway, what)
    found = await own.get(tenant, name) if own else None
    if found is None:
        raise GatewayNotConfigured(f"Set the shop's secret {name} first: this shop has none.")
    return found


async def webhook_secrets(own: Secrets | None, tenant: TenantId, gateway: GatewayName) -> str:
    """The tenant's webhook secrets with spaces between. Raises NotFound where it has none: it has no such gateway."""
    try:
        return await needed(own, tenant, gateway, "webhooks")
    except GatewayNotConfigured:
        raise NotFound from None


def owed(error: GatewayNotConfigured) -> GatewayUnavailable:
    """What to raise instead for what must be done one day, as soon as the credentials are back."""
    return GatewayUnavailable(error.detail)
