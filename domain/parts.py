"""What a worker can serve."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """All of it by default; a busy shop gives each part processes of its own."""

    CHECKOUTS = "checkouts"
    """Checkouts, payments, refunds, and the schedules."""
    FULFILMENT = "fulfilment"
    """What follows a sale: tickets, mail, messages, and tenants' webhooks."""


ALL_PARTS = frozenset(Part)
