"""What one sandbox gateway is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Where it keeps its data, whom it tells, and how patiently. Times are in seconds."""

    database: Path
    """Its SQLite file; made, with its folder, when missing."""
    secrets: Sequence[str]
    """Standard Webhooks secrets; each webhook is signed with all of them."""
    target_url: str
    """Webhooks go to `{target_url}/v1/webhooks/{tenant}/sandbox`."""
    public_url: str | None = None
    """Where buyers' browsers find it. None: where whoever asks has found it."""
    first_retry: float = 0.5
    """The pause after a first failed delivery; it doubles up to `longest_retry`."""
    longest_retry: float = 3600.0
    delivery_timeout: float = 10.0
    deliveries_at_once: int = 16
    fault_delay: float = 10.0
    """How long a "slow" or "timeout_after_acting" answer takes: longer than any client waits."""

    def pause_after(self, attempts: int) -> float:
        """How long to wait after this many failed attempts."""
        return min(self.first_retry * 2.0 ** min(attempts - 1, 32), self.longest_retry)
