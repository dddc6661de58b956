"""Tenants' secrets for adapters under test."""

from __future__ import annotations

from dataclasses import dataclass, field

from domain.ids import TenantId


@dataclass
class FixedSecrets:
    """What a test has set, by (tenant, name)."""

    kept: dict[tuple[str, str], str] = field(default_factory=dict)

    async def get(self, tenant: TenantId, name: str) -> str | None:
        """As the interface says; it never waits."""
        return self.kept.get((tenant, name))


def stripe_secrets(key: str, webhooks: str, *tenants: str) -> FixedSecrets:
    """The same account at Stripe for each of the tenants."""
    found: dict[tuple[str, str], str] = {}
    for tenant in tenants:
        found |= {(tenant, "gateway/stripe/api-key"): key, (tenant, "gateway/stripe/webhooks"): webhooks}
    return FixedSecrets(found)
