"""What the purge did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Purged:
    """How many rows were deleted because their own end had passed."""

    refresh_tokens: int = 0
    logins: int = 0
    revocations: int = 0
    sessions: int = 0
    carts: int = 0
    line_metadata: int = 0
    """Of requests that are long decided: their lines have it, or were never held."""
    reconciliation: int = 0
    """Runs of reconciliation, and findings that are resolved, of more than 400 days ago."""
    contacts: int = 0
    """Where buyers of checkouts could be written to, last set 90 days ago."""
    events: int = 0
    """Of checkouts, of more than 90 days ago; and webhooks to tenants of more than 30 days ago that have ended."""
