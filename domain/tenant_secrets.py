"""Which secrets a tenant may have of its own. Each has one name, and stands in for the installation's own setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from domain.errors import Invalid, NotFound
from domain.ids import GatewayName

MAX_SECRET = 4_000
"""Characters."""


def gateway_secret(gateway: GatewayName, what: str = "") -> str:
    """The name of what a tenant shares with a gateway, such as `gateway/sandbox` or `gateway/stripe/api-key`."""
    return f"gateway/{gateway}/{what}" if what else f"gateway/{gateway}"


def checked_secret(known: Mapping[str, Callable[[str], object]], name: str, secret: str) -> str:
    """The secret. `known`: what reads the secret of each name, and raises ValueError when it is none.

    Raises NotFound for a name that is not known, Invalid (which never says what was sent) for a bad secret.
    """
    if name not in known:
        raise NotFound("There is no secret of this name.")
    try:
        if not 0 < len(secret) <= MAX_SECRET:
            raise ValueError(f"a secret has 1 to {MAX_SECRET} characters")
        known[name](secret)
    except ValueError as error:
        raise Invalid(f"The secret is not good: {error}.", errors=[_fault(str(error))]) from None
    return secret


def _fault(message: str) -> dict[str, str]:
    return {"field": "secret", "message": message, "fix": "Send it as the gateway gave it to you"}
