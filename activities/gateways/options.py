"""What an installation says about gateways."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Made from the settings by those who wire."""

    sandbox_url: str | None
    """None: there is no sandbox here."""
    sandbox_secrets: str = field(repr=False)
    """One Standard Webhooks secret, or several with spaces between them while one is being replaced."""
    stripe_api_base: str | None = None
    """Where Stripe is, if not at Stripe: a stand-in for tests."""
    development: bool = False
    """A tenant's own gateway may be on this machine, and need not speak TLS."""
